"""Looking over the rows with blobs: lengths, numbers, order, digests."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sqlite_utils import Database

from vmrtool.catalog import schema
from vmrtool.catalog.digests import features_digest, vectors_digest
from vmrtool.catalog.faults import (
    INDEX_AGAIN,
    POOL_AGAIN,
    Fault,
    dropping,
    dropping_whole,
    text,
)
from vmrtool.catalog.snippets import CHUNK

_CHANGED = "what is stored is not what was written: its digest differs"


def _digested(db: Database) -> bool:
    """Whether rows have digests; not in an older catalog that cannot be migrated."""
    return schema.version(db) >= schema.DIGESTS


def wrong_features(db: Database, count: Callable[[str], None]) -> Iterator[Fault]:
    """Every chunk; a content with a wrong one is dropped whole, with the windows made of it."""
    at: tuple[Any, Any] | None = None
    following = 0
    width: Any = None
    digested = _digested(db)
    rows = db.execute(
        f"SELECT rowid, content_hash, extractor_id, {'digest' if digested else 'NULL'}, chunk, n, "
        "dim, data, seen, cells FROM features ORDER BY content_hash, extractor_id, chunk"
    )
    before: tuple[float, float] | None = None
    short = False
    for rowid, content, extractor, digest, chunk, n, dim, *blobs in rows:
        count("features")
        if (content, extractor) != at:
            at, following, width, before, short = (content, extractor), 0, dim, None, False
        if not isinstance(content, str):
            wrong: str | None = "content_hash is not text"
        elif chunk != following or short:
            wrong = f"chunk {following} is not there"
        elif dim != width:
            wrong = f"chunk {chunk} has {text(dim)} columns, the first {text(width)}"
        else:
            wrong, before = _wrong_chunk(n, dim, blobs, before)
            if wrong is None and digested:
                same = digest == features_digest(content, chunk, n, dim, *blobs)
                wrong = None if same else _CHANGED
        following += 1
        short = n != CHUNK
        if wrong is not None:
            yield Fault(
                *("features", f"{text(content)[:12]}, extractor {extractor}", wrong),
                INDEX_AGAIN,
                dropping_whole("features", "content_hash, extractor_id", rowid),
            )


def _wrong_chunk(
    n: Any, dim: Any, blobs: list[Any], before: tuple[float, float] | None
) -> tuple[str | None, tuple[float, float] | None]:
    """What is wrong with a chunk, and where its last `seen` and cell start."""
    if not (isinstance(n, int) and isinstance(dim, int) and 1 <= n <= CHUNK and dim >= 1):
        return f"n {text(n)} or dim {text(dim)} cannot be", before
    sizes = {"data": n * dim * 2, "seen": n * 16, "cells": n * 16}
    for (name, size), blob in zip(sizes.items(), blobs, strict=True):
        if not isinstance(blob, bytes) or len(blob) != size:
            has = f"{len(blob)} bytes" if isinstance(blob, bytes) else "no bytes"
            return f"{name} has {has}, not {size}", before
    if not np.isfinite(np.frombuffer(blobs[0], "<f2")).all():
        return "a feature is not a finite number", before
    starts = []
    for name, blob, last in zip(("seen", "cells"), blobs[1:], before or (0.0, 0.0), strict=True):
        spans = np.frombuffer(blob, "<f8").reshape(n, 2)
        if not np.isfinite(spans).all():
            return f"a span of {name} is not finite", before
        if (spans[:, 1] < spans[:, 0]).any() or spans[0, 0] < last or (spans < 0).any():
            return f"a span of {name} runs backwards", before
        if (np.diff(spans, axis=0) < 0).any():
            return f"the spans of {name} are not in order", before
        starts.append(float(spans[-1, 0]))
    return None, (starts[0], starts[1])


def wrong_windows(db: Database, count: Callable[[str], None]) -> Iterator[Fault]:
    """Every window with its vectors, and the vectors of none."""
    lengths = {
        (content, extractor): n
        for content, extractor, n in db.execute(
            "SELECT content_hash, extractor_id, sum(n) FROM features GROUP BY 1, 2"
        ).fetchall()
    }
    digested = _digested(db)
    rows = db.execute(
        "SELECT w.id, w.model, w.extractor_id, w.content_hash, w.first, w.n, v.n, v.dim, v.data, "
        f"v.spans, {'digest' if digested else 'NULL'} FROM windows AS w LEFT JOIN vectors AS v "
        "ON v.window_id = w.id ORDER BY w.id"
    )
    dims: dict[tuple[Any, Any], Any] = {}
    for number, model, extractor, content, first, n, vectors, dim, data, spans, digest in rows:
        count("windows")
        whole = lengths.get((content, extractor))
        wrong = None
        if not (isinstance(first, int) and isinstance(n, int) and first >= 0 and n >= 1):
            wrong = f"snippets {text(first)} + {text(n)} cannot be"
        elif not isinstance(model, str):
            wrong = "model is not text"
        elif not isinstance(whole, int) or first + n > whole:
            wrong = "it reaches past the features of its video"
        else:
            wrong = _wrong_vectors(n, vectors, dim, data, spans)
            if wrong is None and dims.setdefault((model, extractor), dim) != dim:
                wrong = (
                    f"its vectors have {dim} columns, others of the model {dims[model, extractor]}"
                )
            if wrong is None and digested:
                key = (model, content, first, n)
                same = digest == vectors_digest(key, vectors, dim, data, spans)
                wrong = None if same else _CHANGED
        if wrong is not None:
            # All windows of the content, so that the next search misses them and makes them.
            yield Fault(
                *("windows", str(number), wrong, POOL_AGAIN),
                dropping_whole("windows", "content_hash, extractor_id, model", number),
            )


def _wrong_vectors(n: int, vectors: Any, dim: Any, data: Any, spans: Any) -> str | None:
    if vectors is None:
        return "it has no vectors"
    if not (isinstance(vectors, int) and isinstance(dim, int) and vectors >= 1 and dim >= 1):
        return f"vectors: n {text(vectors)} or dim {text(dim)} cannot be"
    if not isinstance(data, bytes) or len(data) != vectors * dim * 4:
        return f"its vectors are not {vectors * dim * 4} bytes"
    if not isinstance(spans, bytes) or len(spans) != vectors * 8:
        return f"the spans of its vectors are not {vectors * 8} bytes"
    if not np.isfinite(np.frombuffer(data, "<f4")).all():
        return "a vector is not finite"
    pairs = np.frombuffer(spans, "<i4").reshape(vectors, 2)
    if (pairs < 0).any() or (pairs >= n).any() or (pairs[:, 1] < pairs[:, 0]).any():
        return "a vector stands for snippets that the window has not"
    return None


def wrong_encodings(db: Database) -> Iterator[Fault]:
    """Every encoding that is kept of a window; a search does without one that is dropped."""
    if schema.version(db) < schema.ENCODINGS:  # an older catalog that cannot be migrated
        return
    rows = db.execute(
        "SELECT w.model, w.content_hash, w.first, w.n, e.window_id, e.n, e.dim, e.data, e.cells, "
        "e.digest FROM encodings AS e JOIN windows AS w ON w.id = e.window_id ORDER BY e.window_id"
    )
    for *key, number, n, dim, data, cells, digest in rows:
        wrong = None
        if n != key[-1] or not (isinstance(n, int) and isinstance(dim, int) and dim >= 1):
            wrong = f"n {text(n)} or dim {text(dim)} cannot be"
        elif not isinstance(data, bytes) or len(data) != n * dim * 2:
            wrong = f"data is not {n * dim * 2} bytes"
        elif not isinstance(cells, bytes) or len(cells) != n * 16:
            wrong = f"cells are not {n * 16} bytes"
        elif digest != vectors_digest((key[0], key[1], key[2], key[3]), n, dim, data, cells):
            wrong = _CHANGED
        if wrong is not None:
            yield Fault(
                *("encodings", f"window {number}", wrong, POOL_AGAIN), dropping("encodings", number)
            )
