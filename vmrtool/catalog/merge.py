"""Several catalogs of one extractor joined into a new one: the parts of an archive made whole."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from vmrtool.catalog import connection, snippets, videos
from vmrtool.catalog.catalog import Catalog
from vmrtool.catalog.rows import ExtractorRow, VideoRow
from vmrtool.errors import CatalogError, UsageError
from vmrtool.files import whole

Progress = Callable[[int, int], None]
"""Is told how many of how many contents have been looked at."""

_OWN = ("catalog", "extractor")  # settings that a catalog does not take over from another
_AT_ONCE = 64  # contents a transaction: each is an fsync, and a log that grows with it
_KNOWN_BEST = ("missing", "pending", "failed", "indexed")


@dataclass(frozen=True)
class Merged:
    """What `merge_catalogs` made.

    `videos` and `contents` are in the new catalog; `duplicates` are contents that a further part
    held as well, which are kept once.
    """

    catalog: Path
    parts: tuple[Path, ...]
    videos: int
    contents: int
    duplicates: int


def merge_catalogs(
    parts: Sequence[Path], out: Path, progress: Progress = lambda done, total: None
) -> Merged:
    """Join catalogs into a new one, made whole or not at all; the parts are only read.

    Videos, folders, failures, features, windows and vectors of all parts are in it. A content that
    several parts hold comes from the first of them. A file that several know is as the part knows
    it that saw its latest change; of equal ones, the one that got furthest with it, then the
    first. What the catalogs remember, the model among it, is each from the first part that does.

    Args:
        parts: catalogs whose extractor in use is one and the same.
        out: the new catalog's file.
        progress: told of the contents copied.

    Raises:
        UsageError: there is a file at `out` already, or a part is named twice.
        CatalogError: a part is no catalog, or two of them have different extractors.
    """
    if out.exists():
        raise UsageError(
            f"{out}: there is a file of this name already",
            remedy="Merge into a new file, then move it there.",
        )
    if len({part.resolve() for part in parts}) < len(parts):
        raise UsageError("a catalog is named twice", remedy="Name each part once.")
    total = _check(parts)
    done = duplicates = 0
    with whole(out, mark=str(os.getpid())) as place, Catalog.create_or_open(place) as catalog:
        for path in parts:
            with _reading(path) as part:
                extractors = _join_extractors(part, catalog)
                _join_videos(part, catalog, extractors)
                for contents in _some(part):
                    with catalog.transaction() as db:
                        for content, extractor in contents:
                            new = _copy_content(part, db, content, extractor, extractors)
                            duplicates += not new
                            done += 1
                    progress(done, total)
                _take_settings(part, catalog, extractors)
        catalog.collect_garbage()
        if (in_use := catalog.extractor) is not None:
            catalog.use_extractor(in_use.id)
        count = len(catalog.videos())
    return Merged(out, tuple(parts), count, total - duplicates, duplicates)


@contextmanager
def _reading(path: Path) -> Iterator[Database]:
    """One state of a catalog, whoever writes to it meanwhile."""
    db, _ = connection.connect(path, create=False, readonly=True)
    with closing(db.conn), connection.explained(path):
        if not connection.check_version(db, path):
            raise CatalogError(
                f"{path}: written by an older vmrtool",
                remedy=f"Bring it up to date first: vmrtool catalog info --catalog {path}",
            )
        db.execute("BEGIN")
        yield db


def _check(parts: Sequence[Path]) -> int:
    """The number of contents in all parts.

    Raises:
        CatalogError: two of them have different extractors in use.
    """
    first: tuple[Path, ExtractorRow] | None = None
    total = 0
    for path in parts:
        with _reading(path) as part:
            row = Catalog(path, part, writable=False).extractor
            total += part.execute(
                "SELECT count(*) FROM (SELECT DISTINCT content_hash, extractor_id FROM features)"
            ).fetchone()[0]
        if row is None:  # a part of the archive in which there was no video
            continue
        if first is None:
            first = path, row
        elif differences := _differences(first[1], row):
            raise CatalogError(
                f"{first[0]} and {path} hold features of different extractors: "
                + "; ".join(differences),
                remedy="Features of different extractors cannot be searched together: index one "
                "of the two again as the other was.",
            )
    return total


def _differences(one: ExtractorRow, other: ExtractorRow) -> list[str]:
    def told(row: ExtractorRow) -> dict[str, Any]:
        return {"backbone": row.backbone, "weights": row.weights_sha256[:12], **row.settings}

    a, b = told(one), told(other)
    if (one.backbone, one.weights_sha256, dict(one.settings)) == (
        other.backbone,
        other.weights_sha256,
        dict(other.settings),
    ):
        return []
    return [f"{k} {a.get(k)} and {b.get(k)}" for k in {**a, **b} if a.get(k) != b.get(k)]


def _join_extractors(part: Database, catalog: Catalog) -> dict[int, int]:
    """The new catalog's ids of a part's extractors."""
    rows = part.execute("SELECT id, backbone, weights_sha256, settings FROM extractors").fetchall()
    return {
        number: catalog.extractor_id(backbone, weights, json.loads(settings))
        for number, backbone, weights, settings in rows
    }


def _take_settings(part: Database, catalog: Catalog, extractors: dict[int, int]) -> None:
    """Takes over what a part remembers, where no part before it did."""
    rows = part.execute("SELECT key, value FROM settings").fetchall()
    settings = {key: json.loads(value) for key, value in rows}
    new = {k: v for k, v in settings.items() if k not in _OWN and catalog.setting(k) is None}
    catalog.remember(**new)
    if "extractor" in settings and catalog.extractor is None:
        catalog.use_extractor(extractors[settings["extractor"]])


def _join_videos(part: Database, catalog: Catalog, extractors: dict[int, int]) -> None:
    with catalog.transaction() as db:
        for (root,) in part.execute("SELECT path_bytes FROM roots").fetchall():
            videos.add_root(db, root)
        for row in videos.select(part):
            known = videos.find(db, row.path)
            if known is None or _preference(row) > _preference(known):
                _take_video(part, db, row, known, extractors)


def _preference(row: VideoRow) -> tuple[int, int]:
    return row.mtime_ns, _KNOWN_BEST.index(row.state)


def _take_video(
    part: Database,
    db: Database,
    row: VideoRow,
    known: VideoRow | None,
    extractors: dict[int, int],
) -> None:
    """Copies a video's row and its failures, in place of what was known of it."""
    values = next(iter(part.table("videos").rows_where("id = ?", (row.id,))))
    del values["id"]
    values["root_id"] = videos.add_root(db, row.root_bytes)
    if known is not None:
        db.table("videos").delete(known.id)  # and with it its failures
    number = db.table("videos").insert(values).last_pk
    for failure in part.table("failures").rows_where("video_id = ?", (row.id,)):
        extractor = extractors[failure["extractor_id"]]
        db.table("failures").insert({**failure, "video_id": number, "extractor_id": extractor})


def _some(part: Database) -> Iterator[list[tuple[str, int]]]:
    """A part's contents with the ids of their extractors, some at a time."""
    contents = part.execute(
        "SELECT DISTINCT content_hash, extractor_id FROM features ORDER BY 1, 2"
    )
    while some := contents.fetchmany(_AT_ONCE):
        yield some


def _copy_content(
    part: Database, db: Database, content: str, extractor: int, extractors: dict[int, int]
) -> bool:
    """Copies features, windows and vectors of a content; False where it is here already."""
    wanted, target = (content, extractor), extractors[extractor]
    if snippets.stored(db, content, target):
        return False
    where = "content_hash = ? AND extractor_id = ?"
    for chunk in part.table("features").rows_where(where, wanted, order_by="chunk"):
        db.table("features").insert({**chunk, "extractor_id": target})
    for window in part.table("windows").rows_where(where, wanted, order_by="id"):
        before = window.pop("id")
        number = db.table("windows").insert({**window, "extractor_id": target}).last_pk
        for table in ("vectors", "encodings"):
            for row in part.table(table).rows_where("window_id = ?", (before,)):
                db.table(table).insert({**row, "window_id": number})
    return True
