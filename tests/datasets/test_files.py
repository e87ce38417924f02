import json
import pickle
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from vmrtool.datasets.dataset import join
from vmrtool.datasets.files import cells_of, open_store
from vmrtool.datasets.named import read_named
from vmrtool.datasets.samples import Sample
from vmrtool.datasets.stores import StoredVideo
from vmrtool.errors import DataError


def get(path: Path, vid: str = "a", duration: float = 10.0) -> StoredVideo | None:
    with closing(open_store(path)) as store:
        return store.get(Sample(0, vid, "q", ((0.0, 1.0),), duration))


def test_real_clip_features(real_data: Path) -> None:
    folder = real_data / "charades-sta"
    with closing(open_store(folder / "clip_vitb32_1fps_test.h5")) as store:
        dataset = join(read_named("charades", folder, "test"), store, strict=True, resample=128)
    assert (len(dataset), len(dataset.videos), dataset.dim) == (3720, 1334, 512)
    for index, sample in enumerate(dataset.samples[:500]):
        cells = dataset.video(index).cells
        assert cells[0, 0] == 0
        assert cells[-1, 1] == sample.duration
        assert np.array_equal(cells[1:, 0], cells[:-1, 1])
        assert (cells[:, 1] > cells[:, 0]).all()
        assert (cells[:-1, 1] == np.arange(1, len(cells))).all()


def test_hdf5_flat_nested_and_with_times(tmp_path: Path) -> None:
    values = np.arange(8.0).reshape(4, 2)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a"] = values
        file["v_b/c3d_features"] = values
        file["timed"] = values
        file["timed"].attrs["snippet_seconds"] = 2.0
        file["v_timed/c3d_features"] = values
        file["v_timed"].attrs["snippet_seconds"] = 3.0
        file["exact"] = values
        file["exact"].attrs["cells"] = [[0, 1], [1, 4], [4, 4.5], [4.5, 9]]
        file["exact"].attrs["snippet_seconds"] = 2.0
        file.create_group("empty")
    plain = get(tmp_path / "f.h5")
    assert np.array_equal(plain.features, values)
    assert plain.cells.tolist() == [[0, 2.5], [2.5, 5], [5, 7.5], [7.5, 10]]
    assert np.array_equal(get(tmp_path / "f.h5", "v_b").features, values)
    assert get(tmp_path / "f.h5", "timed").cells.tolist() == [[0, 2], [2, 4], [4, 6], [6, 10]]
    assert get(tmp_path / "f.h5", "v_timed").cells.tolist() == [[0, 3], [3, 6], [6, 9], [9, 10]]
    assert get(tmp_path / "f.h5", "exact").cells.tolist() == [[0, 1], [1, 4], [4, 4.5], [4.5, 9]]
    assert get(tmp_path / "f.h5", "empty") is None
    assert get(tmp_path / "f.h5", "none") is None


def test_times_of_the_whole_file_give_way_to_an_arrays_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a"] = file["b"] = np.zeros((3, 2))
        file.attrs["snippet_seconds"] = 2.0
        file["b"].attrs["snippet_seconds"] = 1.0
    assert get(tmp_path / "f.h5", "a", 6.0).cells.tolist() == [[0, 2], [2, 4], [4, 6]]
    assert get(tmp_path / "f.h5", "b", 6.0).cells.tolist() == [[0, 1], [1, 2], [2, 6]]


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 3), 1e6, dtype=np.float32))
    with pytest.raises(DataError, match=r"'a' reach 1e\+06; they are kept as float16, up to 65504"):
        get(tmp_path)


def test_times_that_extract_wrote_beside(tmp_path: Path) -> None:
    values, cells = np.arange(6.0).reshape(3, 2), [[0.0, 2.0], [2.0, 3.0], [3.0, 7.5]]
    np.save(tmp_path / "a.npy", values)
    beside = tmp_path / "a.json"
    beside.write_text(json.dumps({"schema": "vmrtool.features/1", "cells": cells}))
    assert get(tmp_path).cells.tolist() == cells
    evenly = [[0, 10 / 3], [10 / 3, 20 / 3], [20 / 3, 10]]
    for other in (
        {"schema": "theirs", "cells": cells},
        {"schema": "vmrtool.features/1", "cells": cells[:2]},
        {"schema": "vmrtool.features/1"},
        [1, 2],
    ):
        beside.write_text(json.dumps(other))
        np.testing.assert_allclose(get(tmp_path).cells, evenly)


