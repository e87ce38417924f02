"""Every command block of README, the tutorial and the how-tos is run, as a reader would run it.

A block that needs the network, hours or files of one's own has a comment before it that says why:
`<!-- no-run: reason -->`. The blocks of a page share a folder with an archive of one rendered
video, which the tutorial makes.
"""

import os
import re
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
    if "jq" in script and subprocess.run(["which", "jq"], capture_output=True).returncode:
        pytest.skip("jq is not here")
    # Archives that moved are for the reader to name.
    script = re.sub(r"^vmrtool catalog relocate .*$", "", script, flags=re.M)
    done = run(script, folder)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr


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
