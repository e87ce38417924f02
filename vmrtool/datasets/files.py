"""Features that others extracted: one HDF5 file, or a folder with a file a video.

HDF5: `/VIDEO` (snippets, dim), or `/VIDEO/c3d_features` as in ActivityNet's public file.
Folder, with folders inside it or not: VIDEO.npy, VIDEO.npz (one array), VIDEO.pt (a tensor; pickled
objects are refused) or VIDEO.h5 or .hdf5 (an array `features`, and `cells` where its times are
known).

Times: an array's attribute `cells`, (snippets, 2) seconds, says what each snippet stands for. Else,
where the array's, its group's or the file's attribute `snippet_seconds` says how far snippets are
apart, snippet k stands for that many seconds from k times as many. Otherwise the snippets divide
the video's length evenly. What `vmrtool extract` wrote brings its times along, an npy file in the
JSON file beside it.

A file that `vmrtool catalog export-features` wrote is read as its catalog is: with the same times,
the same extractor, and videos found by their files' paths too.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.export import SCHEMA as EXPORTED
from vmrtool.datasets.labels import even_cells
from vmrtool.datasets.samples import Sample
from vmrtool.datasets.stores import CatalogStore, FeatureStore, StoredVideo
from vmrtool.errors import DataError
from vmrtool.hdf5 import item_of

_HDF5 = (".h5", ".hdf5")
_SUFFIXES = (".npy", ".npz", ".pt", *_HDF5)
_INNER = "c3d_features"
_EXTRACTED = "vmrtool.features/1"


def open_store(path: Path) -> FeatureStore:
    """A catalog, an HDF5 file or a folder of features, told by what it is.

    Raises:
        DataError: there is no such thing, or it is none of them.
        CatalogError: it looks like a catalog but cannot be used.
    """
    if path.is_dir():
        return FolderStore(path)
    if not path.is_file():
        raise DataError(
            f"no such features: {path}", remedy="give a catalog, an HDF5 file or a folder"
        )
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return HDF5Store(path)
    if head.startswith(b"SQLite format 3"):
        return CatalogStore(path)
    raise DataError(
        f"{path}: neither a catalog nor an HDF5 file",
        remedy="give a catalog, an HDF5 file, or a folder of npy, npz, pt or h5 files",
    )


class HDF5Store:
    """One HDF5 file with an array a video."""

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            DataError: it is damaged or cut off.
        """
        self.source = str(path)
        self.extractor: dict[str, Any] | None = None
        self._by_path: dict[Path, str] = {}
        try:
            self._file = h5py.File(path, "r")
            if self._file.attrs.get("schema") == EXPORTED:
                self._read_description()
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise DataError(
                f"{path}: cannot be read as HDF5 ({error})", remedy="get the file again"
            ) from error

    def _read_description(self) -> None:
        """What an exported file says of its features, and of the files they are of."""
        about = self._file.attrs
        self.extractor = {
            "backbone": str(about["backbone"]),
            "weights_sha256": str(about["weights_sha256"]),
            "settings": json.loads(about["settings"]),
        }

        def note(name: str, item: Any) -> None:
            for file in json.loads(item.attrs.get("videos", "[]")):
                self._by_path[Path(file)] = name

        self._file.visititems(note)

    def get(self, sample: Sample) -> StoredVideo | None:
        """The features of the sample's video, or None where the file has none."""
        name = sample.vid
        if sample.video is not None and sample.video in self._by_path:
            name = self._by_path[sample.video]
        try:
            array = holder = item_of(self._file, name)
            if isinstance(array, h5py.Group):
                array = item_of(array, _INNER)
            if array is None:
                return None
            cells = array.attrs.get("cells")
            places = (array, holder, self._file)
            told = (place.attrs.get("snippet_seconds") for place in places)
            seconds = next((float(value) for value in told if value is not None), None)
            files = [Path(file) for file in json.loads(array.attrs.get("videos", "[]"))]
            values = array[()]
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{self.source}: features of {sample.vid!r} cannot be read ({error})",
                remedy="get the file again",
            ) from error
        stored = _stored(values, sample, self.source, seconds, cells)
        if stored is None or not files:
            return stored
        return replace(stored, file=sample.video if sample.video in files else files[0])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class FolderStore:
    """A folder with one file a video, named after it."""

    extractor: dict[str, Any] | None = None

    def __init__(self, path: Path) -> None:
        """Lists the folder.

        Raises:
            DataError: there is no feature file in it.
        """
        self.source = str(path)
        self._files: dict[str, list[Path]] = {}
        for file in sorted(path.rglob("*")):
            if file.suffix in _SUFFIXES:
                self._files.setdefault(file.stem, []).append(file)
        if not self._files:
            raise DataError(
                f"{path}: no npy, npz, pt or h5 file in it",
                remedy="a folder of features has one such file a video, named by the video's id",
            )

    def get(self, sample: Sample) -> StoredVideo | None:
        """The features of the sample's video, or None where there is no file of its name.

        Raises:
            DataError: there are several, or the file is not what it should be.
        """
        paths = self._files.get(sample.vid, [])
        if not paths:
            return None
        if len(paths) > 1:
            raise DataError(
                f"{self.source}: features of {sample.vid!r} are in {paths[0]} and {paths[1]}",
                remedy="keep one of them",
            )
        path = paths[0]
        try:
            values, cells = _read(path)
        except DataError:
            raise
        except Exception as error:  # zipfile, pickle, numpy and torch each have errors of their own
            raise DataError(
                f"{path}: cannot be read ({error})", remedy="a plain array or tensor is expected"
            ) from error
        return _stored(values, sample, str(path), cells=cells)

    def close(self) -> None:
        """Nothing is held open."""