@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
def test_hdf5_files_of_extract(suffix: str, tmp_path: Path) -> None:
    values, cells = np.arange(6.0).reshape(3, 2), [[0.0, 2.0], [2.0, 3.0], [3.0, 7.5]]
    (tmp_path / "deeper").mkdir()
    with h5py.File(tmp_path / "deeper" / f"a.{suffix}", "w") as file:
        file["features"], file["seen"], file["cells"] = values, cells, cells
    with h5py.File(tmp_path / "many.h5", "w") as file:
        file["a"] = values
    stored = get(tmp_path)
    assert stored.features.tolist() == values.tolist()
    assert stored.cells.tolist() == cells
    with pytest.raises(DataError, match="has no array `features`"):
        get(tmp_path, "many")
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=r"'a' are in .*a\.npy and .*a\.h"):
        get(tmp_path)


def test_cells_never_leave_the_video() -> None:
    assert cells_of(4, 3.5, 1.0).tolist() == [[0, 1], [1, 2], [2, 3], [3, 3.5]]
    assert cells_of(6, 3.5, 1.0).tolist() == [[0, 1], [1, 2], [2, 3], [3, 3.5]]
    assert cells_of(2, 3.5, 1.0).tolist() == [[0, 1], [1, 3.5]]
    assert cells_of(3, 0.5, 1.0).tolist() == [[0, 0.5]]


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt"])
def test_a_folder_of_files(tmp_path: Path, suffix: str) -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, values)
    elif suffix == "npz":
        np.savez(path, features=values)
    else:
        torch.save(torch.from_numpy(values), path)
    stored = get(tmp_path)
    assert stored.features.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert stored.cells[-1, 1] == 10.0
    assert get(tmp_path, "b") is None


def test_pickles_are_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / "a.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
    torch.save(Bomb(), tmp_path / "b.pt")
    np.save(tmp_path / "c.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    for vid in "abc":
        with pytest.raises(DataError, match="cannot be read"):
            get(tmp_path, vid)
    assert not (tmp_path / "exploded").exists()


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such features"):
        open_store(tmp_path / "none")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataError, match="neither a catalog nor an HDF5"):
        open_store(tmp_path / "text.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no npy, npz, pt or h5"):
        open_store(tmp_path / "empty")
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["a"] = np.random.default_rng(0).standard_normal((500, 64))
        file["deep"] = np.zeros((2, 3, 4))
        file["text"] = "words"
    with pytest.raises(DataError, match=r"'deep' are float64 \(2, 3, 4\)"):
        get(tmp_path / "whole.h5", "deep")
    with pytest.raises(DataError, match="'text'"):
        get(tmp_path / "whole.h5", "text")
    data = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cut.h5: cannot be read as HDF5"):
        get(tmp_path / "cut.h5")
    folder = tmp_path / "folder"
    folder.mkdir()
    np.savez(folder / "a.npz", one=np.zeros((2, 2)), two=np.zeros((2, 2)))
    torch.save({"features": torch.zeros(2, 2)}, folder / "b.pt")
    (folder / "c.npy").write_bytes(b"\x93NUMPY broken")
    for vid, why in (("a", "2 arrays, not one"), ("b", "a dict, not a tensor"), ("c", "cannot be")):
        with pytest.raises(DataError, match=why):
            get(folder, vid)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("shape", ["N D", "1 N D", "N D 1 1"])
def test_arrays_with_axes_of_length_one(tmp_path: Path, n: int, shape: str) -> None:
    values = np.arange(n * 4.0).reshape(n, 4)
    stored = {"N D": values, "1 N D": values[None], "N D 1 1": values[..., None, None]}[shape]
    np.save(tmp_path / "a.npy", stored)
    assert np.array_equal(get(tmp_path).features, values)
