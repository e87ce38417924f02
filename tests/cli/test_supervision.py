"""Decoders that die or hang below the command line: their video fails, all others are indexed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from seeded_backbone import write_backbone
from video_clips import write_video

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


def index(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = [str(place / "stub"), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "vmrtool", "index", str(place / "videos"), *options]
    command += ["--backbone", "blocks", "--weights", str(place / "weights.safetensors"), "--json"]
    return subprocess.run(
        [*command, "--catalog", str(place / "vmrtool.db"), "--device", "cpu", "--workers", "3"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


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
    assert "the decoder died (SIGSEGV); going on without" in done.stderr
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
