"""Windows and pooled vectors in the catalog, one set for each grounding model and extractor."""

from collections.abc import Iterator, Sequence

import numpy as np
from sqlite_utils import Database

from vmrtool.catalog.digests import vectors_digest
from vmrtool.catalog.rows import StoredWindow


def write(db: Database, model: str, extractor_id: int, windows: Sequence[StoredWindow]) -> None:
    """Adds windows with their vectors; call it inside a transaction.

    What was stored for the same model, extractor and contents is replaced.

    Raises:
        ValueError: vectors and spans of a window do not belong together.
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


def read(db: Database, model: str, extractor_id: int) -> Iterator[StoredWindow]:
    """All windows of a model, in the order of content hash and time.

    Raises:
        ValueError: vectors that nothing here has written.
    """
    rows = db.execute(
        "SELECT w.content_hash, w.first, w.n, v.n, v.dim, v.data, v.spans FROM windows AS w "
        "JOIN vectors AS v ON v.window_id = w.id WHERE w.model = ? AND w.extractor_id = ? "
        "ORDER BY w.content_hash, w.first",
        (model, extractor_id),
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


def missing(db: Database, model: str, extractor_id: int) -> list[str]:
    """Content hashes that have features by this extractor but no windows of this model yet."""
    rows = db.execute(
        "SELECT DISTINCT content_hash FROM features WHERE extractor_id = ? AND content_hash NOT IN "
        "(SELECT content_hash FROM windows WHERE model = ? AND extractor_id = ?) ORDER BY 1",
        (extractor_id, model, extractor_id),
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
