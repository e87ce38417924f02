"""Looking over a whole catalog: is every row what it must be, and dropping those that are not.

A catalog may come from somebody else or from a failing disk, so nothing is taken for granted here:
every row is read as SQLite gives it, whatever is in it.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from sqlite_utils import Database

from vmrtool.catalog import videos
from vmrtool.catalog.catalog import Catalog
from vmrtool.catalog.paths import display, from_key, join_key
from vmrtool.catalog.rows import State
from vmrtool.catalog.snippets import CHUNK

INDEX_AGAIN = "--repair drops it; `vmrtool index` then makes it again"
POOL_AGAIN = "--repair drops it; the next search makes it again"
FROM_COPY = "restore the catalog from a copy, or move it away and index again"

_BATCH = 200  # most faults SQLite's own checks tell one by one


@dataclass(frozen=True)
class Fault:
    """Something wrong: in which table and row, what, and what to do.

    `drop` is the SQL that takes it away, with its parameters; None where nothing short of another
    copy helps.
    """

    table: str
    row: str
    error: str
    remedy: str
    drop: tuple[str, tuple[Any, ...]] | None = None


@dataclass(frozen=True)
class Counts:
    """How much was looked at, in rows; `files` are videos whose contents were read."""

    videos: int = 0
    features: int = 0
    windows: int = 0
    failures: int = 0
    files: int = 0


@dataclass(frozen=True)
class Verdict:
    """What `verify` found."""

    counts: Counts
    faults: tuple[Fault, ...]


def verify(
    catalog: Catalog,
    *,
    hash_file: Callable[[Any], str] | None = None,
    on_row: Callable[[int], None] = lambda rows: None,
) -> Verdict:
    """Looks at every row of a catalog; changes nothing.

    Args:
        catalog: an open one.
        hash_file: gives a file's content hash; with it the videos' files are read and compared.
        on_row: told how many rows have been looked at so far.
    """
    seen = 0
    counts = {"videos": 0, "features": 0, "windows": 0, "failures": 0, "files": 0}
    faults: list[Fault] = []

    def count(table: str) -> None:
        nonlocal seen
        counts[table] += 1
        seen += 1
        on_row(seen)

    with catalog.reading() as db:
        # Text that is not UTF-8 must not end the look at all the rest.
        db.conn.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            faults += _sqlite_says(db)
            faults += _settings(db)
            faults += _extractors(db)
            faults += _roots_and_videos(db, count, hash_file)
            faults += _features(db, count)
            faults += _windows(db, count)
            faults += _encodings(db)
            faults += _failures(db, count)
        except sqlite3.DatabaseError as error:
            faults.append(Fault("catalog", "file", f"cannot be read on: {error}", FROM_COPY))
        finally:
            db.conn.text_factory = str
    return Verdict(Counts(**counts), tuple(faults))


def repair(catalog: Catalog, faults: tuple[Fault, ...]) -> int:
    """Drops what is wrong, in one transaction, and sets the videos' states right.

    Returns:
        How many of the faults were taken away.

    Raises:
        CatalogError: the catalog cannot be written.
    """
    mendable = [fault.drop for fault in faults if fault.drop is not None]
    with catalog.transaction() as db:
        for statement, parameters in mendable:
            db.execute(statement, parameters)
        db.execute(
            "DELETE FROM windows WHERE (content_hash, extractor_id) NOT IN "
            "(SELECT content_hash, extractor_id FROM features)"
        )
        db.execute(
            "DELETE FROM settings WHERE key = 'extractor' AND "
            "CAST(value AS INTEGER) NOT IN (SELECT id FROM extractors)"
        )
        videos.remove_empty_roots(db)
        row = db.execute("SELECT value FROM settings WHERE key = 'extractor'").fetchone()
        if row is not None:
            videos.refresh_states(db, int(json.loads(row[0])))
    return len(mendable)


# The file ---------------------------------------------------------------------------------------


def _sqlite_says(db: Database) -> Iterator[Fault]:
    """SQLite's own two checks. Entries lacking in an index are mended by making it anew."""
    for (line,) in db.execute(f"PRAGMA integrity_check({_BATCH})").fetchall():
        # What it says of values, the looks at each table tell by row.
        if line != "ok" and " constraint failed in " not in line and " value in " not in line:
            lacking = "missing from index" in line or "wrong # of entries" in line
            drop = ("REINDEX", ()) if lacking else None
            remedy = "--repair makes the index anew" if lacking else FROM_COPY
            yield Fault("catalog", "file", line, remedy, drop)
    for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check").fetchall():
        if rowid is None or table not in _TABLES:
            yield Fault(str(table), "?", f"points to no row of {parent}", FROM_COPY)
        else:
            yield Fault(
                *(table, str(rowid), f"points to a row of {parent} that is not there"),
                POOL_AGAIN if table in ("windows", "vectors", "encodings") else INDEX_AGAIN,
                _dropping(table, rowid),
            )


