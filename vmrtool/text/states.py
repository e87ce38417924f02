"""Queries as the frozen token states of a sentence-transformers model, for words never seen."""

import json
import os
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmrtool.config import ASSETS_VARIABLE, mirror, offline
from vmrtool.errors import MissingError

EXTRA = "vmrtool[sentence-transformers]"


def text_model_settings(name: str) -> list[str]:
    """The settings, as `--set` takes them, by which queries are read with this model.

    A folder is named by its whole path, so that the trained model is found from anywhere.
    """
    place = str(Path(name).resolve()) if Path(name).is_dir() else name
    return [
        "network.query_encoder=sentence-transformers",
        f"network.text_model={json.dumps(place)}",
    ]


def state_width(name: str) -> int:
    """Width of the model's token states.

    Raises:
        MissingError: the extra is not installed, or there is no such model.
    """
    return _states(name, "a").shape[1]


def token_states(name: str, sentence: str, most: int) -> NDArray[np.float32]:
    """States of the first `most` tokens of a sentence, float32 (L, width), L at least 1.

    Tokens are the model's own, its marks for begin and end among them: the mean over all is what
    such models are trained to give. Each state is brought to a root mean square of 1, the spread
    that learned word vectors start with. Every sentence goes through the model by itself, on the
    processor, so that its states do not depend on its company.

    Args:
        name: a model's folder, or its name for the library to look up.
        sentence: the query.
        most: tokens that count.

    Raises:
        MissingError: the extra is not installed, or there is no such model.
    """
    return _states(name, sentence)[:most].astype(np.float32)


def sentence_vectors(name: str, sentences: Sequence[str]) -> NDArray[np.float32]:
    """The model's own vectors of sentences, float32 (n, width).

    Raises:
        MissingError: the extra is not installed, or there is no such model.
    """
    model = _model(name)
    return np.asarray(model.encode(list(sentences), show_progress_bar=False), np.float32)


def text_model_here(name: str) -> bool:
    """Whether the extra is installed and the model is on this machine; neither is loaded for it."""
    if find_spec("sentence_transformers") is None:
        return False
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    known = name if "/" in name else f"sentence-transformers/{name}"
    folder = hub / f"models--{known.replace('/', '--')}" / "snapshots"
    return Path(_place(name)).is_dir() or folder.is_dir()


@lru_cache(maxsize=32768)
def _states(name: str, sentence: str) -> NDArray[np.float16]:
    encoded = _model(name).encode(
        sentence, output_value="token_embeddings", show_progress_bar=False
    )
    states = encoded.detach().float().cpu().numpy()
    spread = np.sqrt(np.mean(states**2, axis=1, keepdims=True))
    scaled: NDArray[np.float16] = (states / np.maximum(spread, 1e-6)).astype(np.float16)
    return scaled


@cache
def _model(name: str) -> Any:
    """The model; loaded once a process."""
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise MissingError(
            f"text model {name!r} is read with sentence-transformers, which is not installed",
            remedy=f"pip install '{EXTRA}'",
        ) from error
    logging.disable_progress_bar()
    place = _place(name)
    try:
        return SentenceTransformer(place, device="cpu", local_files_only=offline())
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise MissingError(
            f"text model {name!r} cannot be loaded: {why[:200]}",
            remedy="give the folder of a sentence-transformers model, or a name that the library "
            f"finds; where the folder moved, put it into the one that ${ASSETS_VARIABLE} names",
        ) from error


def _place(name: str) -> str:
    """The model's folder: as named, else of that last name among the assets; else the name."""
    folder = mirror()
    if not isinstance(folder, Path) or Path(name).is_dir():
        return name
    if (folder / Path(name).name).is_dir():
        return str(folder / Path(name).name)
    return name
