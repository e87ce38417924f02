"""Weight files: tensors only, with the checksum of the file they came from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from vmrtool.errors import MissingError, ModelError

# Under what published files keep their state dict, where it is not the file itself.
_WRAPPERS = ("model_state", "state_dict")
_NAMED = 3


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

    The state dict may lie in a training checkpoint, as `model_state` or `state_dict`. Pickled
    objects other than tensors and plain values are refused, whatever they are.

    Raises:
        MissingError: no such file.
        ModelError: it is not a file of tensors.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such weights file", remedy="Check --weights.")
    sha256 = sha256_of(path)
    metadata: dict[str, Any] = {}
    tensors: Any
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                texts = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = {key: json.loads(text) for key, text in texts.items()}
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise _not_weights(path, error) from error
    for wrapper in _WRAPPERS:
        if isinstance(tensors, dict) and isinstance(tensors.get(wrapper), dict):
            tensors = tensors[wrapper]
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise _not_weights(path, "it holds something other than tensors by name")
    return Weights(tensors, metadata, sha256)


def fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    """Puts tensors into a network that has just these; else says in words what differs.

    Counts of batches seen, which old files lack and inference does not use, are left aside.
    """
    wanted = {k: t for k, t in network.state_dict().items() if not k.endswith("batches_tracked")}
    given = {k: t for k, t in tensors.items() if not k.endswith("batches_tracked")}
    odd = [key for key in wanted if key in given and wanted[key].shape != given[key].shape]
    differences = [
        _told([key for key in wanted if key not in given], "missing"),
        _told([key for key in given if key not in wanted], "not of this network"),
        *(f"{key} is {tuple(given[key].shape)}, not {tuple(wanted[key].shape)}" for key in odd[:2]),
        f"{len(odd) - 2} more of other shapes" if len(odd) > 2 else "",
    ]
    if any(differences):
        return "; ".join(filter(None, differences))
    network.load_state_dict(given, strict=False)
    return None


def _told(keys: list[str], what: str) -> str:
    """How many of these there are, and the names of some."""
    if not keys:
        return ""
    more = ", …" if len(keys) > _NAMED else ""
    return f"{len(keys)} {what} ({', '.join(keys[:_NAMED])}{more})"


def _not_weights(path: Path, reason: object) -> ModelError:
    first = str(reason).strip().splitlines()[0] if str(reason).strip() else "empty"
    return ModelError(
        f"{path}: not a file of weights: {first}",
        remedy="Give a .safetensors file or a PyTorch state dict of tensors.",
    )
