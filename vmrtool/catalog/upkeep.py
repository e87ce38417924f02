"""Keeping a catalog tidy: taking videos out of it, and giving space back to the disk."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmrtool.catalog import connection, videos
from vmrtool.catalog.catalog import Catalog
from vmrtool.catalog.migration import backups
from vmrtool.catalog.rows import VideoRow

INDEX_MARK = "-index-"
"""Follows a catalog's name in the names of the vector indexes that searches keep beside it."""


@dataclass(frozen=True)
class Vacuumed:
    """Bytes of a catalog's file before and after, and what was removed beside it.

    `backups` are older copies, `indexes` vector indexes, which the next search makes again.
    """

    before: int
    after: int
    backups: tuple[Path, ...]
    indexes: tuple[Path, ...]


def remove(catalog: Catalog, rows: Sequence[VideoRow]) -> int:
    """Drops videos from the catalog, and what was made of contents that no other video has.

    The files themselves are left alone.

    Returns:
        Of how many contents the features went.
    """
    with catalog.transaction() as db:
        for row in rows:
            db.execute("DELETE FROM videos WHERE id = ?", (row.id,))
        videos.remove_empty_roots(db)
        return videos.collect_garbage(db)


def orphaned(catalog: Catalog, rows: Sequence[VideoRow]) -> int:
    """Of how many contents the features would go if these videos were removed."""
    going: Collection[int] = {row.id for row in rows}
    return sum(
        all(other.id in going for other in catalog.videos_with(content))
        and any(catalog.has_features(content, extractor.id) for extractor in catalog.extractors())
        for content in {row.content_hash for row in rows if row.content_hash is not None}
    )


def vacuum(catalog: Catalog) -> Vacuumed:
    """Writes the catalog's file anew, without the space that removed rows have left.

    The copies that migrations have left beside it go, and so do the vector indexes of searches.

    Raises:
        CatalogError: another program is at it, or the disk has no room for a second copy.
    """
    with catalog.reading() as db:
        connection.checkpoint(db)
        old = tuple(backups(catalog.path))
        before = catalog.path.stat().st_size
        db.execute("VACUUM")
        connection.checkpoint(db)
    indexes = tuple(index_files(catalog.path))
    for path in (*old, *indexes):
        path.unlink(missing_ok=True)
    return Vacuumed(before, catalog.path.stat().st_size, old, indexes)


def index_files(catalog: Path) -> list[Path]:
    """The vector indexes that searches have left beside a catalog."""
    beside = catalog.absolute().parent.iterdir()
    return sorted(path for path in beside if path.name.startswith(catalog.name + INDEX_MARK))
