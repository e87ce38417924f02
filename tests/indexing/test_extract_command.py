"""`vmrtool extract`: features of videos as files, what is done again and what is not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from indexing_fakes import FakeExtractor, write_video
from tiny_zoo import STRIDE, write_zoo
from typer.testing import CliRunner, Result

from vmrtool.assets import models
from vmrtool.catalog import Catalog
from vmrtool.cli import app
from vmrtool.errors import MediaError, UsageError
from vmrtool.indexing.extraction import ExtractReport, extract
from vmrtool.indexing.feature_files import SUFFIXES, files_of


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zoo(tmp_path_factory.mktemp("zoo"), trained=True)


@pytest.fixture
def shell(tmp_path: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs commands in a folder of its own, with a small zoo."""
    monkeypatch.setattr(models, "zoo_folder", lambda: zoo)
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result

    return run


def run(folder: Path, extractor: FakeExtractor, **options: Any) -> ExtractReport:
    return extract([folder / "videos"], folder / "out", extractor.source, **options)


def names(targets: Any) -> list[str]:
    return sorted(target.file.path.name for target in targets)


# The command -----------------------------------------------------------------------------------


def test_npy_has_the_features_that_index_stores(
    shell: Callable[..., Result], tmp_path: Path
) -> None:
    write_video(tmp_path / "videos" / "a.mp4", 1, frames=60)
    write_video(tmp_path / "videos" / "sub" / "b.mp4", 2, frames=9)
    result = shell("extract", "videos", "--out", "features", "--model", "blocks", "--device", "cpu")
    told = json.loads(result.stdout)
    assert (told["schema"], told["extracted"], told["unchanged"]) == ("vmrtool.extract/1", 2, 0)
    files = [tmp_path / "features" / name for name in ("a.npy", "sub/b.npy")]
    assert [Path(row["features"]) for row in told["files"]] == files
    assert f"features: blocks, stride {STRIDE}, float32 for model blocks" in result.stderr
    assert "search" not in result.stderr

    shell("index", "videos", "--model", "blocks", "--device", "cpu")
    with Catalog.open(tmp_path / "vmrtool.db") as catalog:
        extractor = catalog.extractor
        assert extractor is not None
        for row, path in zip(catalog.videos(), files, strict=True):
            stored = catalog.features(row.content_hash or "", extractor.id)
            assert stored is not None
            about = json.loads(path.with_suffix(".json").read_text())
            np.testing.assert_array_equal(np.load(path), stored.features)
            np.testing.assert_array_equal(about["cells"], stored.cells)
            np.testing.assert_array_equal(about["seen"], stored.seen)
            assert about["content_hash"] == row.content_hash
            assert about["video"] == str(row.path)
            assert about["duration_s"] == stored.cells[-1, 1]
            assert (about["snippets"], about["dim"]) == stored.features.shape
            assert about["extractor"] == {
                "backbone": "blocks",
                "weights_sha256": extractor.weights_sha256,
                "settings": dict(extractor.settings),
            }


def test_hdf5_has_the_same(shell: Callable[..., Result], tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 1, frames=40)
    command = ("extract", "a.mp4", "--model", "blocks", "--out")
    shell(*command, "npy")
    for extracted, unchanged in ((1, 0), (0, 1)):
        told = json.loads(shell(*command, "hdf5", "--format", "hdf5").stdout)
        assert (told["extracted"], told["unchanged"]) == (extracted, unchanged)
    about = json.loads((tmp_path / "npy" / "a.json").read_text())
    with h5py.File(tmp_path / "hdf5" / "a.h5") as file:
        np.testing.assert_array_equal(file["features"], np.load(tmp_path / "npy" / "a.npy"))
        for spans in ("seen", "cells"):
            np.testing.assert_array_equal(file[spans], about.pop(spans))
        assert json.loads(file.attrs["vmrtool"]) == about


def test_settings_are_the_commands(shell: Callable[..., Result], tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 1, frames=40)
    words = ("extract", "a.mp4", "--backbone", "blocks", "--out", "out", "--precision", "float32")
    shell(*words, "--stride", "8", "--sampling", "dense")
    settings = json.loads((tmp_path / "out" / "a.json").read_text())["extractor"]["settings"]
    assert (settings["stride"], settings["sampling"]) == (8, "dense")
    # Of another extractor: done again, not taken for these.
    assert json.loads(shell(*words, "--stride", "8").stdout)["extracted"] == 1
    assert json.loads(shell(*words, "--stride", "8").stdout)["unchanged"] == 1


