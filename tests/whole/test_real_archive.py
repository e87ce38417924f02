"""All 60 real files through the command line, with the small backbone."""

import json
from pathlib import Path

import pytest
from whole import vmrtool


@pytest.fixture(scope="module")
def indexed(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, object]]:
    """The folder of real videos, its catalog, and what `index` reported."""
    catalog = tmp_path_factory.mktemp("real") / "vmrtool.db"
    videos = real_data / "videos"
    done = vmrtool("index", videos, "--model", "blocks", "--catalog", catalog, "--json")
    assert done.returncode in (0, 1), done.stderr
    return videos, catalog, json.loads(done.stdout)


def test_every_file_ends_as_indexed_or_as_a_failure(
    indexed: tuple[Path, Path, dict[str, object]],
) -> None:
    videos, _, report = indexed
    files = sum(1 for path in videos.rglob("*") if path.is_file())
    assert files == 60
    failed = report["failed"]
    assert isinstance(failed, list)
    assert report["indexed"] + report["copies"] + len(failed) == files  # type: ignore[operator]
    assert all(failure["error"] and failure["stage"] for failure in failed)


def test_a_broken_file_is_kept_up_to_where_it_breaks(
    indexed: tuple[Path, Path, dict[str, object]],
) -> None:
    videos, catalog, _ = indexed
    video = videos / "odd" / "decord_corrupted.mp4"
    done = vmrtool("catalog", "show", video, "--catalog", catalog, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert "2.80" in json.dumps(shown), "marked with where it ends"
    snippets = shown["snippets"]
    assert snippets[-1]["cell"][1] == pytest.approx(2.8, abs=0.05)


def test_a_search_of_real_footage_answers(
    indexed: tuple[Path, Path, dict[str, object]],
) -> None:
    _, catalog, _ = indexed
    done = vmrtool("search", "the red circle moves left", "--catalog", catalog, "--top", "3")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["moments"]) == 3
