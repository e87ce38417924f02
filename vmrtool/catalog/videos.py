"""The catalog's videos and failures: finding, placing and marking rows.

Functions that write must be called inside a transaction.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

from sqlite_utils import Database

from vmrtool.catalog.paths import display, path_key, relative_key
from vmrtool.catalog.rows import FailureRow, FileFacts, FoundFile, State, VideoRow

FACTS = tuple(FileFacts.__dataclass_fields__)
"""What is known of a video's file, by column."""

COLUMNS = ("path_bytes", "path", "size", "mtime_ns", "content_hash", "state", *FACTS)
"""A video's columns but for its ids."""

_STATES = frozenset(get_args(State))
_SELECT = (
    "SELECT v.id, r.path_bytes, v.path_bytes, v.size, v.mtime_ns, v.content_hash, v.state, "
    + ", ".join(f"v.{name}" for name in FACTS)
    + " FROM videos AS v JOIN roots AS r ON r.id = v.root_id "
)


def _row(values: Sequence[Any]) -> VideoRow:
    video_id, root, relative, size, mtime_ns, content_hash, state, *facts = values
    if not isinstance(root, bytes) or not isinstance(relative, bytes):
        raise ValueError(f"video {video_id} has no folder or no name")
    if not isinstance(size, int) or not isinstance(mtime_ns, int):
        raise ValueError(f"video {video_id} has no size or time")
    if state not in _STATES or not all(map(can_be, FACTS, facts)):
        raise ValueError(f"what is stored of video {video_id} cannot be")
    return VideoRow(
        id=video_id,
        root_bytes=root,
        path_bytes=relative,
        size=size,
        mtime_ns=mtime_ns,
        content_hash=content_hash,
        state=state,
        facts=FileFacts(*facts),
    )


def can_be(name: str, value: Any) -> bool:
    """Whether a fact of a file can have this value: it comes from a file that may be anybody's."""
    if value is None:
        return True
    if name in ("duration_s", "fps"):
        return isinstance(value, (int, float)) and 0 <= value < math.inf
    return isinstance(value, int if name in ("width", "height", "rotation") else str)


def select(db: Database, where: str = "1", parameters: Iterable[Any] = ()) -> list[VideoRow]:
    """The videos for which the SQL condition `where` over `v` holds, ordered by path."""
    rows = db.execute(_SELECT + "WHERE " + where, tuple(parameters)).fetchall()
    return sorted(map(_row, rows), key=lambda row: row.key)


def matches(video: VideoRow, glob: str) -> bool:
    """Whether a glob fits the video's absolute path, its path below its root, or its name."""
    names = (str(video.path), display(video.path_bytes), video.path.name)
    return any(fnmatchcase(name, glob) for name in names)


def find(db: Database, path: Path) -> VideoRow | None:
    """The video whose file is `path`, below whichever root it was found."""
    key = path_key(path)
    for root_id, root in db.execute("SELECT id, path_bytes FROM roots").fetchall():
        relative = relative_key(root, key)
        if relative is not None:
            rows = select(db, "v.root_id = ? AND v.path_bytes = ?", (root_id, relative))
            if rows:
                return rows[0]
    return None


def with_content(db: Database, content_hash: str) -> list[VideoRow]:
    """The videos that have this content."""
    return select(db, "v.content_hash = ?", (content_hash,))


def place(
    db: Database, file: FoundFile, content_hash: str | None, facts: FileFacts, state: State
) -> tuple[int, bool]:
    """Writes the row of a file as found; returns its id, and whether a missing video moved here.

    A file that the catalog knows by its path keeps its row. One that it does not know takes the
    row of a missing video with the same content, which it is by another name, if there is one.
    """
    known = find(db, file.path)
    moved = False
    if known is None and content_hash is not None:
        gone = select(db, "v.content_hash = ? AND v.state = 'missing'", (content_hash,))
        known = gone[0] if gone else None
        moved = known is not None
    values: dict[str, Any] = {
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "content_hash": content_hash,
        "state": state,
        **{name: getattr(facts, name) for name in FACTS},
    }
    if known is None or moved:
        root_id, relative = _home(db, file)
        values |= {"root_id": root_id, "path_bytes": relative, "path": display(relative)}
    if known is not None:
        db.table("videos").update(known.id, values)
        return known.id, moved
    return int(str(db.table("videos").insert(values).last_pk)), False