_TABLES = (
    "roots",
    "videos",
    "extractors",
    "features",
    "windows",
    "vectors",
    "encodings",
    "failures",
)


def _dropping(table: str, rowid: Any) -> tuple[str, tuple[Any, ...]]:
    return f"DELETE FROM {table} WHERE rowid = ?", (rowid,)


def _dropping_whole(table: str, key: str, rowid: Any) -> tuple[str, tuple[Any, ...]]:
    """All rows that have their `key` in common with one: parts of one thing."""
    of_row = f"SELECT {key} FROM {table} WHERE rowid = ?"
    return f"DELETE FROM {table} WHERE ({key}) IN ({of_row})", (rowid,)


# Small tables -----------------------------------------------------------------------------------


def _settings(db: Database) -> Iterator[Fault]:
    expected = {"extractor": int, "model": str, "catalog": str}
    for rowid, key, value in db.execute("SELECT rowid, key, value FROM settings").fetchall():
        try:
            read = json.loads(value)
        except (TypeError, ValueError):
            read = None
        if read is None or not isinstance(read, expected.get(str(key), object)):
            yield Fault(
                *("settings", _text(key), "its value cannot be read"),
                "--repair drops it; `vmrtool index` with its options sets it again",
                _dropping("settings", rowid),
            )


def _extractors(db: Database) -> Iterator[Fault]:
    rows = db.execute("SELECT id, backbone, weights_sha256, settings FROM extractors").fetchall()
    for number, backbone, weights, settings in rows:
        try:
            right = isinstance(json.loads(settings), dict)
        except (TypeError, ValueError):
            right = False
        if not (right and isinstance(backbone, str) and isinstance(weights, str)):
            yield Fault(
                *("extractors", str(number), "its settings cannot be read"),
                "--repair drops it and its features; `vmrtool index` then makes them again",
                _dropping("extractors", number),
            )
    wanted = db.execute("SELECT value FROM settings WHERE key = 'extractor'").fetchone()
    if wanted is not None and wanted[0] not in {str(row[0]) for row in rows}:
        yield Fault(
            *("settings", "extractor", "the extractor in use is not among the extractors"),
            "--repair drops it; `vmrtool index` with its options sets it again",
            ("DELETE FROM settings WHERE key = 'extractor'", ()),
        )


def _roots_and_videos(
    db: Database, count: Callable[[str], None], hash_file: Callable[[Any], str] | None
) -> Iterator[Fault]:
    roots = {}
    for number, key, path in db.execute("SELECT id, path_bytes, path FROM roots").fetchall():
        roots[number] = key
        if not isinstance(key, bytes) or not _absolute(key) or not isinstance(path, str):
            yield Fault(
                *("roots", str(number), "no absolute path"),
                "--repair drops it and its videos; `vmrtool index` finds them again",
                ("DELETE FROM videos WHERE root_id = ?", (number,)),
            )
    columns = ", ".join(videos.COLUMNS)
    rows = db.execute(f"SELECT id, root_id, {columns} FROM videos ORDER BY id")
    for video, root_id, *values in rows.fetchall():
        count("videos")
        key, path = values[0], values[1]
        root = roots.get(root_id)
        name = _text(path)
        if isinstance(root, bytes) and isinstance(key, bytes):
            name = display(join_key(root, key))
        wrong = _wrong_video(dict(zip(videos.COLUMNS, values, strict=True)))
        if wrong is not None:
            yield Fault("videos", name, wrong, INDEX_AGAIN, _dropping("videos", video))
        elif hash_file is not None and isinstance(root, bytes) and values[4] is not None:
            yield from _compared(db, name, video, join_key(root, key), values, hash_file, count)


