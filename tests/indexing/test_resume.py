"""Runs that are killed, and runs at the same time: the catalog is what one quiet run makes."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from indexing_fakes import FakeExtractor, write_video

from vmrtool.catalog import Catalog
from vmrtool.indexing.claims import Claims
from vmrtool.indexing.pipeline import index

_SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from indexing_fakes import FakeExtractor, slowly
from vmrtool.indexing.pipeline import index

folder, catalog, seconds, ahead, most = sys.argv[1:]
extractor = FakeExtractor(ahead=int(ahead))
wait, for_ever = slowly(float(seconds)), slowly(600)
extractor.before = lambda path: (wait if len(extractor.asked) < int(most) else for_ever)(path)
report = index([folder], Path(catalog), extractor.source)
print(json.dumps([report.to_dict(), extractor.asked]))
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and locks")


def start(
    folder: Path, catalog: Path, seconds: float, ahead: int = 1, most: int = 99
) -> subprocess.Popen[str]:
    """A run that takes its time over each video, and for ever over the one numbered `most`."""
    script = _SCRIPT.format(here=str(Path(__file__).parent))
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            script,
            str(folder),
            str(catalog),
            str(seconds),
            str(ahead),
            str(most),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def everything(path: Path) -> dict[str, list[tuple]]:
    """All that a catalog holds, apart from row ids and its own id."""
    with Catalog.open(path) as catalog:
        assert catalog._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert catalog._db.execute("PRAGMA foreign_key_check").fetchall() == []
        videos = [
            (row.path, row.size, row.mtime_ns, row.content_hash, row.state, row.facts)
            for row in catalog.videos()
        ]
        features = catalog._db.execute(
            "SELECT content_hash, chunk, n, dim, data, seen, cells FROM features ORDER BY 1, 2"
        ).fetchall()
        failures = [(row.path, row.stage, row.error) for row in catalog.failures()]
    return {"videos": videos, "features": features, "failures": failures}


def indexed(catalog: Path) -> int:
    try:
        with sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM videos").fetchone()[0])
    except sqlite3.Error:
        return 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for i in range(12):
        write_video(folder / f"{i:02}.mp4", i)
    (folder / "empty.mp4").touch()
    return folder


@pytest.fixture(scope="module")
def clean(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple]]:
    catalog = tmp_path_factory.mktemp("clean") / "v.db"
    index([folder], catalog, FakeExtractor().source)
    return everything(catalog)


def test_killed_and_resumed_is_the_same_as_undisturbed(
    folder: Path, clean: dict[str, list[tuple]], tmp_path: Path
) -> None:
    catalog = tmp_path / "v.db"
    rng = random.Random(5)
    done = 0
    for _ in range(3):
        run = start(folder, catalog, seconds=0.02, most=4)
        while indexed(catalog) == done:
            assert run.poll() is None
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        run.stdout.close()
        done = indexed(catalog)
    assert 3 <= done <= 9
    extractor = FakeExtractor()
    report = index([folder], catalog, extractor.source)
    # What was committed before the kills is not decoded again; the empty file is no video.
    assert (report.unchanged, report.indexed) == (done, 12 - done)
    assert len(extractor.asked) == report.indexed
    assert everything(catalog) == clean


@pytest.mark.parametrize("ahead", [1, 3])
def test_two_runs_at_once_share_the_work(
    folder: Path, clean: dict[str, list[tuple]], tmp_path: Path, ahead: int
) -> None:
    catalog = tmp_path / "v.db"
    runs = [start(folder, catalog, seconds=0.1, ahead=ahead) for _ in range(2)]
    answers = [json.loads(run.communicate(timeout=120)[0]) for run in runs]
    assert all(run.returncode == 0 for run in runs)
    asked = [name for _, names in answers for name in names]
    assert sorted(asked) == [f"{i:02}.mp4" for i in range(12)]
    for report, names in answers:
        assert report["indexed"] == len(names)
        assert report["indexed"] + report["unchanged"] == 12 and len(report["failed"]) == 1
    assert everything(catalog) == clean
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.db"]


def test_what_another_run_ends_while_it_is_looked_at_counts_as_unchanged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = tmp_path / "v.db"
    take = Claims.take

    def take_late(claims: Claims, content: str) -> bool:
        monkeypatch.setattr(Claims, "take", take)
        index([folder], catalog, FakeExtractor().source)
        return take(claims, content)

    monkeypatch.setattr(Claims, "take", take_late)
    extractor = FakeExtractor()
    report = index([folder], catalog, extractor.source)
    assert (report.unchanged, report.renamed, report.indexed, extractor.asked) == (12, 0, 0, [])


def test_claims_end_with_their_holder(tmp_path: Path) -> None:
    catalog = tmp_path / "v.db"
    content = "ab" * 32
    other = """
import sys, time
from pathlib import Path
from vmrtool.indexing.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take("ab" * 32), flush=True)
time.sleep(60)
"""
    with Claims(catalog) as claims:
        holder = subprocess.Popen(
            [sys.executable, "-c", other, str(catalog)], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout.readline() == "True\n"
        assert not claims.take(content)
        assert claims.take("cd" * 32)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
        assert claims.take(content)
        claims.release(content)
    assert list(tmp_path.iterdir()) == []
