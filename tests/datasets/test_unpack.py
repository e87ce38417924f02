"""Feature files out of archives: whole, flat, and never outside of their folder."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from vmrtool.datasets import unpack as room
from vmrtool.datasets.unpack import unpack
from vmrtool.errors import AssetError, DiskError


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def write(path: Path, files: dict[str, bytes]) -> Path:
    return (write_zip if path.suffix == ".zip" else write_tar)(path, files)


KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.tgz"]


@pytest.mark.parametrize("name", KINDS)
def test_feature_files_come_out_flat(tmp_path: Path, name: str) -> None:
    archive = write(
        tmp_path / name,
        {"in/A.npy": b"a" * 70_000, "in/deep/B.npy": b"b", "readme.txt": b"x", "in/C.NPY": b"c"},
    )
    steps: list[tuple[int, int]] = []
    assert unpack(archive, tmp_path / "out", lambda *step: steps.append(step)) == (3, 1)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"A.npy": b"a" * 70_000, "B.npy": b"b", "C.NPY": b"c"}
    assert steps[-1] == (70_002, 70_002)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("escape", ["../evil.npy", "in/../../evil.npy", "/evil.npy", "C:\\e.npy"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str, escape: str) -> None:
    archive = write(tmp_path / name, {"A.npy": b"a", escape: b"evil"})
    with pytest.raises(AssetError, match="leads out of the archive"):
        unpack(archive, tmp_path / "below" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [name]
    assert not Path("/evil.npy").exists()


def test_links_are_left_alone(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("secret.npy")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    write_tar(tmp_path / "b.tar", {"A.npy": b"a"})
    with pytest.raises(AssetError, match="no feature file"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    link_zip = zipfile.ZipInfo("secret.npy")
    link_zip.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(link_zip, "/etc/passwd")
    with pytest.raises(AssetError, match="no feature file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_wrong_archives(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_bytes(b"no archive")
    (tmp_path / "text.tar").write_bytes(b"no archive")
    whole = write_zip(tmp_path / "whole.zip", {"A.npy": bytes(range(256)) * 50})
    damaged = bytearray(whole.read_bytes())
    damaged[60:70] = b"xxxxxxxxxx"
    (tmp_path / "damaged.zip").write_bytes(damaged)
    cut = write_tar(tmp_path / "cut.tar.gz", {"A.npy": bytes(range(256)) * 500})
    cut.write_bytes(cut.read_bytes()[:-20])
    for name in ("text.zip", "text.tar", "damaged.zip", "cut.tar.gz"):
        with pytest.raises(AssetError, match=rf"{name}: cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / "out")
    assert not any(path.is_file() for path in (tmp_path / "out").glob("*"))
    twice = write_zip(tmp_path / "twice.zip", {"train/A.npy": b"a", "test/A.npy": b"b"})
    with pytest.raises(AssetError, match=r"2 files in it are called A\.npy"):
        unpack(twice, tmp_path / "out")


def test_a_disk_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", {"A.npy": bytes(1_000_000)})

    class Disk:
        free = 1000

    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Disk)
    with pytest.raises(DiskError, match="the disk is full"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
