"""The folder of real videos, indexed with the model "blocks" as a user would."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vmrtool.assets import find_model
from vmrtool.cli import app


def run(*words: str | Path) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture(scope="module")
def indexed(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The catalog, and what `index` told."""
    if find_model("blocks").backbone_weights is None:
        pytest.skip("models/blocks has no backbone weights here")
    catalog = tmp_path_factory.mktemp("real") / "vmrtool.db"
    code, told = run(
        "index", real_data / "videos", "--model", "blocks", "--catalog", catalog, "--device", "cpu"
    )
    assert code == bool(told["failed"])
    return catalog, told


def test_every_file_is_indexed_or_has_a_reason(indexed: tuple[Path, dict], real_data: Path) -> None:
    _, told = indexed
    files = [path for path in (real_data / "videos").rglob("*") if path.is_file()]
    assert told["indexed"] + told["copies"] + len(told["failed"]) == len(files) == 60
    assert all(row["stage"] and row["error"] and row["remedy"] for row in told["failed"])
    # All of them decode; a file that no longer does is a loss.
    assert told["failed"] == []


def test_cells_tile_every_video(indexed: tuple[Path, dict], real_data: Path) -> None:
    catalog, told = indexed
    seconds = 0.0
    for path in sorted((real_data / "videos").rglob("*.*")):
        code, video = run("catalog", "show", path, "--catalog", catalog, "--json")
        assert code == 0 and video["video"] == str(path)
        edges = [span["cell"][0] for span in video["snippets"]] + [video["duration_s"]]
        assert edges[0] == 0 and edges == sorted(set(edges)), path
        assert [span["cell"][1] for span in video["snippets"]] == edges[1:], path
        assert all(
            0 <= a < b <= video["duration_s"] for a, b in (s["seen"] for s in video["snippets"])
        )
        seconds += video["duration_s"]
    assert seconds == pytest.approx(told["seconds_of_video"])


def test_a_broken_file_is_kept_up_to_where_it_breaks(indexed: tuple[Path, dict]) -> None:
    catalog, _ = indexed
    _, video = run("catalog", "show", "decord_corrupted.mp4", "--catalog", catalog)
    # It claims 50 frames at 10 a second; 28 decode.
    assert video["duration_s"] == pytest.approx(2.8)
    assert "2.80 s of 5.00 s" in video["truncated"]


def test_a_second_run_knows_them_all(indexed: tuple[Path, dict], real_data: Path) -> None:
    catalog, first = indexed
    size = catalog.stat().st_size
    _, again = run("index", real_data / "videos", "--catalog", catalog, "--device", "cpu")
    assert again["unchanged"] == first["indexed"] + first["copies"]
    assert (again["indexed"], again["seconds_of_video"]) == (0, 0.0)
    assert catalog.stat().st_size == size