def _wrong_video(row: dict[str, Any]) -> str | None:
    """What of a video's row cannot be; None where it is right."""
    key, content = row["path_bytes"], row["content_hash"]
    if not isinstance(key, bytes) or not key or b"\0" in key or _leads_out(key):
        return "its name is no path below its folder"
    if not isinstance(row["path"], str):
        return "path is not text"
    if row["state"] not in get_args(State):
        return f"state {_text(row['state'])} is not known"
    if not isinstance(row["size"], int) or not isinstance(row["mtime_ns"], int):
        return "size or mtime_ns is not a whole number"
    if content is not None and not isinstance(content, str):
        return "content_hash is not text"
    wrong = (name for name in videos.FACTS if not videos.can_be(name, row[name]))
    return next((f"{name} is {_text(row[name])}" for name in wrong), None)


def _compared(
    db: Database,
    name: str,
    video: int,
    key: bytes,
    values: list[Any],
    hash_file: Callable[[Any], str],
    count: Callable[[str], None],
) -> Iterator[Fault]:
    """A video's file against its row: a file that says it has not changed must not have."""
    _, _, size, mtime_ns, content, *_ = values
    path = from_key(key)
    try:
        facts = path.stat()
        if (facts.st_size, facts.st_mtime_ns) != (size, mtime_ns):
            return  # `index` reads it again by itself
        found = hash_file(path)
    except FileNotFoundError:
        return  # missing, which is no fault of the catalog's
    except OSError as error:
        yield Fault(
            *("videos", name, f"its file cannot be read: {error.strerror}"),
            "check its permissions and the disk",
        )
        return
    count("files")
    if found != content:
        yield Fault(
            *("videos", name, "the file's content is not the one that was indexed"),
            "where the file is damaged restore it from a copy; else --repair drops the video and "
            "`vmrtool index` decodes it again",
            _dropping("videos", video),
        )


def _absolute(key: bytes) -> bool:
    return b"\0" not in key and from_key(key).is_absolute()


def _leads_out(key: bytes) -> bool:
    return key.startswith(b"/") or b".." in key.split(b"/")


# Blobs ------------------------------------------------------------------------------------------


def _features(db: Database, count: Callable[[str], None]) -> Iterator[Fault]:
    """Every chunk; a content with a wrong one is dropped whole, with the windows made of it."""
    at: tuple[Any, Any] | None = None
    following = 0
    width: Any = None
    rows = db.execute(
        "SELECT rowid, content_hash, extractor_id, chunk, n, dim, data, seen, cells FROM features "
        "ORDER BY content_hash, extractor_id, chunk"
    )
    before: tuple[float, float] | None = None
    short = False
    for rowid, content, extractor, chunk, n, dim, *blobs in rows:
        count("features")
        if (content, extractor) != at:
            at, following, width, before, short = (content, extractor), 0, dim, None, False
        if not isinstance(content, str):
            wrong: str | None = "content_hash is not text"
        elif chunk != following or short:
            wrong = f"chunk {following} is not there"
        elif dim != width:
            wrong = f"chunk {chunk} has {_text(dim)} columns, the first {_text(width)}"
        else:
            wrong, before = _wrong_chunk(n, dim, blobs, before)
        following += 1
        short = n != CHUNK
        if wrong is not None:
            yield Fault(
                *("features", f"{_text(content)[:12]}, extractor {extractor}", wrong),
                INDEX_AGAIN,
                _dropping_whole("features", "content_hash, extractor_id", rowid),
            )


