"""A catalog's features as one HDF5 file, for others to read and to do without the catalog.

/ID      float16 (snippets, dim), an array a video at the top of the file, as in common files of
         public features. ID is the file's name without suffix.
         attributes: cells, seen  float64 (snippets, 2), seconds
                     content_hash, duration_s
                     videos       JSON list, the files that have this content
/        attributes: schema       "vmrtool.catalog-features/1"
                     backbone, weights_sha256
                     settings     JSON object
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmrtool.catalog import Catalog
from vmrtool.catalog.paths import display
from vmrtool.catalog.rows import VideoRow
from vmrtool.errors import DataError, UsageError
from vmrtool.files import whole

SCHEMA = "vmrtool.catalog-features/1"
# The oldest format whose attributes may be larger than 64 KB: times of long videos are.
_FORMAT = ("v108", "v108")
NAMES = ("stem", "path")


@dataclass(frozen=True)
class Exported:
    """What was written: the file, how many videos (names), contents and snippets, their width."""

    out: Path
    videos: int
    contents: int
    snippets: int
    dim: int


def export_features(
    catalog: Catalog,
    out: Path,
    *,
    names: str = "stem",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Writes the features of the catalog's extractor to a new HDF5 file, whole or not at all.

    Args:
        catalog: an open catalog.
        out: the file, which must not be there yet.
        names: "stem" calls a video by its file's name without suffix, "path" by its path below
            the indexed folder. Copies of one content have their names for one array.
        progress: is told how many of how many videos are written.

    Raises:
        UsageError: `out` is there already, or `names` is neither.
        DataError: the catalog holds no features, or two different videos have one name.
    """
    import h5py

    if names not in NAMES:
        raise UsageError(f"--names {names}: it can be {' or '.join(NAMES)}")
    if out.exists():
        raise UsageError(f"{out} is there already", remedy="give another file, or remove it")
    extractor = catalog.extractor
    rows = [row for row in catalog.videos() if row.content_hash is not None]
    if extractor is not None:
        rows = [row for row in rows if catalog.has_features(row.content_hash or "", extractor.id)]
    if extractor is None or not rows:
        raise DataError(
            f"{catalog.path}: the catalog holds no features yet",
            remedy=f"fill it first: vmrtool index DIR --catalog {catalog.path}",
        )
    ids = _names(rows, names)
    files: dict[str, list[str]] = {}
    for row in rows:
        files.setdefault(row.content_hash or "", []).append(str(row.path))
    written: dict[str, Any] = {}
    snippets = dim = 0
    with whole(out) as place, h5py.File(place, "w", libver=_FORMAT) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["backbone"] = extractor.backbone
        file.attrs["weights_sha256"] = extractor.weights_sha256
        file.attrs["settings"] = json.dumps(dict(extractor.settings))
        for number, (name, row) in enumerate(ids.items(), start=1):
            content = row.content_hash or ""
            if content in written:
                file[name] = written[content]
            else:
                stored = catalog.features(content, extractor.id)
                assert stored is not None
                array = file.create_dataset(name, data=stored.features)
                array.attrs["cells"], array.attrs["seen"] = stored.cells, stored.seen
                array.attrs["content_hash"] = content
                array.attrs["videos"] = json.dumps(files[content])
                if row.duration_s is not None:
                    array.attrs["duration_s"] = row.duration_s
                written[content] = array
                snippets, dim = snippets + len(stored.features), stored.features.shape[1]
            progress(number, len(ids))
    return Exported(out, len(ids), len(written), snippets, dim)


def _names(rows: list[VideoRow], names: str) -> dict[str, VideoRow]:
    """Name in the file -> a video of that name.

    Raises:
        DataError: two different videos have one name, or one's name is the folder of another.
    """
    found: dict[str, VideoRow] = {}
    for row in rows:
        key = row.path_bytes if names == "path" else os.fsencode(row.path.stem)
        name = display(key)
        other = found.setdefault(name, row)
        if other.content_hash != row.content_hash:
            raise DataError(
                f"two different videos would be called {name!r}: {other.path} and {row.path}",
                remedy="name them by their paths below the indexed folder: --names path"
                if names == "stem"
                else "index the folders into catalogs of their own and export each",
            )
    folders = {name.rsplit("/", k)[0] for name in found for k in range(1, name.count("/") + 1)}
    for name in sorted(folders & found.keys()):
        raise DataError(
            f"{found[name].path} has the name of a folder with other videos",
            remedy="rename the one or the other, or use --names stem",
        )
    return found