def _cells_beside(path: Path, snippets: int) -> NDArray[np.float64] | None:
    """The cells that `vmrtool extract` wrote beside a file of features; None where it did not."""
    try:
        about = json.loads(path.with_suffix(".json").read_bytes())
        if not isinstance(about, dict) or about.get("schema") != _EXTRACTED:
            return None
        cells = np.array(about["cells"], np.float64)
    except (OSError, ValueError, KeyError):
        return None
    return cells if cells.shape == (snippets, 2) else None


def _read(path: Path) -> tuple[NDArray[Any], Any]:
    """The one array of a feature file, and its cells where the file says them, else None."""
    if path.suffix in _HDF5:
        with h5py.File(path, "r") as file:
            array, cells = item_of(file, "features"), item_of(file, "cells")
            if not isinstance(array, h5py.Dataset):
                raise DataError(
                    f"{path}: has no array `features`",
                    remedy="a file with many videos in it is given by its own name, not its folder",
                )
            return array[()], None if cells is None else cells[()]
    if path.suffix == ".pt":
        import torch

        tensor = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(tensor, torch.Tensor):
            raise DataError(f"{path}: holds a {type(tensor).__name__}, not a tensor")
        return tensor.float().numpy(), None
    loaded = np.load(path, allow_pickle=False)
    if path.suffix == ".npy":
        return np.asarray(loaded), _cells_beside(path, len(loaded))
    with loaded:
        if len(loaded.files) != 1:
            raise DataError(f"{path}: holds {len(loaded.files)} arrays, not one")
        return np.asarray(loaded[loaded.files[0]]), None


def _stored(
    values: NDArray[Any],
    sample: Sample,
    source: str,
    seconds: float | None = None,
    cells: Any = None,
) -> StoredVideo | None:
    """The array with its snippets' cells; None for an array without snippets."""
    values = np.asarray(values)
    # (N, D, 1, 1) and (1, N, D) are common ways to store the same.
    while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
        values = values[..., 0] if values.shape[-1] == 1 else values[0]
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        raise DataError(
            f"{source}: features of {sample.vid!r} are {values.dtype} {values.shape}, "
            "not numbers (snippets, dim)",
            remedy="store an array (snippets, dim) a video",
        )
    if len(values) == 0:
        return None
    if cells is None:
        cells = cells_of(len(values), sample.duration, seconds)
    elif np.shape(cells) != (len(values), 2) or not np.isfinite(cells).all():
        raise DataError(
            f"{source}: cells of {sample.vid!r} are not {len(values)} pairs of seconds, one a row",
            remedy="write them again, or leave the attribute out",
        )
    with np.errstate(over="ignore"):
        features = values[: len(cells)].astype(np.float16)
    if np.isinf(features).any() and np.isfinite(values).all():
        raise DataError(
            f"{source}: features of {sample.vid!r} reach {np.abs(values).max():.3g}; "
            f"they are kept as float16, up to {np.finfo(np.float16).max:.0f}",
            remedy="divide them by a constant",
        )
    return StoredVideo(features, np.asarray(cells, dtype=np.float64))


def cells_of(n_snippets: int, duration: float, seconds: float | None) -> NDArray[np.float64]:
    """The cells of snippets `seconds` apart in a video of `duration`; evenly divided where None.

    The last cell reaches the video's end. Snippets that start past it stand for nothing and get
    no cell, so fewer than `n_snippets` rows may come back, but never none.
    """
    if seconds is None or seconds <= 0:
        return even_cells(n_snippets, duration)
    starts = np.arange(n_snippets) * seconds
    starts = starts[: max(1, int((starts < duration).sum()))]
    ends = np.append(starts[1:], duration)
    return np.stack([starts, ends], axis=1)
