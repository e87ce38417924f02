"""What a catalog holds, told whole, as `vmrtool catalog`'s commands print it."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from vmrtool.catalog.catalog import Catalog
from vmrtool.catalog.paths import absolute, base64_unless_utf8, display, path_key
from vmrtool.catalog.rows import ExtractorRow, FailureRow, State, VideoRow
from vmrtool.catalog.upkeep import index_files
from vmrtool.errors import UsageError


def info(catalog: Catalog) -> dict[str, Any]:
    """The catalog as a whole, as the JSON object `vmrtool.catalog/1`."""
    rows = catalog.videos()
    states = Counter(row.state for row in rows)
    extractor = catalog.extractor
    below = Counter(row.root_bytes for row in rows)
    indexed = [row for row in rows if row.state == "indexed"]
    return {
        "schema": "vmrtool.catalog/1",
        "catalog": display(path_key(catalog.path)),
        "schema_version": catalog.schema_version,
        "bytes": catalog.path.stat().st_size,
        "model": catalog.model,
        "extractor": None if extractor is None else _extractor(extractor),
        "roots": [
            {
                "path": display(path_key(root)),
                "videos": below[path_key(root)],
            }
            for root in catalog.roots()
        ],
        "videos": {state: states[state] for state in ("indexed", "failed", "pending", "missing")},
        "seconds_of_video": sum(row.duration_s or 0.0 for row in indexed),
        "snippets": 0 if extractor is None else catalog.all_snippets(extractor.id),
        "indexes": [
            {"path": display(path_key(path)), "bytes": path.stat().st_size}
            for path in index_files(catalog.path)
        ],
    }


def show(catalog: Catalog, video: VideoRow) -> dict[str, Any]:
    """All that is stored of one video, as the JSON object `vmrtool.video/1`."""
    extractor = catalog.extractor
    stored = None
    if extractor is not None and video.content_hash is not None:
        stored = catalog.features(video.content_hash, extractor.id)
    failure = next((row for row in catalog.failures() if row.path == video.path), None)
    told: dict[str, Any] = {
        "schema": "vmrtool.video/1",
        "catalog": display(path_key(catalog.path)),
        "video": display(video.key),
        "root": display(video.root_bytes),
        "path": display(video.path_bytes),
        "state": video.state,
        "size": video.size,
        "mtime_ns": video.mtime_ns,
        "content_hash": video.content_hash,
        **asdict(video.facts),
        "extractor": None if extractor is None else _extractor(extractor),
        "snippets": []
        if stored is None
        else [
            {"seen": seen, "cell": cell}
            for seen, cell in zip(stored.seen.tolist(), stored.cells.tolist(), strict=True)
        ],
        "failure": None if failure is None else _failure(failure),
    }
    encoded = base64_unless_utf8(video.path)
    return told if encoded is None else {**told, "video_b64": encoded}


def failures(catalog: Catalog) -> dict[str, Any]:
    """The standing failures, as the JSON object `vmrtool.failures/1`."""
    rows = []
    for failure in catalog.failures():
        row = {"path": display(path_key(failure.path)), **_failure(failure)}
        encoded = base64_unless_utf8(failure.path)
        rows.append(row if encoded is None else {**row, "path_b64": encoded})
    return {
        "schema": "vmrtool.failures/1",
        "catalog": display(path_key(catalog.path)),
        "failures": rows,
    }


def brief(video: VideoRow) -> dict[str, Any]:
    """A video in a list of many."""
    row = {"video": display(video.key), "state": video.state}
    encoded = base64_unless_utf8(video.path)
    return row if encoded is None else {**row, "video_b64": encoded}


def videos(
    catalog: Catalog,
    glob: str | None = None,
    *,
    state: State | None = None,
    since: float | None = None,
    sort: str = "path",
    reverse: bool = False,
) -> dict[str, Any]:
    """The videos, as the JSON object `vmrtool.list/1`.

    Args:
        catalog: an open one.
        glob: only those whose name or path fits.
        state: only those in it.
        since: only those whose files changed at this time or later, seconds since 1970.
        sort: "path", "size", "length" or "changed"; unknown lengths come first.
        reverse: the other way round.
    """
    rows = catalog.videos(glob, state)
    if since is not None:
        rows = [row for row in rows if row.mtime_ns >= since * 1e9]
    keys: dict[str, Callable[[VideoRow], Any]] = {
        "path": lambda row: row.key,
        "size": lambda row: row.size,
        "length": lambda row: -1.0 if row.duration_s is None else row.duration_s,
        "changed": lambda row: row.mtime_ns,
    }
    rows.sort(key=keys[sort], reverse=reverse)
    return {
        "schema": "vmrtool.list/1",
        "catalog": display(path_key(catalog.path)),
        "videos": [
            {
                **brief(row),
                "size": row.size,
                "mtime_ns": row.mtime_ns,
                "duration_s": row.duration_s,
                "content_hash": row.content_hash,
            }
            for row in rows
        ],
    }


def changed_since(text: str) -> float:
    """Seconds since 1970 that `text` means: a date, a date and time, or how long ago.

    Raises:
        UsageError: it is none of these.
    """
    ago = re.fullmatch(r"(\d+)([smhdw])", text)
    if ago is not None:
        seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[ago[2]]
        return time.time() - int(ago[1]) * seconds
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"'{text}' is no time",
            remedy="Use a date (2026-11-24), a time (2026-11-24T18:00) or an age (12h, 7d, 2w).",
        ) from error


def find_videos(catalog: Catalog, names: Sequence[str]) -> list[VideoRow]:
    """The videos that paths, unique names or globs mean, in the order of their paths.

    Raises:
        UsageError: the catalog has none for one of them, or several of a name that is no glob.
    """
    found: dict[int, VideoRow] = {}
    for name in names:
        fitting = [] if catalog.video(absolute(name)) else catalog.videos(name)
        if not fitting or not set(name) & set("*?["):
            fitting = [find_video(catalog, Path(name))]
        found |= {row.id: row for row in fitting}
    return sorted(found.values(), key=lambda row: row.key)


def find_video(catalog: Catalog, name: Path) -> VideoRow:
    """The video that `name` means: its path, its path below its root, or its name alone.

    Raises:
        UsageError: the catalog has none or several of that name.
    """
    exact = catalog.video(absolute(name))
    if exact is not None:
        return exact
    wanted = str(name)
    alike = [
        row
        for row in catalog.videos()
        if wanted in (row.path.name, row.path.stem, display(row.path_bytes))
    ]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise UsageError(
            f"{name}: {len(alike)} videos of the catalog are called that",
            remedy="Give the path: " + ", ".join(display(row.key) for row in alike[:3]),
        )
    raise UsageError(
        f"{name}: the catalog has no such video",
        remedy="`vmrtool catalog info` names the folders it knows; `vmrtool index` adds videos.",
    )


def _extractor(row: ExtractorRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "backbone": row.backbone,
        "weights_sha256": row.weights_sha256,
        "settings": dict(row.settings),
    }


def _failure(row: FailureRow) -> dict[str, Any]:
    return {
        "stage": row.stage,
        "error": row.error,
        "remedy": row.remedy,
        "attempts": row.attempts,
        "when": row.when,
    }
