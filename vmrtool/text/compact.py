"""Word vectors of some words only, as one safetensors file.

The public files hold two million words in gigabytes of text; a data set uses some thousand. Which
words were asked for is noted too, so that nobody looks again for those that have no vector.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmrtool.config import cache_folder
from vmrtool.errors import DataError
from vmrtool.files import whole

FORMAT = "vmrtool.vectors/1"
PULLED = "glove.840B.300d.safetensors"


def pulled_vectors() -> Path | None:
    """The file that `vmrtool data pull glove` makes, if it has been pulled."""
    path = cache_folder() / "glove" / PULLED
    return path if path.is_file() else None


@dataclass(frozen=True)
class CompactVectors:
    """Word vectors, and how they were chosen.

    Attributes:
        words: the words, in the order of the file they are from.
        vectors: float32 (V, dim).
        asked: words that were asked for; not all of them need have a vector.
        frequent: how many others were taken with them, from the file's beginning.
        source: the file they are from.
    """

    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    asked: tuple[str, ...]
    frequent: int
    source: str

    @property
    def absent(self) -> frozenset[str]:
        """Words that were asked for and have no vector."""
        return frozenset(self.asked).difference(self.words)


def write_compact(path: Path, compact: CompactVectors) -> None:
    """Writes the file, whole or not at all; the same vectors give the same bytes."""
    from safetensors.numpy import save

    about = {
        "format": FORMAT,
        "source": compact.source,
        "words": list(compact.words),
        "asked": list(compact.asked),
        "frequent": compact.frequent,
    }
    document = json.dumps(about, ensure_ascii=False)
    vectors = np.ascontiguousarray(compact.vectors, dtype=np.float32)
    with whole(path) as place:
        place.write_bytes(save({"vectors": vectors}, metadata={"vmrtool": document}))


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
            words=tuple(about["words"]),
            vectors=vectors,
            asked=tuple(about["asked"]),
            frequent=int(about["frequent"]),
            source=about["source"],
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
