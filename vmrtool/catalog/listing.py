"""What a catalog holds, told whole: as `vmrtool catalog info`, `show` and `failures` print it."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vmrtool.catalog.catalog import Catalog
from vmrtool.catalog.paths import absolute, base64_unless_utf8, display, path_key
from vmrtool.catalog.rows import ExtractorRow, FailureRow, VideoRow
from vmrtool.errors import UsageError


def info(catalog: Catalog) -> dict[str, Any]:
    """The catalog as a whole, as the JSON object `vmrtool.catalog/1`."""
    videos = catalog.videos()
    states = Counter(row.state for row in videos)
    extractor = catalog.extractor
    indexed = [row for row in videos if row.state == "indexed"]
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
                "videos": sum(row.root == root for row in videos),
            }
            for root in catalog.roots()
        ],
        "videos": {state: states[state] for state in ("indexed", "failed", "pending", "missing")},
        "seconds_of_video": sum(row.duration_s or 0.0 for row in indexed),
        "snippets": 0 if extractor is None else catalog.all_snippets(extractor.id),
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
        "video": display(path_key(video.path)),
        "root": display(path_key(video.root)),
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
            remedy="Give the path: " + ", ".join(display(path_key(row.path)) for row in alike[:3]),
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
