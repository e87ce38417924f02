"""When an archive's folder or mount has moved: the same videos under another path."""

from pathlib import Path

from sqlite_utils import Database

from vmrtool.catalog import videos
from vmrtool.catalog.paths import display, from_key, path_key, relative_key
from vmrtool.catalog.rows import Relocation, VideoRow
from vmrtool.errors import UsageError


def relocate(db: Database, old: Path, new: Path) -> Relocation:
    """Moves every video below the folder `old` to the same name below `new`.

    A video that the catalog knows there already, since it was indexed again after the move, keeps
    its newer row, and the older one goes. Call it inside a transaction.

    Raises:
        UsageError: no video lies below `old`.
    """
    before, after = path_key(old), path_key(new)
    moved = found = merged = 0
    for video in videos.select(db):
        rest = relative_key(before, video.key)
        if rest is None:
            continue
        target = from_key(after.rstrip(b"/") + b"/" + rest)
        twin = videos.find(db, target)
        if twin is not None and twin.id != video.id:
            db.table("videos").delete(video.id)
            merged += 1
            continue
        _move(db, video, after, rest)
        moved += 1
        found += target.exists()
    if not moved and not merged:
        known = ", ".join(row[0] for row in db.execute("SELECT path FROM roots").fetchall())
        raise UsageError(
            f"{old}: the catalog has no videos there",
            remedy=f"it has videos below: {known}" if known else None,
        )
    videos.remove_empty_roots(db)
    extractor = db.execute("SELECT value FROM settings WHERE key = 'extractor'").fetchone()
    if extractor is not None:
        videos.refresh_states(db, int(extractor[0]))
    return Relocation(moved=moved, found=found, merged=merged)


def _move(db: Database, video: VideoRow, folder: bytes, rest: bytes) -> None:
    """Gives a video its new path, below a root as deep in `folder` as its old one was."""
    root_id = videos.add_root(db, folder)
    path = from_key(folder.rstrip(b"/") + b"/" + rest)
    db.table("videos").update(
        video.id, {"root_id": root_id, "path_bytes": rest, "path": display(rest)}
    )
    if video.state == "missing" and path.exists():
        # Any other state; which one it is, `refresh_states` knows.
        db.execute("UPDATE videos SET state = 'pending' WHERE id = ?", (video.id,))
    db.execute(
        "UPDATE failures SET path = ? WHERE video_id = ?", (display(path_key(path)), video.id)
    )
