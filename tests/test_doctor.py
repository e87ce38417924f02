"""`doctor`: each thing looked for by itself, with its remedy, whatever state the machine is in."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from vmrtool import doctor
from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile
from vmrtool.cli import app
from vmrtool.cli.doctor import print_findings
from vmrtool.doctor import Diagnosis, Finding, diagnose


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def named(diagnosis: Diagnosis, name: str) -> Finding:
    return next(finding for finding in diagnosis.findings if finding.name == name)


def test_what_this_machine_has() -> None:
    told = diagnose()
    assert told.works
    assert named(told, "torch").state == named(told, "h264").state == "ok"
    assert named(told, "model blocks").state == "ok"
    assert named(told, "weights i3d").remedy == "vmrtool models pull i3d"  # tests are offline
    assert named(told, "word vectors glove").remedy == "vmrtool data pull glove"
    assert "vmrtool index DIR" in (named(told, "catalog").remedy or "")
    assert named(told, "$VMRTOOL_OFFLINE").found == "1"
    assert all(
        finding.remedy for finding in told.findings if finding.state in ("missing", "broken")
    )


def test_a_package_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        if name in ("torch", "faiss"):
            raise ImportError("libcudart.so: cannot open")
        return import_module(name)

    monkeypatch.setattr(doctor, "import_module", broken)
    told = diagnose()
    assert not told.works
    for name in ("torch", "FAISS"):
        assert named(told, name).state == "broken"
        assert "libcudart" in named(told, name).found and named(told, name).remedy
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 3


def cuda(version: str | None, *, available: bool = False, why: str = "") -> Finding:
    def init() -> None:
        raise RuntimeError(why)

    facts = SimpleNamespace(name="H100", total_memory=80 * 2**30)
    calls = SimpleNamespace(
        is_available=lambda: available,
        device_count=lambda: 1,
        get_device_properties=lambda index: facts,
        init=init,
    )
    torch = SimpleNamespace(cuda=calls, version=SimpleNamespace(cuda=version))
    [finding] = doctor._cuda(torch)
    return finding


def test_why_cuda_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda("13.0", available=True).found == "H100, 80 GiB, CUDA 13.0"
    assert "built without it" in cuda(None).found and "pytorch.org" in (cuda(None).remedy or "")
    driver = cuda("13.0", why="Found no NVIDIA driver on your system. Please check")
    assert driver.found == "not used: Found no NVIDIA driver on your system"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES is ''" in cuda("13.0", why="No CUDA GPUs are available").found


def test_a_codec_that_lacks_and_a_look_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CODECS", {"h264": ("h264",), "cinepak9": ("none",)})
    told = diagnose()
    assert named(told, "cinepak9").state == "missing" and named(told, "h264").state == "ok"
    monkeypatch.setattr(doctor, "_CODECS", None)
    told = diagnose()
    assert named(told, "video").state == "missing" and named(told, "cache").state == "ok"


def test_the_catalog_and_its_state(tmp_path: Path) -> None:
    with Catalog.create_or_open(tmp_path / "vmrtool.db") as catalog:
        extractor = catalog.extractor_id("i3d", "0" * 64, {"stride": 16})
        catalog.use_extractor(extractor)
        file = FoundFile(tmp_path / "a.mp4", tmp_path, 1, 1)
        catalog.set_failure(file, None, FileFacts(), extractor, stage="open", error="empty")
        catalog.model = "charades"
    told = diagnose()
    assert str(tmp_path / "vmrtool.db") in named(told, "catalog").found
    assert named(told, "videos").found == "1 failed"
    assert "catalog failures" in (named(told, "videos").remedy or "")
    assert named(told, "features").found == "i3d"
    assert named(told, "model").state == "missing" and named(told, "model").remedy
    (tmp_path / "vmrtool.db").write_text("shopping list")
    assert "not a catalog" in named(diagnose(), "catalog").found


def test_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    told = diagnose()
    assert named(told, "cache").state == "missing" and "0.0 GB free" in named(told, "cache").found


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding("video", "av1", "missing", "no\x1b decoder", "convert them")
    print_findings((finding, Finding("video", "h264", "ok", "decoder", "not shown")))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["video"], ["!", "av1", "no\ufffd", "decoder"], ["convert", "them"],
        ["✓", "h264", "decoder"],
    ]  # fmt: skip
