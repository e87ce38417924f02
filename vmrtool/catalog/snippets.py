"""Features in the catalog: one row a chunk of snippets, little-endian blobs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from vmrtool.catalog.digests import features_digest
from vmrtool.catalog.rows import StoredSnippets

CHUNK = 4096  # snippets; at 1024 values of two bytes a chunk is 8 MiB, far below SQLite's limit


def write(db: Database, content_hash: str, extractor_id: int, snippets: StoredSnippets) -> None:
    """Replaces what is stored for this content and extractor. Call it inside a transaction.

    Raises:
        ValueError: the arrays do not belong together.
    """
    features, seen, cells = snippets.features, snippets.seen, snippets.cells
    n = len(features)
    if features.ndim != 2 or n == 0 or seen.shape != (n, 2) or cells.shape != (n, 2):
        raise ValueError(
            f"features {features.shape}, seen {seen.shape}, cells {cells.shape} do not fit together"
        )
    remove(db, content_hash, extractor_id)
    db.table("features").insert_all(
        _row(content_hash, extractor_id, chunk, snippets) for chunk in range(-(-n // CHUNK))
    )


def _row(
    content_hash: str, extractor_id: int, chunk: int, snippets: StoredSnippets
) -> dict[str, Any]:
    of_chunk = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
    row = {
        "content_hash": content_hash,
        "chunk": chunk,
        "n": len(snippets.features[of_chunk]),
        "dim": snippets.features.shape[1],
        "data": _pack(snippets.features[of_chunk], "<f2"),
        "seen": _pack(snippets.seen[of_chunk], "<f8"),
        "cells": _pack(snippets.cells[of_chunk], "<f8"),
    }
    return {**row, "extractor_id": extractor_id, "digest": features_digest(**row)}


def read(
    db: Database, content_hash: str, extractor_id: int, first: int = 0, n: int | None = None
) -> StoredSnippets | None:
    """Snippets [first, first + n) (to the end without `n`), or None where nothing is stored.

    Only the chunks that hold them are read.
    """
    assert n is None or n > 0, n
    low = first // CHUNK
    high = -1 if n is None else (first + n - 1) // CHUNK
    rows = db.execute(
        "SELECT n, dim, data, seen, cells FROM features WHERE content_hash = ? AND "
        "extractor_id = ? AND chunk >= ? AND (chunk <= ? OR ? < 0) ORDER BY chunk",
        (content_hash, extractor_id, low, high, high),
    ).fetchall()
    if not rows:
        return None
    skip = first - low * CHUNK
    wanted = slice(skip, None if n is None else skip + n)
    return StoredSnippets(
        features=_unpack([(row[2], row[0], row[1]) for row in rows], "<f2", wanted),
        seen=_unpack([(row[3], row[0], 2) for row in rows], "<f8", wanted),
        cells=_unpack([(row[4], row[0], 2) for row in rows], "<f8", wanted),
    )


def stored(db: Database, content_hash: str, extractor_id: int) -> bool:
    """Whether there are features of this content by this extractor. Reads no blob."""
    row = db.execute(
        "SELECT 1 FROM features WHERE content_hash = ? AND extractor_id = ? LIMIT 1",
        (content_hash, extractor_id),
    ).fetchone()
    return row is not None


def count(db: Database, content_hash: str, extractor_id: int) -> int:
    """How many snippets are stored for this content and extractor."""
    row = db.execute(
        "SELECT coalesce(sum(n), 0) FROM features WHERE content_hash = ? AND extractor_id = ?",
        (content_hash, extractor_id),
    ).fetchone()
    return int(row[0])


def count_all(db: Database, extractor_id: int) -> int:
    """How many snippets by this extractor are stored."""
    row = db.execute(
        "SELECT coalesce(sum(n), 0) FROM features WHERE extractor_id = ?", (extractor_id,)
    ).fetchone()
    return int(row[0])


def remove(db: Database, content_hash: str, extractor_id: int) -> None:
    """Removes the features of this content and extractor, and the windows pooled from them."""
    for table in ("features", "windows"):
        db.execute(
            f"DELETE FROM {table} WHERE content_hash = ? AND extractor_id = ?",
            (content_hash, extractor_id),
        )


def _pack(array: NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()


def _unpack(blobs: list[tuple[bytes, int, int]], dtype: str, wanted: slice) -> NDArray[Any]:
    """The wanted rows of all chunks together; ValueError where they are not what was written."""
    parts = [np.frombuffer(blob, dtype=dtype).reshape(n, width) for blob, n, width in blobs]
    # A chunk may hold thirty times as many snippets as a window has: only these are looked at.
    values = np.concatenate(parts)[wanted] if len(parts) > 1 else parts[0][wanted].copy()
    if not np.isfinite(values).all():
        raise ValueError("features or spans that are not finite")
    return values
