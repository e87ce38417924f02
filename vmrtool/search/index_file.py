"""The file beside the catalog that keeps a vector index: what is in it, how it is read and written.

It holds a FAISS index, mapped and not read; then, unless that has them as they are, the vectors;
then tables of what the vectors stand for; and an end by which all of it is checked. Everything in
it comes from the catalog, and a file that is not sound is as good as none.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from vmrtool.assets.lock import hold, is_free
from vmrtool.catalog.rows import Windows
from vmrtool.catalog.upkeep import INDEX_MARK
from vmrtool.files import whole
from vmrtool.search.factory import Factory
from vmrtool.search.index import Vectors
from vmrtool.search.table import Table

_END = struct.Struct("<QQII24s")  # bytes of index and vectors, of tables; CRCs of head and tables
_MAGIC = b"vmrtool vector index 1\n\0"
_PIECE = 2**24  # bytes written or summed at once


class UnsoundError(Exception):
    """A file that cannot be used; the message says why."""


@dataclass(frozen=True)
class Kept:
    """An index with what it holds: the vectors of `table`'s rows, in their order.

    `windows` are those of each of the table's contents, as they were listed when its vectors were
    read; a content that was changed since may be here twice. `trained_on` is how many vectors there
    were when the index was trained.
    """

    index: faiss.Index
    factory: Factory
    table: Table
    windows: Sequence[Windows]
    vectors: Vectors
    trained_on: int


@dataclass(frozen=True)
class Identity:
    """Whose vectors an index is of: a catalog's, by a model, from an extractor's features."""

    catalog: str
    model: str
    extractor: tuple[str, str, str]
    factory: str

    @property
    def text(self) -> str:
        """All of it, in one order."""
        return json.dumps([self.catalog, self.model, *self.extractor, self.factory])

    def beside(self, catalog: Path) -> Path:
        """The file for it, beside the catalog."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:12]
        return catalog.with_name(f"{catalog.name}{INDEX_MARK}{digest}")


def as_they_are(vectors: NDArray[np.float32]) -> Vectors:
    """A reader of vectors (V, d)."""
    return lambda low, high: vectors[low:high]


def from_flat(index: faiss.Index) -> Vectors:
    """A reader of the vectors of an exact index, which has them as they are."""
    return lambda low, high: index.reconstruct_n(low, high - low)


