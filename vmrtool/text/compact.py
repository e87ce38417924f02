"""Word vectors of some words only, as one safetensors file.

The public files hold two million words in gigabytes of text; a data set uses some thousand. Words
that were looked for in vain are noted too, so that nobody looks for them again.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmrtool.errors import DataError

FORMAT = "vmrtool.vectors/1"


@dataclass(frozen=True)
class CompactVectors:
    """Vectors float32 (V, dim) of `words`, the words that have none, and where they are from."""

    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    absent: tuple[str, ...]
    source: str


def write_compact(path: Path, compact: CompactVectors) -> None:
    """Writes the file, whole or not at all; the same vectors give the same bytes."""
    from safetensors.numpy import save

    about = {
        "format": FORMAT,
        "source": compact.source,
        "words": list(compact.words),
        "absent": list(compact.absent),
    }
    document = json.dumps(about, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    vectors = np.ascontiguousarray(compact.vectors, dtype=np.float32)
    part.write_bytes(save({"vectors": vectors}, metadata={"vmrtool": document}))
    part.replace(path)


def read_compact(path: Path) -> CompactVectors:
    """Reads what `write_compact` wrote.

    Raises:
        DataError: there is no such file, or it is another one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("vmrtool", "{}"))
            if about.get("format") != FORMAT:
                raise ValueError(f"its format is {about.get('format')!r}, not {FORMAT!r}")
            vectors = file.get_tensor("vectors")
        compact = CompactVectors(
            tuple(about["words"]), vectors, tuple(about["absent"]), about["source"]
        )
        if vectors.dtype != np.float32 or vectors.shape[:-1] != (len(compact.words),):
            raise ValueError(f"{len(compact.words)} words, but {vectors.dtype} {vectors.shape}")
    except FileNotFoundError as error:
        raise DataError(f"no word vectors {path}") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a file of word vectors ({error})",
            remedy="Make it again: vmrtool data pull glove",
        ) from error
    return compact
