"""`vmrtool data check`: the counts of the real data sets, and of small ones that are odd."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import write_archive
from typer.testing import CliRunner

from vmrtool.cli import app, data


def run(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["data", "check", *words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def counts(row: dict[str, Any]) -> dict[str, int]:
    names = ("queries", "videos", "reversed", "overlong", "dropped", "left_out")
    return {name: row[name] for name in names}


def test_charades(real_data: Path) -> None:
    folder = real_data / "charades-sta"
    features = folder / "clip_vitb32_1fps_test.h5"
    told = run("charades", "--annotations", str(folder), "--features", str(features))
    assert (told["schema"], told["dataset"]) == ("vmrtool.data/1", "charades")
    assert told["features"] == str(features)
    train, test = told["splits"]
    assert (train["split"], test["split"]) == ("train", "test")
    assert counts(train) == {
        "queries": 12408, "videos": 5338, "reversed": 4, "overlong": 1802, "dropped": 0,
        "left_out": 0,
    }  # fmt: skip
    assert counts(test) == {
        "queries": 3720, "videos": 1334, "reversed": 0, "overlong": 562, "dropped": 0,
        "left_out": 0,
    }  # fmt: skip
    assert len(train["features"]["missing"]) == 5338
    # Of the 40,049 rows, 80 begin past their video's end and stand for nothing.
    assert test["features"] == {"videos": 1334, "snippets": 39969, "dims": [512], "missing": []}


def test_activitynet(real_data: Path) -> None:
    told = run("activitynet", "--annotations", str(real_data / "activitynet-captions"))
    assert told["features"] is None
    found = {
        row["split"]: (row["queries"], row["videos"], row["dropped"]) for row in told["splits"]
    }
    assert found == {
        "train": (37417, 10009, 4), "val_1": (17505, 4917, 0), "val_2": (17031, 4885, 0),
    }  # fmt: skip
    assert all(row["features"] is None for row in told["splits"])


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A data set with everything amiss, and a folder with features of one of its videos."""
    rows = [
        {"vid": "A", "query": "one", "relevant_windows": [[4, 2], [3, 99]], "duration": 10},
        {"vid": "A", "query": "two", "relevant_windows": [[1, 1], [2, 3]], "duration": 10},
        {"vid": "B", "query": "three", "relevant_windows": [[1, 2]], "duration": 10},
        {"vid": "B", "query": "four", "relevant_windows": [], "duration": 10},
    ]
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features" / "A.npy", np.ones((7, 5), np.float32))
    path = tmp_path / "odd.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_amiss(odd: Path) -> None:
    told = run(str(odd), "--features", str(odd.parent / "features"))
    assert told["annotations"] == str(odd)
    [row] = told["splits"]
    assert row["split"] is None
    assert counts(row) == {
        "queries": 3, "videos": 2, "reversed": 1, "overlong": 1, "dropped": 1, "left_out": 1,
    }  # fmt: skip
    assert row["moments"] == 4
    assert sum(row["fixes"].values()) == 4
    assert row["features"] == {"videos": 1, "snippets": 7, "dims": [5], "missing": ["B"]}


def test_a_catalog_as_the_store(tmp_path: Path) -> None:
    queries, catalog = write_archive(tmp_path, videos=3, seed=1)
    [row] = run(str(queries), "--features", str(catalog))["splits"]
    assert row["features"]["videos"] == 3 and row["features"]["missing"] == []


def test_the_table(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.sys, "stdout", type("Terminal", (), {"isatty": lambda self: True})())
    shown: list[str] = []

    def show(told: dict[str, Any], out: Any) -> None:
        from rich.console import Console

        console = Console(record=True, width=140, file=(odd.parent / "shown").open("w"))
        printed(told, console)
        shown.append(console.export_text())

    printed = data._print
    monkeypatch.setattr(data, "_print", show)
    data.check(str(odd), None, odd.parent / "features", False)
    [text] = shown
    for words in (
        "queries", "reversed", "no features", "moments with start after end, swapped: 1",
        "moments that end past the video's length: 1 (cut to the video for training; scores use "
        "them as published, unless --truth clipped)",
        "features of 1 videos, 7 snippets, width 5", "without: B",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["charades"], 2, "vmrtool data pull charades"),
        (["none.jsonl"], 3, "no such data set file"),
        (["charades", "--annotations", "."], 3, "no annotation file"),
    ],
)
def test_nothing_to_check(words: list[str], code: int, why: str) -> None:
    done = CliRunner().invoke(app, ["data", "check", *words])
    assert done.exit_code == code
    assert why in done.stderr


def test_features_that_are_none(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"cut")
    done = CliRunner().invoke(
        app, ["data", "check", str(odd), "--features", str(tmp_path / "cut.h5")]
    )
    assert done.exit_code == 3
    assert "cannot be read as HDF5" in done.stderr
