"""HDF5 files that point to other files, or claim what no memory holds."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from vmrtool.datasets.files import open_store
from vmrtool.datasets.samples import Sample
from vmrtool.errors import DataError
from vmrtool.hdf5 import item_of


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["inner/a"] = np.ones((3, 2), np.float32)
        file["a"] = np.ones((3, 2), np.float32)
    (tmp_path / "raw.bin").write_bytes(bytes(24))
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        file["good"] = np.zeros((3, 2), np.float32)
        file["link"] = h5py.ExternalLink("secret.h5", "/a")
        file["group"] = h5py.ExternalLink("secret.h5", "/inner")
        file["soft"] = h5py.SoftLink("/link")
        file["inside"] = h5py.SoftLink("/good")
        file["round"] = h5py.SoftLink("/round")
        file.create_dataset("raw", (3, 2), "f4", external=[(str(tmp_path / "raw.bin"), 0, 24)])
        layout = h5py.VirtualLayout((3, 2), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "a", shape=(3, 2))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("huge", (10**9, 1024), "f4", chunks=(1, 1024))
    return path


@pytest.mark.parametrize("name", ["link", "group/a", "soft", "raw", "virtual", "huge", "round"])
def test_what_lies_elsewhere_is_refused(hostile: Path, name: str) -> None:
    sample = Sample(qid=0, vid=name, query="q", windows=((0.0, 1.0),), duration=3.0)
    store = open_store(hostile)
    with pytest.raises(DataError, match=name.split("/")[0]) as caught:
        store.get(sample)
    assert str(hostile) in str(caught.value)
    store.close()


def test_what_lies_inside_is_read(hostile: Path) -> None:
    with h5py.File(hostile) as file:
        for name in ("good", "inside", "/good"):
            assert item_of(file, name)[()].shape == (3, 2)
        assert item_of(file, "good/deeper") is None
        assert item_of(file, "nothing") is None