def _wrong_chunk(
    n: Any, dim: Any, blobs: list[Any], before: tuple[float, float] | None
) -> tuple[str | None, tuple[float, float] | None]:
    """What is wrong with a chunk, and where its last `seen` and cell start."""
    if not (isinstance(n, int) and isinstance(dim, int) and 1 <= n <= CHUNK and dim >= 1):
        return f"n {_text(n)} or dim {_text(dim)} cannot be", before
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


def _windows(db: Database, count: Callable[[str], None]) -> Iterator[Fault]:
    """Every window with its vectors, and the vectors of none."""
    lengths = {
        (content, extractor): n
        for content, extractor, n in db.execute(
            "SELECT content_hash, extractor_id, sum(n) FROM features GROUP BY 1, 2"
        ).fetchall()
    }
    rows = db.execute(
        "SELECT w.id, w.model, w.extractor_id, w.content_hash, w.first, w.n, v.n, v.dim, v.data, "
        "v.spans FROM windows AS w LEFT JOIN vectors AS v ON v.window_id = w.id ORDER BY w.id"
    )
    dims: dict[tuple[Any, Any], Any] = {}
    for number, model, extractor, content, first, n, vectors, dim, data, spans in rows:
        count("windows")
        whole = lengths.get((content, extractor))
        wrong = None
        if not (isinstance(first, int) and isinstance(n, int) and first >= 0 and n >= 1):
            wrong = f"snippets {_text(first)} + {_text(n)} cannot be"
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
        if wrong is not None:
            # All windows of the content, so that the next search misses them and makes them.
            yield Fault(
                *("windows", str(number), wrong, POOL_AGAIN),
                _dropping_whole("windows", "content_hash, extractor_id, model", number),
            )


def _wrong_vectors(n: int, vectors: Any, dim: Any, data: Any, spans: Any) -> str | None:
    if vectors is None:
        return "it has no vectors"
    if not (isinstance(vectors, int) and isinstance(dim, int) and vectors >= 1 and dim >= 1):
        return f"vectors: n {_text(vectors)} or dim {_text(dim)} cannot be"
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


def _encodings(db: Database) -> Iterator[Fault]:
    """Every encoding that is kept of a window; a search does without one that is dropped."""
    if not db.table("encodings").exists():  # an older catalog that cannot be written
        return
    rows = db.execute(
        "SELECT e.window_id, w.n, e.n, e.dim, e.data, e.cells FROM encodings AS e "
        "JOIN windows AS w ON w.id = e.window_id ORDER BY 1"
    )
    for number, snippets, n, dim, data, cells in rows:
        wrong = None
        if n != snippets or not (isinstance(dim, int) and dim >= 1):
            wrong = f"n {_text(n)} or dim {_text(dim)} cannot be"
        elif not isinstance(data, bytes) or len(data) != n * dim * 2:
            wrong = f"data is not {n * dim * 2} bytes"
        elif not isinstance(cells, bytes) or len(cells) != n * 16:
            wrong = f"cells are not {n * 16} bytes"
        elif not (
            np.isfinite(np.frombuffer(data, "<f2")).all()
            and np.isfinite(np.frombuffer(cells, "<f8")).all()
        ):
            wrong = "a value is not finite"
        if wrong is not None:
            drop = ("DELETE FROM encodings WHERE window_id = ?", (number,))
            yield Fault("encodings", f"window {number}", wrong, POOL_AGAIN, drop)


def _failures(db: Database, count: Callable[[str], None]) -> Iterator[Fault]:
    rows = db.execute(
        'SELECT rowid, path, stage, error, remedy, attempts, "when" FROM failures'
    ).fetchall()
    for rowid, path, stage, error, remedy, attempts, when in rows:
        count("failures")
        texts = all(isinstance(value, str) for value in (path, stage, error, when))
        if not texts or not isinstance(remedy, str | None) or not isinstance(attempts, int):
            yield Fault(
                *("failures", _text(path), "it cannot be read"),
                "--repair drops it; `vmrtool index` tries the video again",
                _dropping("failures", rowid),
            )


def _text(value: Any) -> str:
    """A value from the catalog as text, whatever it is, and not too long."""
    shown = display(value) if isinstance(value, bytes) else str(value)
    return os.fsencode(shown).decode("utf-8", "replace")[:200]
