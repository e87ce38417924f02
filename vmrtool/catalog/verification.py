"""Looking over a whole catalog: is every row what it must be, and dropping those that are not.

A catalog may come from somebody else or from a failing disk, so nothing is taken for granted here:
every row is read as SQLite gives it, whatever is in it.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from sqlite_utils import Database

from vmrtool.catalog import videos
from vmrtool.catalog.blobs import wrong_encodings, wrong_features, wrong_windows
from vmrtool.catalog.catalog import Catalog
from vmrtool.catalog.faults import FROM_COPY, INDEX_AGAIN, POOL_AGAIN, Fault, dropping, text
from vmrtool.catalog.paths import display, from_key, join_key
from vmrtool.catalog.rows import State

_BATCH = 200  # most faults SQLite's own checks tell one by one
_NO_PATH = "no absolute path"


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
            faults += wrong_features(db, count)
            faults += wrong_windows(db, count)
            faults += wrong_encodings(db)
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
                dropping(table, rowid),
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
                *("settings", text(key), "its value cannot be read"),
                "--repair drops it; `vmrtool index` with its options sets it again",
                dropping("settings", rowid),
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
                dropping("extractors", number),
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
        right = isinstance(key, bytes) and _absolute(key)
        if not right or path != display(key):
            yield Fault(
                *("roots", str(number), "path and path_bytes differ" if right else _NO_PATH),
                "--repair drops it and its videos; `vmrtool index` finds them again",
                ("DELETE FROM videos WHERE root_id = ?", (number,)),
            )
    columns = ", ".join(videos.COLUMNS)
    rows = db.execute(f"SELECT id, root_id, {columns} FROM videos ORDER BY id")
    for video, root_id, *values in rows.fetchall():
        count("videos")
        key, path = values[0], values[1]
        root = roots.get(root_id)
        name = text(path)
        if isinstance(root, bytes) and isinstance(key, bytes):
            name = display(join_key(root, key))
        wrong = _wrong_video(dict(zip(videos.COLUMNS, values, strict=True)))
        if wrong is not None:
            yield Fault("videos", name, wrong, INDEX_AGAIN, dropping("videos", video))
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
        return f"state {text(row['state'])} is not known"
    if not isinstance(row["size"], int) or not isinstance(row["mtime_ns"], int):
        return "size or mtime_ns is not a whole number"
    if content is not None and not isinstance(content, str):
        return "content_hash is not text"
    for name in videos.FACTS:
        if not videos.can_be(name, row[name]):
            return f"{name} is {text(row[name])}"
    return None if row["path"] == display(key) else "path and path_bytes differ"


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
            dropping("videos", video),
        )


def _absolute(key: bytes) -> bool:
    return b"\0" not in key and from_key(key).is_absolute()


def _leads_out(key: bytes) -> bool:
    return key.startswith(b"/") or b".." in key.split(b"/")


def _failures(db: Database, count: Callable[[str], None]) -> Iterator[Fault]:
    rows = db.execute(
        'SELECT rowid, path, stage, error, remedy, attempts, "when" FROM failures'
    ).fetchall()
    for rowid, path, stage, error, remedy, attempts, when in rows:
        count("failures")
        texts = all(isinstance(value, str) for value in (path, stage, error, when))
        if not texts or not isinstance(remedy, str | None) or not isinstance(attempts, int):
            yield Fault(
                *("failures", text(path), "it cannot be read"),
                "--repair drops it; `vmrtool index` tries the video again",
                dropping("failures", rowid),
            )