def test_failures_are_listed_on_every_run_with_exit_code_1(
    shell: Callable[..., Result], tmp_path: Path
) -> None:
    write_video(tmp_path / "videos" / "a.mp4", 1)
    (tmp_path / "videos" / "text.mp4").write_text("not a video")
    (tmp_path / "videos" / "empty.mp4").touch()
    for extracted in (1, 0):
        result = shell("extract", "videos", "--out", "out", "--model", "blocks", code=1)
        told = json.loads(result.stdout)
        assert told["extracted"] == extracted
        assert [Path(row["path"]).name for row in told["failed"]] == ["empty.mp4", "text.mp4"]
        assert all(row["error"] and row["remedy"] for row in told["failed"])
        assert f"failed {tmp_path}/videos/empty.mp4: the file is empty" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "a.npy"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["none.mp4", "--out", "out"], 2, "no such folder or file"),
        (["a.mp4"], 2, "Missing option"),
        (["a.mp4", "--out", "out", "--format", "csv"], 2, "format 'csv' is not known"),
        (["a.mp4", "--out", "out", "--sampling", "sparse"], 2, "sampling 'sparse'"),
        (["a.mp4", "--out", "out", "--backbone", "i3d"], 3, "'i3d' needs its weights"),
        (["a.mp4", "--out", "a.mp4"], 3, "a.mp4"),
    ],
)
def test_wrong_usage_and_nothing_to_work_with(
    shell: Callable[..., Result], tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    write_video(tmp_path / "a.mp4", 1)
    if "--backbone" not in words:
        words = [*words, "--backbone", "blocks"]
    result = shell("extract", *words, code=code)
    assert says in result.stderr and result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_without_videos(shell: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    result = shell("extract", "videos", "--out", "out")
    assert json.loads(result.stdout)["files"] == []
    assert result.stderr == "note: no videos in videos\n"


def test_ctrl_c_keeps_what_is_done(
    shell: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        write_video(tmp_path / "videos" / f"{i}.mp4", i)
    saved, count = np.save, 0

    def interrupt(*args: Any, **options: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        saved(*args, **options)

    command = ("extract", "videos", "--out", "out", "--model", "blocks")
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", interrupt)
        result = shell(*command, code=130)
    assert "interrupted: 2 of 3 videos are done and kept" in result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 4  # nothing half done
    told = json.loads(shell(*command).stdout)
    assert (told["extracted"], told["unchanged"]) == (1, 2)


# What is done again ----------------------------------------------------------------------------


@pytest.fixture(params=SUFFIXES)
def file_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_only_what_is_new_or_changed(tmp_path: Path, file_format: str) -> None:
    videos = tmp_path / "videos"
    for name in "abc":
        write_video(videos / f"{name}.mp4", ord(name))
    extractor = FakeExtractor()
    report = run(tmp_path, extractor, file_format=file_format)
    assert names(report.extracted) == ["a.mp4", "b.mp4", "c.mp4"]
    write_video(videos / "a.mp4", 9)  # another content
    os.utime(videos / "b.mp4", (1, 1))  # touched only
    write_video(videos / "d.mp4", 4)
    (videos / "c.mp4").rename(videos / "e.mp4")  # features go by name; e has none
    report = run(tmp_path, extractor, file_format=file_format)
    assert names(report.extracted) == ["a.mp4", "d.mp4", "e.mp4"]
    assert names(report.unchanged) == ["b.mp4"]
    assert extractor.asked[3:] == ["a.mp4", "d.mp4", "e.mp4"]


def test_another_extractor_does_all_again(tmp_path: Path, file_format: str) -> None:
    write_video(tmp_path / "videos" / "a.mp4", 1)
    run(tmp_path, FakeExtractor(), file_format=file_format)
    other = FakeExtractor(settings={"stride": 8})
    assert names(run(tmp_path, other, file_format=file_format).extracted) == ["a.mp4"]
    path = tmp_path / "out" / f"a{SUFFIXES[file_format]}"
    about = files_of(file_format).read(path)
    assert about is not None and about["extractor"]["settings"] == {"stride": 8}


def test_a_swapped_video_is_not_answered_from_the_other(tmp_path: Path) -> None:
    """Two videos of one size and time change names: their contents tell them apart."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for name, letter in (("a", b"A"), ("b", b"B")):
        write_video(videos / f"{name}.mp4", 1)
        with (videos / f"{name}.mp4").open("ab") as file:
            file.write(letter)
        os.utime(videos / f"{name}.mp4", (ord(name), ord(name)))
    run(tmp_path, FakeExtractor())
    before = {name: np.load(tmp_path / "out" / f"{name}.npy") for name in "ab"}
    (videos / "a.mp4").rename(videos / "x")
    (videos / "b.mp4").rename(videos / "a.mp4")
    (videos / "x").rename(videos / "b.mp4")
    assert names(run(tmp_path, FakeExtractor()).extracted) == ["a.mp4", "b.mp4"]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "a.npy"), before["b"])
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "b.npy"), before["a"])


def test_half_a_pair_of_files_is_none(tmp_path: Path) -> None:
    write_video(tmp_path / "videos" / "a.mp4", 1)
    extractor = FakeExtractor()
    out = tmp_path / "out"
    run(tmp_path, extractor)
    for spoil in (
        lambda: (out / "a.json").unlink(),
        lambda: (out / "a.npy").unlink(),
        lambda: (out / "a.npy").write_bytes((out / "a.npy").read_bytes()[:40]),
        lambda: np.save(out / "a.npy", np.zeros((99, 6))),
        lambda: (out / "a.json").write_text("{"),
    ):
        spoil()
        assert len(run(tmp_path, extractor).extracted) == 1
        assert len(run(tmp_path, extractor).unchanged) == 1


def test_a_video_that_breaks_loses_its_old_features_only_if_it_changed(
    tmp_path: Path, file_format: str
) -> None:
    def broken(path: Path) -> None:
        raise MediaError(f"{path}: it broke", stage="decode")

    path = write_video(tmp_path / "videos" / "a.mp4", 1)
    features = tmp_path / "out" / f"a{SUFFIXES[file_format]}"
    run(tmp_path, FakeExtractor(), file_format=file_format)
    other = FakeExtractor(settings={"stride": 8}, before=broken)
    report = run(tmp_path, other, file_format=file_format)
    assert [failure.error for failure in report.failed] == ["it broke"]
    assert features.exists()  # of the same content, by the extractor before
    write_video(path, 2)
    run(tmp_path, FakeExtractor(before=broken), file_format=file_format)
    assert list(features.parent.iterdir()) == []


def test_a_file_that_changes_meanwhile_is_a_failure(tmp_path: Path) -> None:
    path = write_video(tmp_path / "videos" / "a.mp4", 1)
    extractor = FakeExtractor(before=lambda _: os.utime(path, (5, 5)))
    report = run(tmp_path, extractor)
    assert "changed while it was read" in report.failed[0].error
    assert not (tmp_path / "out" / "a.npy").exists()


# Names -----------------------------------------------------------------------------------------


def test_videos_of_one_name(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    write_video(videos / "a.mp4", 1)
    shutil.copy(videos / "a.mp4", videos / "a.mov")
    write_video(videos / "sub" / "a.mp4", 2)
    run(tmp_path, FakeExtractor())
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.glob("out/**/*.npy"))
    assert written == ["a.mov.npy", "a.mp4.npy", "sub/a.npy"]
    with pytest.raises(UsageError, match="would go to one file"):
        extract(
            [videos / "a.mp4", videos / "sub" / "a.mp4"], tmp_path / "o", FakeExtractor().source
        )


@pytest.mark.skipif(os.name == "nt", reason="names are not bytes there")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write_video(tmp_path / "b.mp4", 1).rename(tmp_path / name)
    report = extract([tmp_path / name], tmp_path / "out", FakeExtractor().source)
    told = json.loads(json.dumps(report.to_dict()))["files"][0]
    assert told["video"].endswith("caf\ufffd.mp4") and told["video_b64"]
    assert len(extract([tmp_path / name], tmp_path / "out", FakeExtractor().source).unchanged) == 1
