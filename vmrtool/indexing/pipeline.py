"""From files to the catalog: find the videos, settle what is known, extract the rest, commit."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vmrtool.catalog import Catalog
from vmrtool.catalog.paths import absolute, path_key, relative_key
from vmrtool.catalog.rows import FoundFile, VideoRow
from vmrtool.catalog.upkeep import remove
from vmrtool.indexing.claims import Claims
from vmrtool.indexing.discovery import Discovery, discover, excluded
from vmrtool.indexing.hosts import only_host
from vmrtool.indexing.report import Event, IndexReport, Noted
from vmrtool.indexing.run import Run
from vmrtool.indexing.shards import Shard
from vmrtool.indexing.source import ExtractorSource


def index(
    roots: Sequence[Path | str],
    catalog_path: Path,
    find_extractor: Callable[[], ExtractorSource],
    *,
    exclude: Sequence[str] = (),
    shard: Shard | None = None,
    retry_failed: bool = False,
    prune: bool = False,
    workers: int = 1,
    timeout_s: float | None = None,
    force: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
) -> IndexReport:
    """Bring a catalog up to date with folders and files.

    Each video is committed by itself, whole: a run that is interrupted, in whatever way, leaves
    what it finished, and the next one goes on from there. Several runs may work on one catalog.

    Args:
        roots: folders, searched recursively, and files, of this machine or of stores.
        catalog_path: made where there is none.
        find_extractor: asked once there are videos.
        exclude: globs of what to leave out.
        shard: only this part of the videos.
        retry_failed: try again what failed before; else it stays failed until its file changes.
        prune: take the videos out of the catalog that are gone from these folders, but for those
            below a root where not one video is left: its disk may not be mounted.
        workers: videos decoded at the same time.
        timeout_s: seconds that opening a video may take; None for a usual value. The extractor has
            its own.
        force: write to a catalog on a network disk that another host has left as its own.
        on_event: told what happens, from any thread.

    Raises:
        UsageError: no such folder or file.
        StoreError: a store cannot be read; what was done is kept, nothing is marked missing.
        CatalogError: the catalog cannot be used, or the disk is full.
    """
    started = time.monotonic()
    places = [absolute(root) for root in roots]
    found = discover(places, exclude)
    for note in found.notes:
        on_event(Noted(note))
    for folder in found.unreadable:
        on_event(Noted(f"{folder}: this folder cannot be read; what lies in it is left as it is"))
    # Before the catalog is opened: where there is nothing to work with, no empty one is left.
    source = find_extractor() if found.videos else None
    with (
        Catalog.create_or_open(catalog_path) as catalog,
        only_host(catalog, force=force),
        Claims(catalog_path) as claims,
    ):
        known = [row for row in catalog.videos() if _in_scope(row, places, exclude, found)]
        videos, gone = _seen(found, known, places)
        catalog.mark_missing(gone)
        if shard is not None:
            videos = shard.select(videos)
        run = None
        if videos:
            source = source or find_extractor()
            run = Run(
                *(catalog, claims, source),
                workers=workers,
                on_event=on_event,
                timeout_s=timeout_s,
            )
            run.work(videos, retry_failed=retry_failed)
            catalog.collect_garbage()
        in_scope = {row.id for row in known}
        missing = [row for row in catalog.videos(state="missing") if row.id in in_scope]
        removed = 0
        if prune:
            gone, missing = _gone(catalog, missing, places, on_event)
            removed = len(gone)
            remove(catalog, gone)
        pending = catalog.videos(state="pending")
        if pending:
            folders = ", ".join(sorted({str(row.root) for row in pending}))
            on_event(
                Noted(
                    f"{len(pending)} more videos of the catalog have features of other settings "
                    f"only, and are not searched with these; they lie in {folders}"
                )
            )
    return IndexReport(
        catalog=catalog_path,
        indexed=run.count["indexed"] if run else 0,
        unchanged=run.count["unchanged"] if run else 0,
        renamed=run.count["renamed"] if run else 0,
        copies=run.count["copies"] if run else 0,
        missing=len(missing),
        failed=tuple(sorted(run.failed, key=lambda row: path_key(row.path))) if run else (),
        seconds_of_video=run.seconds if run else 0.0,
        elapsed_s=time.monotonic() - started,
        removed=removed,
    )


def _in_scope(
    row: VideoRow, roots: Sequence[Path], exclude: Sequence[str], found: Discovery
) -> bool:
    """Whether this run answers for a video of the catalog: it lies where the run looked."""
    if any(folder in row.path.parents for folder in found.unreadable):
        return False
    return any(
        row.path == root or (_below(root, row.path) and not excluded(row.path, root, exclude))
        for root in roots
    )


def _seen(
    found: Discovery, known: Sequence[VideoRow], roots: Sequence[Path]
) -> tuple[list[FoundFile], list[VideoRow]]:
    """The videos of this run, and those of the catalog whose files are gone.

    What the catalog knows and is still there counts as seen, also where a walk would pass by it:
    a hidden file that was once named by itself, say.
    """
    videos = {file.path: file for file in found.videos}
    gone = []
    for row in known:
        if row.path in videos:
            continue
        root = next(root for root in roots if row.path == root or _below(root, row.path))
        file = found.find(row.path, root if root != row.path else root.parent)
        if file is not None:
            videos[row.path] = file
        elif row.state != "missing":
            gone.append(row)
    return sorted(videos.values(), key=lambda file: path_key(file.path)), gone


def _gone(
    catalog: Catalog,
    missing: Sequence[VideoRow],
    roots: Sequence[Path],
    on_event: Callable[[Event], None],
) -> tuple[list[VideoRow], list[VideoRow]]:
    """Parts missing videos into those gone from roots with others, and those of empty roots."""
    there = [row.path for row in catalog.videos() if row.state != "missing"]
    gone: list[VideoRow] = []
    spared: list[VideoRow] = []
    for row in missing:
        root = next(root for root in roots if row.path == root or _below(root, row.path))
        (gone if any(_below(root, path) for path in there) else spared).append(row)
    if spared:
        on_event(
            Noted(
                f"{len(spared)} missing videos are kept: nothing is left where they lay, so that a "
                "disk may not be mounted; `vmrtool catalog remove --missing` drops them all the "
                "same"
            )
        )
    return gone, spared


def _below(root: Path, path: Path) -> bool:
    return relative_key(path_key(root), path_key(path)) is not None