def write(path: Path, identity: Identity, kept: Kept) -> None:
    """Writes an index, whole or not at all; what killed writers have left goes.

    Raises:
        OSError: the disk is full, the folder cannot be written.
    """
    for left in path.parent.glob(f".{path.name}.*"):
        with suppress(OSError):
            if is_free(left):
                left.unlink()
    with whole(path, mark=f"{os.getpid()}.part") as place, place.open("wb") as out:
        hold(out.fileno())  # however this ends, the part is then seen to be nobody's
        faiss.write_index(kept.index, faiss.PyCallbackIOWriter(out.write))  # type: ignore[attr-defined]
        index_bytes = out.tell()
        if not kept.factory.exact:
            step = max(1, _PIECE // (4 * kept.index.d))
            for low in range(0, len(kept.table), step):
                part = kept.vectors(low, min(len(kept.table), low + step))
                out.write(np.ascontiguousarray(part, dtype="<f4").tobytes())
        body = out.tell()
        head = _head(kept.index, kept.factory, index_bytes)
        tables = _tables(identity, kept, index_bytes, head)
        out.write(tables)
        out.flush()
        with place.open("rb") as written:
            head_sum = _sum(written, head)
        out.write(_END.pack(body, len(tables), head_sum, zlib.crc32(tables), _MAGIC))
        out.flush()
        os.fsync(out.fileno())


def _head(index: faiss.Index, factory: Factory, index_bytes: int) -> int:
    """So many first bytes of an index hold its structure, which must be right; vectors follow."""
    if factory.text.startswith("HNSW"):
        return index_bytes
    # FAISS's stubs know only the base class.
    code_size: int = faiss.downcast_index(index).code_size  # type: ignore[attr-defined]
    return index_bytes - index.ntotal * (code_size + (8 if factory.lists else 0))


def _tables(identity: Identity, kept: Kept, index_bytes: int, head: int) -> bytes:
    table = kept.table
    windows = [(k, *window) for k, listed in enumerate(kept.windows) for window in listed]
    arrays = {
        "windows": np.array(windows, "<i8").reshape(-1, 4),
        "counts": table.counts.astype("<i8"),
        "window_of": table.window_of.astype("<i4"),
        "spans": table.spans.astype("<i4"),
    }
    told = {
        "identity": identity.text,
        "dim": kept.index.d,
        "trained_on": kept.trained_on,
        "index_bytes": index_bytes,
        "head_bytes": head,
        "contents": table.contents,
        "arrays": {name: [array.dtype.str, *array.shape] for name, array in arrays.items()},
    }
    return b"".join(
        [json.dumps(told).encode(), b"\n", *(array.tobytes() for array in arrays.values())]
    )


def _sum(file: Any, count: int) -> int:
    """The CRC-32 of a file's first bytes."""
    file.seek(0)
    crc = 0
    while count > 0 and (piece := file.read(min(count, _PIECE))):
        crc = zlib.crc32(piece, crc)
        count -= len(piece)
    return crc


def read(path: Path, identity: Identity, factory: Factory, dim: int) -> Kept | None:
    """Maps an index; None where there is none.

    Raises:
        UnsoundError: the file is cut short, damaged, or something else.
    """
    try:
        with path.open("rb") as file:
            told, tables, body = _checked(file)
        if (told["identity"], told["dim"]) != (identity.text, dim):
            raise UnsoundError("it belongs to something else")
        arrays = _arrays(told, tables)
        table, windows = _table(told["contents"], arrays)
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        vectors_bytes = 0 if factory.exact else 4 * dim * len(table)
        if (index.d, index.ntotal) != (dim, len(table)) or (
            body != told["index_bytes"] + vectors_bytes
        ):
            raise UnsoundError("its parts do not fit together")
        if factory.exact:
            vectors = from_flat(index)
        else:
            vectors = as_they_are(
                np.memmap(path, "<f4", "r", int(told["index_bytes"]), (len(table), dim))
            )
        return Kept(index, factory, table, windows, vectors, int(told["trained_on"]))
    except FileNotFoundError:
        return None
    except UnsoundError:
        raise
    except OSError as error:
        raise UnsoundError(error.strerror or "it cannot be read") from error
    # FAISS raises RuntimeError, with lines of its own sources in it.
    except (RuntimeError, MemoryError, ValueError, TypeError, KeyError) as error:
        raise UnsoundError("it is damaged") from error


def _checked(file: Any) -> tuple[dict[str, Any], bytes, int]:
    """What a file tells of itself, its arrays, and how long index and vectors are."""
    size = os.fstat(file.fileno()).st_size
    if size < _END.size:
        raise UnsoundError("it is cut short")
    file.seek(size - _END.size)
    body, length, head_sum, tables_sum, magic = _END.unpack(file.read(_END.size))
    if magic != _MAGIC or body + length + _END.size != size:
        raise UnsoundError("it is cut short, or something else")
    file.seek(body)
    tables = file.read(length)
    if zlib.crc32(tables) != tables_sum:
        raise UnsoundError("it is damaged")
    line, _, rest = tables.partition(b"\n")
    told = json.loads(line)
    if _sum(file, told["head_bytes"]) != head_sum:
        raise UnsoundError("it is damaged")
    return told, rest, body


def _arrays(told: dict[str, Any], tables: bytes) -> dict[str, NDArray[Any]]:
    arrays, at = {}, 0
    for name, (kind, *shape) in told["arrays"].items():
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(tables, kind, count, at).reshape(shape)
        at += arrays[name].nbytes
    return arrays


def _table(contents: list[str], arrays: Mapping[str, NDArray[Any]]) -> tuple[Table, list[Windows]]:
    windows: list[list[tuple[int, int, int]]] = [[] for _ in contents]
    for number, key, first, n in arrays["windows"].tolist():
        windows[number].append((key, first, n))
    bounds = np.concatenate([[0], np.cumsum(arrays["counts"], dtype=np.int64)])
    tiles = [[(first, n) for _, first, n in listed] for listed in windows]
    table = Table(contents, tiles, bounds, arrays["window_of"], arrays["spans"])
    return table, [tuple(listed) for listed in windows]