def _home(db: Database, file: FoundFile) -> tuple[int, bytes]:
    """The root a file belongs to, and its name below it: a known root above it, else its own."""
    key = path_key(file.path)
    roots = db.execute("SELECT id, path_bytes FROM roots").fetchall()
    for root_id, root in sorted(roots, key=lambda row: -len(row[1])):
        relative = relative_key(root, key)
        if relative is not None:
            return root_id, relative
    root = path_key(file.root)
    relative = relative_key(root, key)
    if relative is None:
        raise ValueError(f"{file.path} does not lie below {file.root}")
    return add_root(db, root), relative


def add_root(db: Database, root: bytes) -> int:
    """The id of the root with this key, made where there is none."""
    db.execute(
        "INSERT INTO roots (path_bytes, path) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (root, display(root)),
    )
    row = db.execute("SELECT id FROM roots WHERE path_bytes = ?", (root,)).fetchone()
    return int(row[0])


def now() -> str:
    """The time as failures keep it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def fail(db: Database, video_id: int, extractor_id: int, failure: FailureRow) -> None:
    """Records why a video failed, in place of what was recorded before."""
    db.table("failures").insert(
        {
            "video_id": video_id,
            "extractor_id": extractor_id,
            "path": display(path_key(failure.path)),
            "stage": failure.stage,
            "error": failure.error,
            "remedy": failure.remedy,
            "attempts": failure.attempts,
            "when": failure.when,
        },
        replace=True,
    )


def attempts(db: Database, video_id: int, extractor_id: int) -> int:
    """How often a video has failed under an extractor; 0 where it has not."""
    row = db.execute(
        "SELECT attempts FROM failures WHERE video_id = ? AND extractor_id = ?",
        (video_id, extractor_id),
    ).fetchone()
    return 0 if row is None else int(row[0])


def failures(db: Database, extractor_id: int) -> list[tuple[VideoRow, FailureRow]]:
    """The standing failures under an extractor, of files that were there when last looked for."""
    videos = {row.id: row for row in select(db, "v.state = 'failed'")}
    rows = db.execute(
        'SELECT video_id, stage, error, remedy, attempts, "when" FROM failures '
        "WHERE extractor_id = ?",
        (extractor_id,),
    ).fetchall()
    standing = [
        (videos[video_id], FailureRow(videos[video_id].path, *values))
        for video_id, *values in rows
        if video_id in videos
    ]
    return sorted(standing, key=lambda pair: pair[0].key)


def refresh_states(db: Database, extractor_id: int) -> None:
    """Sets every video's state to what is known under this extractor; missing ones stay missing."""
    db.execute(
        """UPDATE videos SET state = CASE
            WHEN EXISTS (SELECT 1 FROM failures WHERE video_id = videos.id AND extractor_id = :e)
                THEN 'failed'
            WHEN EXISTS (SELECT 1 FROM features WHERE content_hash = videos.content_hash
                AND extractor_id = :e) THEN 'indexed'
            ELSE 'pending' END
        WHERE state != 'missing'""",
        {"e": extractor_id},
    )


def mark_missing(db: Database, video_ids: Iterable[int]) -> None:
    """Marks videos whose files are gone; those that hold no features at all are forgotten."""
    for video_id in video_ids:
        db.execute("UPDATE videos SET state = 'missing' WHERE id = ?", (video_id,))
    db.execute(
        "DELETE FROM videos WHERE state = 'missing' AND NOT EXISTS "
        "(SELECT 1 FROM features WHERE content_hash = videos.content_hash)"
    )


def remove_empty_roots(db: Database) -> None:
    """Removes the roots below which there are no videos."""
    db.execute("DELETE FROM roots WHERE id NOT IN (SELECT root_id FROM videos)")


def collect_garbage(db: Database) -> int:
    """Removes features and windows of contents that no video has any more; returns how many."""
    orphans = [
        row[0]
        for row in db.execute(
            "SELECT content_hash FROM features UNION SELECT content_hash FROM windows "
            "EXCEPT SELECT content_hash FROM videos"
        ).fetchall()
    ]
    for content_hash in orphans:
        for table in ("features", "windows"):
            db.execute(f"DELETE FROM {table} WHERE content_hash = ?", (content_hash,))
    return len(orphans)
