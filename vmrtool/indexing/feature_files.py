"""Features as files, one a video: npy with a JSON file beside it, or HDF5.

A file says which content and which extractor it is of, so that a later run knows what need not be
done again: not by its name, which says nothing of either.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import h5py
import numpy as np

from vmrtool.catalog.paths import base64_unless_utf8, display, path_key
from vmrtool.catalog.rows import FoundFile
from vmrtool.errors import UsageError
from vmrtool.files import whole
from vmrtool.indexing.source import Extracted, ExtractorSource

SCHEMA = "vmrtool.features/1"
Format = Literal["npy", "hdf5"]
SUFFIXES: dict[str, str] = {"npy": ".npy", "hdf5": ".h5"}
_ABOUT = "vmrtool"
_MARK = str(os.getpid())  # several runs may be at one folder


class FeatureFiles(Protocol):
    """A way to keep one video's features and what they are of."""

    def read(self, path: Path) -> dict[str, Any] | None:
        """What the features at `path` are of; None where there are none, or they are not whole."""

    def write(self, path: Path, about: Mapping[str, Any], extracted: Extracted) -> None:
        """Writes features whole or not at all."""

    def discard(self, path: Path) -> None:
        """Removes what there is at `path`."""


class NpyFiles:
    """NAME.npy, float16 (N, dim), and NAME.json, which is there only when the other is whole."""

    def read(self, path: Path) -> dict[str, Any] | None:
        """What the features are of; None where there are none, or they are not whole."""
        try:
            about = json.loads(path.with_suffix(".json").read_bytes())
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        except (OSError, ValueError):
            return None
        fits = isinstance(about, dict) and shape == (about.get("snippets"), about.get("dim"))
        return about if fits else None

    def write(self, path: Path, about: Mapping[str, Any], extracted: Extracted) -> None:
        """Writes both files, the second last."""
        beside = path.with_suffix(".json")
        beside.unlink(missing_ok=True)
        spans = {"seen": extracted.seen.tolist(), "cells": extracted.cells.tolist()}
        with whole(path, mark=_MARK) as place, place.open("wb") as file:
            np.save(file, extracted.features, allow_pickle=False)
        with whole(beside, mark=_MARK) as place:
            place.write_text(json.dumps({**about, **spans}) + "\n", encoding="utf-8")

    def discard(self, path: Path) -> None:
        """Removes both files."""
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


class HDF5Files:
    """NAME.h5 with `features`, `seen`, `cells`, and the rest as JSON in the attribute vmrtool."""

    def read(self, path: Path) -> dict[str, Any] | None:
        """What the features are of; None where there are none, or they are not whole."""
        try:
            with h5py.File(path) as file:
                about = json.loads(file.attrs[_ABOUT])
        except (OSError, KeyError, ValueError, TypeError):
            return None
        return about if isinstance(about, dict) else None

    def write(self, path: Path, about: Mapping[str, Any], extracted: Extracted) -> None:
        """Writes the file."""
        with whole(path, mark=_MARK) as place, h5py.File(place, "w") as file:
            file["features"] = extracted.features
            file["seen"] = extracted.seen
            file["cells"] = extracted.cells
            file.attrs[_ABOUT] = json.dumps(about)

    def discard(self, path: Path) -> None:
        """Removes the file."""
        path.unlink(missing_ok=True)


def files_of(file_format: str) -> FeatureFiles:
    """The way to keep features that a format's name says.

    Raises:
        UsageError: there is no such format.
    """
    if file_format == "npy":
        return NpyFiles()
    if file_format == "hdf5":
        return HDF5Files()
    raise UsageError(f"format '{file_format}' is not known", remedy=f"Use {' or '.join(SUFFIXES)}.")


def about(
    file: FoundFile, content: str, source: ExtractorSource, extracted: Extracted
) -> dict[str, Any]:
    """What features are of: the video, its content, the extractor; and their number and times."""
    encoded = base64_unless_utf8(file.path)
    return {
        "schema": SCHEMA,
        "video": display(path_key(file.path)),
        **({} if encoded is None else {"video_b64": encoded}),
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "content_hash": content,
        "extractor": extractor_of(source),
        "snippets": len(extracted.features),
        "dim": int(extracted.features.shape[1]),
        "duration_s": extracted.duration_s,
        "truncated": extracted.truncated,
    }


def extractor_of(source: ExtractorSource) -> dict[str, Any]:
    """What identifies an extractor, as JSON values."""
    return {
        "backbone": source.backbone,
        "weights_sha256": source.weights_sha256,
        "settings": dict(source.settings),
    }


@dataclass(frozen=True)
class Target:
    """A video, and where its features go."""

    file: FoundFile
    path: Path


def targets(videos: Sequence[FoundFile], out: Path, file_format: str) -> list[Target]:
    """Where the features of each video go: below `out` as the video lies below its folder.

    The file is named after the video without its suffix; with it where two would be the same.

    Raises:
        UsageError: two videos still have one name; they lie in different folders named alike.
    """
    suffix = SUFFIXES[file_format]

    def below(file: FoundFile, name: Callable[[Path], str]) -> Path:
        relative = file.path.relative_to(file.root)
        return out / relative.with_name(name(relative) + suffix)

    short = [below(file, lambda path: path.stem) for file in videos]
    count = Counter(short)
    paths = [
        path if count[path] == 1 else below(file, lambda path: path.name)
        for path, file in zip(short, videos, strict=True)
    ]
    taken: dict[Path, FoundFile] = {}
    for path, file in zip(paths, videos, strict=True):
        other = taken.setdefault(path, file)
        if other is not file:
            raise UsageError(
                f"the features of {other.path} and {file.path} would go to one file, {path}",
                remedy="Name a folder that holds both, or use another --out for one of them.",
            )
    return [Target(file, path) for path, file in zip(paths, videos, strict=True)]
