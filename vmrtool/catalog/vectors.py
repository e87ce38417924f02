"""What grounding models make of windows, one set for each model and extractor.

Pooled vectors are there for every window, encodings where they are kept.
"""

import json
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from sqlite_utils import Database

from vmrtool.catalog.digests import vectors_digest
from vmrtool.catalog.rows import ListedWindows, StoredEncoding, StoredWindow

_AMONG = "AND w.content_hash IN (SELECT value FROM json_each(?)) "


def write(db: Database, model: str, extractor_id: int, windows: Sequence[StoredWindow]) -> None:
    """Adds windows with their vectors; call it inside a transaction.

    What was stored for the same model, extractor and contents is replaced.

    Raises:
        ValueError: the arrays of a window do not belong together.
    """
    for content_hash in {window.content_hash for window in windows}:
        db.execute(
            "DELETE FROM windows WHERE model = ? AND extractor_id = ? AND content_hash = ?",
            (model, extractor_id, content_hash),
        )
    for window in windows:
        if window.vectors.ndim != 2 or window.spans.shape != (len(window.vectors), 2):
            raise ValueError(f"vectors {window.vectors.shape}, spans {window.spans.shape}")
        row = {
            "model": model,
            "content_hash": window.content_hash,
            "first": window.first,
            "n": window.n,
        }
        window_id = db.table("windows").insert({**row, "extractor_id": extractor_id}).last_pk
        n, dim = window.vectors.shape
        data = np.ascontiguousarray(window.vectors, dtype="<f4").tobytes()
        spans = np.ascontiguousarray(window.spans, dtype="<i4").tobytes()
        key = (model, window.content_hash, window.first, window.n)
        db.table("vectors").insert(
            {
                "window_id": window_id,
                "n": n,
                "dim": dim,
                "data": data,
                "spans": spans,
                "digest": vectors_digest(key, n, dim, data, spans),
            }
        )
        if window.encoding is not None:
            assert isinstance(window_id, int)
            _write_encoding(db, window_id, key, window.encoding)


def _write_encoding(
    db: Database, window_id: int, window: tuple[str, str, int, int], encoding: StoredEncoding
) -> None:
    n = window[-1]
    if encoding.data.ndim != 2 or len(encoding.data) != n or encoding.cells.shape != (n, 2):
        raise ValueError(
            f"encoding {encoding.data.shape}, cells {encoding.cells.shape} of {n} snippets"
        )
    dim = encoding.data.shape[1]
    data = np.ascontiguousarray(encoding.data, dtype="<f2").tobytes()
    cells = np.ascontiguousarray(encoding.cells, dtype="<f8").tobytes()
    db.table("encodings").insert(
        {
            "window_id": window_id,
            "n": n,
            "dim": dim,
            "data": data,
            "cells": cells,
            "digest": vectors_digest(window, n, dim, data, cells),
        }
    )


def listing(db: Database, model: str, extractor_id: int) -> dict[str, ListedWindows]:
    """All windows of a model without their vectors, by content hash, in its order.

    Raises:
        ValueError: windows that nothing here has written.
    """
    rows = db.execute(
        "SELECT w.id, w.content_hash, w.first, w.n, v.n FROM windows AS w "
        "JOIN vectors AS v ON v.window_id = w.id WHERE w.model = ? AND w.extractor_id = ? "
        "ORDER BY w.content_hash, w.first",
        (model, extractor_id),
    )
    windows: dict[str, list[tuple[int, int, int]]] = {}
    vectors: dict[str, int] = {}
    # Every search waits for this: few steps a row.
    for row in rows:
        if (*map(type, row),) != (int, str, int, int, int):
            raise ValueError(f"window {row[0]!r}")
        window, content, first, n, count = row
        windows.setdefault(content, []).append((window, first, n))
        vectors[content] = vectors.get(content, 0) + count
    return {
        content: ListedWindows(tuple(listed), vectors[content])
        for content, listed in windows.items()
    }


