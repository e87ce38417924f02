"""Decoders that die or hang below the command line: their video fails, all others are indexed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from seeded_backbone import write_backbone
from video_clips import write_video

from vmrtool.catalog import Catalog
from vmrtool.catalog.verification import verify
from vmrtool.features.backbones import Preprocessing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

# In place of libav's decoder, in every process: what happens in it goes by the file's name.
_STUB = """
import ctypes, os, signal
import vmrtool.media.container as container

decoded = container.decoded_frames

def stub(opened, stream, on_damage):
    name = os.path.basename(opened.name)
    for number, frame in enumerate(decoded(opened, stream, on_damage)):
        if number == 3 and name.startswith("dies"):
            ctypes.string_at(0)
        if number == 3 and name.startswith("hangs"):
            ctypes.CDLL(None).pause()
        if number == 3 and name.startswith("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield frame

container.decoded_frames = stub
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "stub").mkdir()
    (folder / "stub" / "sitecustomize.py").write_text(_STUB)
    write_backbone(
        folder / "weights.safetensors", Preprocessing(24.0, 16, ("exact", (32, 32)), None)
    )
    (folder / "videos").mkdir()
    for number, name in enumerate(("a", "dies 1", "b", "dies 2", "c", "hangs", "d")):
        write_video(folder / "videos" / f"{name}.mkv", range(0, 400 + 40 * number, 40))
    return folder


def start(
    place: Path, *options: str, videos: str = "videos", catalog: str = "vmrtool.db"
) -> subprocess.Popen[str]:
    paths = [str(place / "stub"), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "vmrtool", "index", str(place / videos), *options]
    command += ["--backbone", "blocks", "--weights", str(place / "weights.safetensors"), "--json"]
    return subprocess.Popen(
        [*command, "--catalog", str(place / catalog), "--device", "cpu", "--workers", "3"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C goes to a whole group of processes
        # Where the tests run in the background, Ctrl-C is ignored, and children take that over.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )


def index(place: Path, *options: str, **where: str) -> subprocess.CompletedProcess[str]:
    run = start(place, *options, **where)
    try:
        stdout, stderr = run.communicate(timeout=300)
    finally:
        if run.returncode is None:
            os.killpg(run.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(run.args, run.returncode, stdout, stderr)


def reasons(report: dict[str, Any]) -> dict[str, str]:
    return {Path(row["path"]).stem: row["error"] for row in report["failed"]}


def test_decoders_that_die_or_hang_cost_their_own_videos(place: Path) -> None:
    done = index(place, "--timeout", "3")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    told = reasons(report)
    assert told.pop("hangs").startswith("given up: the decoder was at it for")
    assert told == {name: "the decoder died of it (SIGSEGV)" for name in ("dies 1", "dies 2")}
    assert all(row["stage"] == "decode" and row["remedy"] for row in report["failed"])
    assert report["indexed"] + report["unchanged"] == 4
    assert "the decoder died (SIGSEGV); trying each video that was open" in done.stderr
    assert "going on without 2 videos that the decoder dies of" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "vmrtool.db-wal").exists() and not (place / "vmrtool.db-claims").exists()
    # They stand: nothing is opened again, and nothing dies.
    again = index(place)
    assert again.returncode == 1
    assert reasons(json.loads(again.stdout)) == reasons(report)
    assert "going on without" not in again.stderr


def test_being_killed_is_nobodys_fault(place: Path, tmp_path: Path) -> None:
    (place / "videos" / "hangs.mkv").unlink()
    write_video(place / "videos" / "killed.mkv", range(0, 800, 40))
    done = index(place)
    assert done.returncode == 137 and done.stdout == ""
    assert "killed from outside, or for want of memory" in done.stderr
    (place / "videos" / "killed.mkv").unlink()


def test_ctrl_c_while_a_decoder_hangs(place: Path) -> None:
    (place / "more").mkdir()
    for number, name in enumerate(("a", "b", "hangs")):
        write_video(place / "more" / f"{name}.mkv", range(0, 480 + 40 * number, 40))
    where = {"videos": "more", "catalog": "more.db"}
    run = start(place, "--verbose", "--batch-size", "1", **where)
    assert run.stderr is not None
    told = ""
    while told.count("indexed ") < 2:
        line = run.stderr.readline()
        assert line, told
        told += line
    time.sleep(0.3)  # nothing is left but what hangs
    os.killpg(run.pid, signal.SIGINT)
    stdout, rest = run.communicate(timeout=60)
    assert run.returncode == 130 and stdout == "", rest
    assert "interrupted: 2 of 3 videos are done and kept; the same command goes on" in rest
    assert "Traceback" not in rest
    with Catalog.open(place / "more.db") as catalog:
        assert [(row.path.stem, row.state) for row in catalog.videos()] == [
            ("a", "indexed"),
            ("b", "indexed"),
        ]
        assert verify(catalog).faults == () and catalog.failures() == []
    assert {path.name for path in place.iterdir() if path.name.startswith("more")} == {
        *("more", "more.db")
    }
    done = index(place, "--timeout", "2", **where)
    report = json.loads(done.stdout)
    assert (report["unchanged"], report["indexed"], list(reasons(report))) == (2, 0, ["hangs"])
