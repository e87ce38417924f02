"""`vmrtool index` and `vmrtool catalog` through the command line."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from indexing_fakes import write_video
from rich.console import Console
from tiny_zoo import STRIDE, write_zoo
from typer.testing import CliRunner, Result

from vmrtool.assets import models
from vmrtool.catalog.rows import FailureRow
from vmrtool.cli import app
from vmrtool.cli import index as command
from vmrtool.indexing.report import IndexReport


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zoo(tmp_path_factory.mktemp("zoo"), trained=True)


class Shell:
    """Runs commands in a folder of its own, with a small zoo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = folder / "vmrtool.db"

    def __call__(self, *words: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result

    def json(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        return json.loads(self(*words, code=code).stdout)


@pytest.fixture
def shell(tmp_path: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(models, "zoo_folder", lambda: zoo)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    return Shell(tmp_path)


# index ---------------------------------------------------------------------------------------


def test_index_twice(shell: Shell) -> None:
    write_video(shell.folder / "videos" / "a.mp4", 1, frames=60)
    write_video(shell.folder / "videos" / "sub" / "b.mp4", 2, frames=9)
    first = shell("index", "videos", "--model", "blocks", "--device", "cpu")
    told = json.loads(first.stdout)
    assert told.pop("elapsed_s") > 0
    assert told == {
        "schema": "vmrtool.index/1",
        "catalog": str(shell.catalog),
        "indexed": 2,
        "unchanged": 0,
        "renamed": 0,
        "copies": 0,
        "missing": 0,
        "removed": 0,
        "failed": [],
        "seconds_of_video": pytest.approx(69 / 24),
    }
    assert first.stderr.splitlines()[:2] == [
        f"features: blocks, stride {STRIDE}, float32 for model blocks",
        "device: cpu (asked for)",
    ]
    again = shell.json("index", "videos", "--json")
    assert (again["indexed"], again["unchanged"], again["seconds_of_video"]) == (0, 2, 0.0)


def test_failures_are_listed_on_every_run_with_exit_code_1(shell: Shell) -> None:
    write_video(shell.folder / "videos" / "a.mp4", 1)
    (shell.folder / "videos" / "text.mp4").write_text("not a video")
    (shell.folder / "videos" / "empty.mp4").touch()
    for _ in range(2):
        result = shell("index", "videos", "--model", "blocks", code=1)
        failed = json.loads(result.stdout)["failed"]
        assert [Path(row["path"]).name for row in failed] == ["empty.mp4", "text.mp4"]
        assert all(row["stage"] == "open" and row["error"] and row["remedy"] for row in failed)
        assert f"failed {shell.folder}/videos/empty.mp4: the file is empty" in result.stderr
    assert shell.json("index", "videos", "--exclude", "text.mp4", "--exclude", "empty*")
    rows = shell.json("catalog", "failures")["failures"]
    assert [row["attempts"] for row in rows] == [1, 1]
    shell("index", "videos", "--retry-failed", code=1)
    rows = shell.json("catalog", "failures")["failures"]
    assert [row["attempts"] for row in rows] == [2, 2]


def test_a_folder_without_videos(shell: Shell) -> None:
    (shell.folder / "videos" / "notes.txt").write_text("notes")
    result = shell("index", "videos")
    told = json.loads(result.stdout)
    assert told["indexed"] == 0 and told["failed"] == []
    assert result.stderr == "note: no videos in videos\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["none"], 2, "no such folder or file"),
        ([], 2, "Missing argument"),
        (["videos", "--shard", "5/4"], 2, "I must lie between"),
        (["videos", "--model", "blocks", "--stride", "8"], 2, "--model settles"),
        (["videos", "--backbone", "vgg"], 2, "no backbone 'vgg'"),
        (["videos", "--stride", "0"], 2, "--stride"),
        (["videos", "--model", "blocks", "--device", "tpu"], 2, "'tpu' is not a device"),
        (["videos", "--model", "none"], 3, "model 'none'"),
        (["videos"], 3, "'i3d' needs its weights"),
        (["videos", "--catalog", "list.txt", "--model", "blocks"], 3, "not a catalog"),
        (["videos", "--catalog", "none/v.db", "--model", "blocks"], 3, "no folder"),
    ],
)
def test_wrong_usage_and_nothing_to_work_with(
    shell: Shell, words: list[str], code: int, says: str
) -> None:
    write_video(shell.folder / "videos" / "a.mp4", 1)
    (shell.folder / "list.txt").write_text("shopping list")
    result = shell("index", *words, code=code)
    assert says in result.stderr and result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not shell.catalog.exists()


def test_ctrl_c_keeps_what_is_done(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        write_video(shell.folder / "videos" / f"{i}.mp4", i)
    from vmrtool.catalog import Catalog

    saved = Catalog.save_video

    def interrupt(self: Catalog, *args: Any) -> bool:
        if len(self.videos()) == 2:
            raise KeyboardInterrupt
        return saved(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "save_video", interrupt)
        result = shell("index", "videos", "--model", "blocks", code=130)
    assert "interrupted: 2 of 3 videos are done and kept" in result.stderr
    assert result.stdout == ""
    assert shell.json("index", "videos")["unchanged"] == 2


def test_the_catalog_is_the_nearest_one_or_the_variable_or_the_option(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(shell.folder / "videos" / "a.mp4", 1)
    shell("index", "videos", "--model", "blocks")
    monkeypatch.chdir(shell.folder / "videos")
    assert shell.json("index", ".")["catalog"] == str(shell.catalog)
    monkeypatch.setenv("VMRTOOL_CATALOG", str(shell.folder / "named.db"))
    assert shell.json("index", ".", "--model", "blocks")["catalog"].endswith("named.db")
    assert shell.json("catalog", "info", "--catalog", "../vmrtool.db")["videos"]["indexed"] == 1


def test_help_names_every_option(shell: Shell) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", shell("index", "--help").stdout)
    for option in ("catalog", "model", "backbone", "weights", "stride", "device", "precision"):
        assert f"--{option}" in text
    for option in ("exclude", "retry-failed", "shard", "workers", "batch-size", "json"):
        assert f"--{option}" in text


def test_the_summary_on_a_terminal(tmp_path: Path) -> None:
    failures = (
        FailureRow(tmp_path / "a\x1b[2J.mp4", "open", "the file is empty", "Copy it.", 1, ""),
        FailureRow(tmp_path / "b.mp4", "decode", "it broke [x]", "Copy it.", 2, ""),
    )
    report = IndexReport(tmp_path / "v.db", 3, 1200, 1, 0, 2, failures, 90.0, 30.0)
    out = Console(record=True, soft_wrap=True, highlight=False, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    command.print_summary(report, out)
    command.print_failures(report.failed, out)
    assert out.export_text() == (
        "1,206 videos: 3 indexed, 1,200 unchanged, 1 renamed, 2 failed\n"
        "2 known to the catalog are gone from there: `vmrtool catalog relocate OLD NEW` where they "
        "moved, `remove --missing` where they are gone for good\n"
        f"90.0 s of video in 30.0 s, 3.0 s of video a second -> {tmp_path}/v.db\n"
        f"failed {tmp_path}/a\ufffd[2J.mp4: the file is empty (open)\n"
        f"failed {tmp_path}/b.mp4: it broke [x] (decode)\n"
        "Copy it.\n"
    )


# catalog -------------------------------------------------------------------------------------


def test_show_tells_all_that_is_stored(shell: Shell) -> None:
    path = write_video(shell.folder / "videos" / "a.mp4", 1, frames=48)
    shell("index", "videos", "--model", "blocks")
    told = shell.json("catalog", "show", "videos/a.mp4", "--json")
    assert (told["schema"], told["video"], told["path"]) == (
        "vmrtool.video/1",
        str(path),
        "a.mp4",
    )
    assert (told["state"], told["duration_s"], told["width"], told["height"]) == (
        "indexed",
        2.0,
        32,
        32,
    )
    assert told["extractor"]["backbone"] == "blocks"
    assert told["extractor"]["settings"]["stride"] == STRIDE
    assert told["failure"] is None and told["truncated"] is None
    # 48 ticks, windows of 16 every 8: 5 windows, whose cells tile the two seconds.
    spans = told["snippets"]
    assert [span["seen"][0] * 24 for span in spans] == pytest.approx([0, 8, 16, 24, 32])
    edges = [spans[0]["cell"][0]] + [span["cell"][1] for span in spans]
    assert edges == pytest.approx([0, 12 / 24, 20 / 24, 28 / 24, 36 / 24, 2.0])
    assert all(a["cell"][1] == b["cell"][0] for a, b in pairwise(spans))
    for name in ("a.mp4", "a", str(path)):
        assert shell.json("catalog", "show", name) == told


def test_show_of_a_failure_and_of_what_is_not_there(shell: Shell) -> None:
    write_video(shell.folder / "videos" / "x" / "a.mp4", 1)
    write_video(shell.folder / "videos" / "y" / "a.mp4", 2)
    (shell.folder / "videos" / "empty.mp4").touch()
    shell("index", "videos", "--model", "blocks", code=1)
    told = shell.json("catalog", "show", "empty")
    assert told["snippets"] == [] and told["state"] == "failed"
    assert told["failure"]["stage"] == "open" and told["failure"]["attempts"] == 1
    assert "has no such video" in shell("catalog", "show", "none", code=2).stderr
    assert "2 videos" in shell("catalog", "show", "a.mp4", code=2).stderr
    assert shell.json("catalog", "show", "y/a.mp4")["path"] == "y/a.mp4"


def test_info_counts(shell: Shell) -> None:
    write_video(shell.folder / "videos" / "a.mp4", 1, frames=48)
    (shell.folder / "videos" / "empty.mp4").touch()
    shell("index", "videos", "--model", "blocks", code=1)
    told = shell.json("catalog", "info")
    assert told["videos"] == {"indexed": 1, "failed": 1, "pending": 0, "missing": 0}
    assert (told["model"], told["snippets"], told["seconds_of_video"]) == ("blocks", 5, 2.0)
    assert told["roots"] == [{"path": str(shell.folder / "videos"), "videos": 2}]


def test_relocate(shell: Shell) -> None:
    write_video(shell.folder / "videos" / "a.mp4", 1)
    shell("index", "videos", "--model", "blocks")
    (shell.folder / "videos").rename(shell.folder / "elsewhere")
    told = shell.json("catalog", "relocate", "videos", "elsewhere")
    assert (told["moved"], told["found"], told["merged"]) == (1, 1, 0)
    assert shell.json("index", "elsewhere")["unchanged"] == 1
    assert "no videos there" in shell("catalog", "relocate", "videos", "x", code=2).stderr


def test_remove_missing_drops_what_is_missing_and_nothing_else(shell: Shell) -> None:
    write_video(shell.folder / "videos" / "a.mp4", 1)
    gone = write_video(shell.folder / "videos" / "b.mp4", 2)
    shell("index", "videos", "--model", "blocks")
    snippets = shell.json("catalog", "info")["snippets"]
    gone.unlink()
    assert shell.json("index", "videos")["missing"] == 1
    removed = shell.json("catalog", "remove", "--missing")["removed"]
    assert removed == [{"video": str(gone), "state": "missing"}]
    assert shell.json("catalog", "remove", "--missing")["removed"] == []
    told = shell.json("catalog", "info")
    assert told["videos"] == {"indexed": 1, "failed": 0, "pending": 0, "missing": 0}
    assert told["snippets"] == snippets / 2
    assert shell.json("index", "videos")["missing"] == 0


def test_prune_removes_what_is_gone_from_the_folders_named(shell: Shell) -> None:
    gone = [write_video(shell.folder / "videos" / d / "a.mp4", n) for n, d in enumerate("xy")]
    # A folder where nothing is left may be a disk that is not mounted, and is spared.
    stays = write_video(shell.folder / "videos" / "x" / "b.mp4", 2)
    shell("index", "videos", "--model", "blocks")
    for path in gone:
        path.unlink()
    assert shell.json("index", "videos/x", "--prune")["removed"] == 1
    left = shell.json("catalog", "list")["videos"]
    assert [row["video"] for row in left] == [str(stays), str(gone[1])]
    told = shell.json("index", "videos")
    assert (told["missing"], told["removed"]) == (1, 0)


@pytest.mark.parametrize("words", [["info"], ["show", "a"], ["failures"], ["relocate", "a", "b"]])
def test_without_a_catalog(shell: Shell, words: list[str]) -> None:
    result = shell("catalog", *words, code=3)
    assert "no catalog" in result.stderr and "vmrtool index DIR" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal_people_get_text(shell: Shell) -> None:
    """In a process of its own on a pseudo-terminal; without torch, it is quick."""
    import pty

    write_video(shell.folder / "videos" / "a.mp4", 1, frames=48)
    (shell.folder / "videos" / "empty.mp4").touch()
    shell("index", "videos", "--model", "blocks", code=1)
    script = """
from vmrtool.cli import app
for words in (["info"], ["show", "a"], ["failures"], ["relocate", "videos", "moved"]):
    app(["catalog", *words], standalone_mode=False)
"""
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=slave,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        check=False,
    )
    os.close(slave)
    text = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.returncode == 0, done.stderr
    for says in (
        "1 indexed, 1 failed",
        "     0  cell     0.000     0.500   seen     0.000     0.667",
        "empty.mp4: the file is empty (0 bytes) (open, 1 try",
        "2 moved to moved, 0 of them found there",
    ):
        assert says in text, text


# Real videos ---------------------------------------------------------------------------------


def test_real_odd_videos_end_as_indexed_or_failed(shell: Shell, real_data: Path) -> None:
    """Awkward files, at a small size; times are checked against the packets by the media room."""
    for name in ("decord_corrupted.mp4", "imageio_realshort.mp4", "decord_video_270.mov"):
        shutil.copy(real_data / "videos" / "odd" / name, shell.folder / "videos")
    result = shell("index", "videos", "--model", "blocks")
    assert json.loads(result.stdout)["indexed"] == 3
    assert "decord_corrupted.mp4: kept as far as it decodes" in result.stderr
    told = shell.json("catalog", "show", "decord_corrupted")
    assert told["truncated"] and told["snippets"][-1]["cell"][1] == told["duration_s"]
    assert shell.json("catalog", "show", "decord_video_270")["rotation"] == 90