def read(
    db: Database, model: str, extractor_id: int, contents: Collection[str] | None = None
) -> Iterator[StoredWindow]:
    """All windows of a model, or of some contents, in the order of content hash and time.

    Raises:
        ValueError: vectors that nothing here has written.
    """
    # A list of any length is one value, where there may be only so many.
    among, values = ("", ()) if contents is None else (_AMONG, (json.dumps(list(contents)),))
    rows = db.execute(
        "SELECT w.content_hash, w.first, w.n, v.n, v.dim, v.data, v.spans FROM windows AS w "
        f"JOIN vectors AS v ON v.window_id = w.id WHERE w.model = ? AND w.extractor_id = ? {among}"
        "ORDER BY w.content_hash, w.first",
        (model, extractor_id, *values),
    )
    width: int | None = None
    for content_hash, first, n, count, dim, data, spans in rows:
        window = StoredWindow(
            content_hash=content_hash,
            first=first,
            n=n,
            vectors=np.frombuffer(data, dtype="<f4").reshape(count, dim),
            spans=np.frombuffer(spans, dtype="<i4").reshape(count, 2),
        )
        width = width or dim
        inside = first >= 0 and ((window.spans >= 0) & (window.spans < n)).all()
        if dim != width or not inside or not np.isfinite(window.vectors).all():
            raise ValueError(f"vectors of content {content_hash[:12]}")
        yield window


def read_encoding(
    db: Database, model: str, extractor_id: int, content_hash: str, first: int
) -> StoredEncoding | None:
    """What is kept of the window that starts at snippet `first`; None where nothing is.

    Raises:
        ValueError: an encoding that nothing here has written.
    """
    row = db.execute(
        "SELECT e.n, e.dim, e.data, e.cells FROM windows AS w "
        "JOIN encodings AS e ON e.window_id = w.id "
        "WHERE w.model = ? AND w.extractor_id = ? AND w.content_hash = ? AND w.first = ?",
        (model, extractor_id, content_hash, first),
    ).fetchone()
    if row is None:
        return None
    n, dim, data, cells = row
    encoding = StoredEncoding(
        data=np.frombuffer(data, dtype="<f2").reshape(n, dim),
        cells=np.frombuffer(cells, dtype="<f8").reshape(n, 2),
    )
    if not (np.isfinite(encoding.data).all() and np.isfinite(encoding.cells).all()):
        raise ValueError(f"encoding of content {content_hash[:12]}")
    return encoding


def drop_encodings(db: Database) -> None:
    """Forgets the encodings of all models; their vectors stay."""
    db.execute("DELETE FROM encodings")


def missing(
    db: Database, model: str, extractor_id: int, *, with_encodings: bool = False
) -> list[str]:
    """Content hashes that have features by this extractor but no windows of this model yet.

    with_encodings: or windows without their encodings.
    """
    done = "SELECT content_hash FROM windows WHERE model = ? AND extractor_id = ?"
    wanted = f"content_hash NOT IN ({done})"
    keys: list[str | int] = [extractor_id, model, extractor_id]
    if with_encodings:
        bare = f"{done} AND id NOT IN (SELECT window_id FROM encodings)"
        wanted = f"({wanted} OR content_hash IN ({bare}))"
        keys += [model, extractor_id]
    rows = db.execute(
        f"SELECT DISTINCT content_hash FROM features WHERE extractor_id = ? AND {wanted} "
        "ORDER BY 1",
        keys,
    )
    return [row[0] for row in rows]


def stamp(db: Database, model: str, extractor_id: int) -> str:
    """A short text that differs whenever the set of a model's windows has changed.

    Window ids only grow and are never used twice, so count and highest id tell.
    """
    count, last = db.execute(
        "SELECT count(*), coalesce(max(id), 0) FROM windows WHERE model = ? AND extractor_id = ?",
        (model, extractor_id),
    ).fetchone()
    return f"{count}-{last}"
