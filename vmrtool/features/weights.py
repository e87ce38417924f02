"""Weight files: tensors only, with the checksum of the file they came from."""

import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vmrtool.errors import MissingError, ModelError


@dataclass(frozen=True)
class Weights:
    """What a weights file holds: tensors by name, JSON metadata by key, the file's SHA-256."""

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    sha256: str


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: Path) -> Weights:
    """The tensors of a `.safetensors` file or a PyTorch state dict, on the CPU.

    Pickled objects other than tensors are refused, whatever they are.

    Raises:
        MissingError: no such file.
        ModelError: it is not a file of tensors.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such weights file", remedy="Check --weights.")
    sha256 = sha256_of(path)
    metadata: dict[str, Any] = {}
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                texts = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = {key: json.loads(text) for key, text in texts.items()}
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, json.JSONDecodeError, pickle.UnpicklingError) as error:
        raise _not_weights(path, error) from error
    except (RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        raise _not_weights(path, error) from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise _not_weights(path, "it holds something other than tensors by name")
    return Weights(tensors, metadata, sha256)


def _not_weights(path: Path, reason: object) -> ModelError:
    first = str(reason).strip().splitlines()[0] if str(reason).strip() else "empty"
    return ModelError(
        f"{path}: not a file of weights: {first}",
        remedy="Give a .safetensors file or a PyTorch state dict of tensors.",
    )
