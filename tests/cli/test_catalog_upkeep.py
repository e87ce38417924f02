"""`vmrtool catalog list`, `verify`, `remove` and `vacuum`."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets
from vmrtool.cli import app

DAY_NS = 86_400 * 10**9
SPANS = np.array([[0.0, 1.0]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Videos of growing size, length and age; two are copies of each other, one is missing."""
    import time

    now = time.time_ns()
    with Catalog.create_or_open(tmp_path / "vmrtool.db") as catalog:
        extractor = catalog.extractor_id("i3d", "0" * 64, {"stride": 16})
        catalog.use_extractor(extractor)
        rows = (("a.mp4", "x"), ("sub/b.mp4", "y"), ("sub/c[1].mp4", "y"), ("gone.mp4", "z"))
        for number, (name, content) in enumerate(rows):
            file = FoundFile(tmp_path / name, tmp_path, 1000 - number, now - number * 2 * DAY_NS)
            features = np.full((1, 20_000), number, np.float16)
            stored = StoredSnippets(features, SPANS, SPANS)
            catalog.save_video(file, content, FileFacts(duration_s=number), extractor, stored)
        catalog.mark_missing([row for row in catalog.videos() if row.path.name == "gone.mp4"])
        broken = FoundFile(tmp_path / "broken\x1b.mp4", tmp_path, 5, now - 9 * DAY_NS)
        catalog.set_failure(broken, None, FileFacts(), extractor, stage="open", error="empty")
    return tmp_path / "vmrtool.db"


@pytest.fixture(autouse=True)
def _here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["catalog", *words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def told(*words: str, code: int = 0) -> dict[str, Any]:
    return json.loads(run(*words, code=code).stdout)


def listed(*words: str) -> list[str]:
    return [Path(row["video"]).name for row in told("list", *words)["videos"]]


def test_list_chooses_and_orders() -> None:
    everything = ["a.mp4", "broken\x1b.mp4", "gone.mp4", "b.mp4", "c[1].mp4"]
    assert listed() == everything
    assert listed("--reverse") == everything[::-1]
    assert listed("sub/*") == ["b.mp4", "c[1].mp4"]
    assert listed("--state", "missing") == ["gone.mp4"]
    assert listed("--state", "failed") == ["broken\x1b.mp4"]
    assert listed("--since", "3d") == ["a.mp4", "b.mp4"]
    assert listed("--since", "1971-01-01") == everything
    assert listed("--since", "2999-01-01T12:00") == []
    assert listed("--sort", "size") == ["broken\x1b.mp4", "gone.mp4", "c[1].mp4", "b.mp4", "a.mp4"]
    assert listed("--sort", "changed") == listed("--sort", "size")
    by_length = listed("--sort", "length", "--reverse")
    assert by_length == ["gone.mp4", "c[1].mp4", "b.mp4", "a.mp4", "broken\x1b.mp4"]
    assert "is no time" in run("list", "--since", "soon", code=2).stderr
    run("list", "--state", "lost", code=2)


def test_list_for_people_is_a_line_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    from vmrtool.cli import catalog_upkeep

    monkeypatch.setattr(catalog_upkeep, "print_json", lambda asked, told: False)
    lines = run("list").stdout.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("indexed ") and lines[0].endswith("/a.mp4")
    assert "0.0 s" in lines[0] and "\ufffd.mp4" in lines[1]


def test_remove_by_path_name_and_glob(path: Path) -> None:
    planned = told("remove", "a.mp4", "sub/*", "--dry-run")
    assert planned["dry_run"] and planned["contents"] == 2
    assert len(listed()) == 5
    done = told("remove", "a.mp4", "sub/*")
    assert done["removed"] == planned["removed"] and done["contents"] == 2
    assert [Path(row["video"]).name for row in done["removed"]] == ["a.mp4", "b.mp4", "c[1].mp4"]
    assert listed() == ["broken\x1b.mp4", "gone.mp4"]
    with Catalog.open(path) as catalog:
        assert not catalog.has_features("x", 1) and not catalog.has_features("y", 1)


def test_a_copy_keeps_the_features_and_brackets_are_not_always_a_glob(path: Path) -> None:
    assert told("remove", str(path.parent / "sub/c[1].mp4"))["contents"] == 0
    assert "b.mp4" in listed()
    with Catalog.open(path) as catalog:
        assert catalog.has_features("y", 1)


def test_remove_missing_and_what_it_refuses() -> None:
    assert told("remove", "a.mp4", "--missing")["removed"] == []
    assert [row["state"] for row in told("remove", "--missing")["removed"]] == ["missing"]
    assert "--missing" in run("remove", code=2).stderr
    assert "no such video" in run("remove", "a.mp4", "none*", code=2).stderr
    assert "a.mp4" in listed()


def test_vacuum_gives_space_back(path: Path) -> None:
    told("remove", "a.mp4", "sub/*")
    done = told("vacuum")
    assert done["bytes_after"] == path.stat().st_size
    assert done["bytes_after"] < done["bytes_before"] - 50_000
    assert told("verify")["sound"]


def test_verify_tells_and_repairs(path: Path) -> None:
    assert told("verify") | {"catalog": ""} == {
        "schema": "vmrtool.catalogverify/1",
        "catalog": "",
        "sound": True,
        "checked": {"videos": 5, "features": 3, "windows": 0, "failures": 1, "files": 0},
        "faults": [],
        "repaired": 0,
        "left": [],
    }
    with sqlite3.connect(path) as db:
        db.execute("UPDATE features SET data = x'00' WHERE content_hash = 'y'")
    db.close()
    wrong = told("verify", code=1)
    assert not wrong["sound"] and wrong["left"] == wrong["faults"] != []
    assert wrong["faults"][0]["table"] == "features" and wrong["faults"][0]["repairable"]
    mended = told("verify", "--repair")
    assert (mended["sound"], mended["repaired"], mended["left"]) == (False, 1, [])
    assert told("verify")["sound"]
    assert listed("--state", "pending") == ["b.mp4", "c[1].mp4"]


def test_verify_reads_the_files_where_asked(path: Path) -> None:
    row = next(row for row in told("list")["videos"] if row["video"].endswith("a.mp4"))
    file = path.with_name("a.mp4")
    file.write_bytes(b"\0" * row["size"])
    os.utime(file, ns=(row["mtime_ns"], row["mtime_ns"]))
    wrong = told("verify", "--files", code=1)
    assert wrong["checked"]["files"] == 1
    assert [fault["row"] for fault in wrong["faults"]] == [str(file)]
