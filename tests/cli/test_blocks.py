"""Every command block of README, the tutorial and the how-tos, and every example, is run, as a
reader would run it.

A block that needs the network, hours or files of one's own has a comment before it that says why:
`<!-- no-run: reason -->`. The blocks of a page share a folder with an archive of one rendered
video, which the tutorial makes.
"""

import os
import re
import runpy
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import forked
import pytest

REPOSITORY = Path(__file__).parent.parent.parent
DOCS = REPOSITORY / "docs"
EXAMPLES = REPOSITORY / "examples"
QUERY = "the yellow triangle vanishes"
needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not here")
PAGES = [DOCS / "tutorial.md", REPOSITORY / "README.md", *sorted(DOCS.glob("how-to/*.md"))]
BLOCK = re.compile(r"(?:<!-- no-run: ([^\n]+) -->\n+)?^```(sh|sql)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path, language: str = "sh") -> list[tuple[str, str]]:
    """Why a block is not run, empty where it is, and the block."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(reason, text) for reason, kind, text in found if kind == language]


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script in `folder`, where `vmrtool` is the program beside it."""
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "VMRTOOL_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the tutorial has been gone through, with one video instead of three."""
    here = tmp_path_factory.mktemp("reader") / "work"
    here.mkdir()
    (here.parent / "bin").mkdir()
    with TemporaryDirectory() as short:  # a socket's address has room for a short path only
        address = f"{short}/vmrtool"
        forked.write_client(here.parent / "bin" / "vmrtool", address)
        server = subprocess.Popen(
            [sys.executable, forked.__file__, address],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        )
        try:
            while not Path(address).exists():
                assert server.poll() is None
                time.sleep(0.05)
            _go_through_the_tutorial(here)
            yield here
        finally:
            server.kill()
            server.wait()


def _go_through_the_tutorial(here: Path) -> None:
    script = "".join(text for reason, text in blocks(PAGES[0]) if not reason)
    assert "--videos 3" in script
    done = run(script.replace("--videos 3", "--videos 1"), here)
    assert done.returncode == 0, done.stderr


def test_the_tutorial_leaves_what_it_says(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert {"demo", "vmrtool.db", "found.m3u", "found.mpv"} <= names
    assert "#EXTVLCOPT:start-time=" in (folder / "found.m3u").read_text()


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_blocks_run(page: Path, folder: Path) -> None:
    script = "".join(text for reason, text in blocks(page) if not reason)
    if "jq" in script and not shutil.which("jq"):
        pytest.skip("jq is not here")
    # Archives that moved are for the reader to name.
    script = re.sub(r"^vmrtool catalog relocate .*$", "", script, flags=re.M)
    done = run(script, folder)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr


def example(folder: Path, *words: str) -> str:
    """What an example prints that is run as its head says."""
    done = run(" ".join(shlex.quote(word) for word in words), folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_jq
def test_the_search_example(folder: Path) -> None:
    player = folder.parent / "bin" / "mpv"
    player.write_text('#!/bin/sh\nhead -n 2 "$1" | tail -n 1\n')
    player.chmod(0o755)
    out = example(folder, "sh", str(EXAMPLES / "search.sh"), "demo", QUERY, "blocks")
    moments, listed = out.split("the videos they are in:")
    first = moments.splitlines()[1].split("\t")
    assert float(first[0]) > 0 and first[3] == str(folder / "demo" / "blocks-s7-000.mp4")
    assert "blocks-s7-000.mp4" in listed.splitlines()[1]
    assert f"start={float(first[1])}," in listed.splitlines()[-1]  # played by mpv


@needs_jq
def test_the_clips_example(folder: Path) -> None:
    (folder / "sentences.txt").write_text(f"{QUERY}\nthe green pyramid grows\n")
    out = example(folder, "sh", str(EXAMPLES / "moments_to_clips.sh"), "sentences.txt", "cut")
    rows = [line.split("\t") for line in out.splitlines()]
    assert len(rows) > 2 and rows[0][0] == QUERY
    for row in rows:
        clip = folder / "cut" / row[2]
        assert clip.stat().st_size > 1000 and clip.with_suffix(".jpg").is_file()


def test_the_example_of_ones_own_data(folder: Path) -> None:
    queries = "demo/queries.jsonl"
    script = str(EXAMPLES / "own_data.sh")
    small = "network.dim=8 network.word_dim=4 network.retrieval_dim=4 training.epochs=1"
    words = [part for one in small.split() for part in ("--set", one)]
    words += ["--set", "training.validation_share=0", "--set", "retrieval.ranking_queries=2"]
    out = example(folder, "sh", script, queries, queries, "demo", "own", *words)
    assert "blind" in out and "prior" in out and "R@1" in out
    assert (folder / "own" / "cases" / "cases.html").is_file()


def test_the_python_example(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VMRTOOL_OFFLINE", "1")
    monkeypatch.setattr(sys, "argv", ["python_api.py", "demo", QUERY, "blocks"])
    runpy.run_path(str(EXAMPLES / "python_api.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert "0 videos indexed, 1 known" in told
    found, whole = told.split("all of blocks-s7-000.mp4:\n")
    assert found.splitlines()[-1].endswith("/demo/blocks-s7-000.mp4")
    scores = [float(line.split()[0]) for line in whole.splitlines()]
    assert scores == sorted(scores, reverse=True) and len(scores) > 1


def test_every_example_is_run_here() -> None:
    known = {"demo.py", "search.sh", "moments_to_clips.sh", "own_data.sh", "python_api.py"}
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")} == known


def test_blocks_that_do_not_run_say_why() -> None:
    reasons = [reason for page in PAGES for reason, _ in blocks(page) if reason]
    assert len(reasons) > 5 and all(len(reason) > 10 for reason in reasons)


def test_a_block_that_fails_is_seen(folder: Path) -> None:
    assert run("vmrtool serach x | cat", folder).returncode == 2


def test_queries_on_the_catalog_run(folder: Path) -> None:
    with sqlite3.connect(folder / "vmrtool.db") as db:
        answers = [db.execute(sql).fetchall() for _, sql in blocks(DOCS / "catalog.md", "sql")]
    assert answers[0][0][:2] == ("indexed", 1)
    assert [len(rows) for rows in answers[1:]] == [0, 0, 1, 1, 0]
