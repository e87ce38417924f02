"""Several catalogs in one search: the same answers as their merger gives."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from search_catalog import random_videos, write_catalog, write_model
from typer.testing import CliRunner

import vmrtool
from vmrtool.catalog.merge import merge_catalogs
from vmrtool.cli import app
from vmrtool.errors import ModelError, UsageError
from vmrtool.search.result import SearchResult

QUERY = "a person opens the door"
VIDEOS = random_videos(9)


class Shards:
    """Nine videos in three catalogs, one content in two of them, and their merger."""

    def __init__(self, folder: Path) -> None:
        self.run = write_model(folder / "run")
        names = list(VIDEOS)
        self.parts = []
        for number in range(3):
            videos = {name: VIDEOS[name] for name in names[number::3]}
            if number == 2:
                videos["copy.mp4"] = VIDEOS["clip0.mp4"]
            part = folder / f"part{number}.db"
            self.parts.append(write_catalog(part, videos, model=str(self.run)))
        self.merged = folder / "merged.db"
        merge_catalogs(self.parts, self.merged)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards(tmp_path_factory.mktemp("shards"))


def alike(result: SearchResult) -> SearchResult:
    """What must not depend on how an archive is split."""
    return replace(result, elapsed_ms=0.0, catalog="", catalogs=(), windows_grounded=0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shortlist": 2},
        {"shortlist": 4, "top": 100, "per_video": 5, "windows_per_video": 1},
        {"video": "clip[1-5].mp4"},
        {"video": "nothing"},
    ],
)
def test_the_answer_is_that_of_the_merged_catalog(shards: Shards, options: dict) -> None:
    with vmrtool.open(shards.merged) as archive:
        expected = archive.search(QUERY, **options)
    with vmrtool.open(shards.parts) as archive:
        found = archive.search(QUERY, **options)
    assert alike(found) == alike(expected)
    assert found.catalogs == tuple(map(str, shards.parts)) and found.catalog == found.catalogs[0]
    if options == {"shortlist": 2}:
        assert expected.shortlisted < 10 and found.moments
    if not options:
        assert found.videos_searched == 10


def test_many_queries_in_one_go_are_answered_as_each_alone(shards: Shards) -> None:
    queries = [QUERY, "a door", QUERY, "the person opens a person a door"]
    with vmrtool.open(shards.parts) as archive:
        together = archive.search_many(queries, shortlist=3)
        alone = [archive.search(query, shortlist=3) for query in queries]
        assert archive.search_many([]) == []
    assert [replace(r, elapsed_ms=0.0) for r in together] == [
        replace(r, elapsed_ms=0.0) for r in alone
    ]
    assert len({r.moments for r in together}) > 1 and together[0].shortlisted in (3, 4)


def test_on_the_command_line(shards: Shards) -> None:
    many = [word for part in shards.parts for word in ("--catalog", str(part))]
    result = CliRunner().invoke(app, ["search", QUERY, "--top", "4", *many])
    assert result.exit_code == 0 and result.stderr == ""
    answer = json.loads(result.stdout)
    assert answer["catalog"] == str(shards.parts[0])
    assert answer["catalogs"] == [str(part) for part in shards.parts]
    one = CliRunner().invoke(app, ["search", QUERY, "--top", "4", "--catalog", str(shards.merged)])
    alone = json.loads(one.stdout)
    assert answer["moments"] == alone["moments"]
    assert "catalogs" not in alone


def test_a_file_that_two_catalogs_know_is_searched_once(shards: Shards, tmp_path: Path) -> None:
    first = write_catalog(tmp_path / "a.db", VIDEOS, model=str(shards.run))
    second = write_catalog(tmp_path / "b.db", random_videos(9, seed=1), model=str(shards.run))
    with vmrtool.open(first) as archive:
        expected = archive.search(QUERY)
    with vmrtool.open([first, second]) as archive:
        assert alike(archive.search(QUERY)) == alike(expected)
        archive.refresh()
        assert alike(archive.search(QUERY)) == alike(expected)


def test_an_empty_catalog_among_them_is_noted(shards: Shards, tmp_path: Path) -> None:
    empty = write_catalog(tmp_path / "empty.db", {})
    with vmrtool.open([empty, shards.merged]) as archive:
        (note,) = archive.notes
        assert note.startswith(f"{empty}: ") and archive.model == "run"
        assert archive.search(QUERY).videos_searched == 10


def test_one_model_must_answer_for_all(shards: Shards, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    alien = write_catalog(tmp_path / "alien.db", random_videos(2, seed=3), model=str(other))
    with pytest.raises(ModelError, match=r"model run.*alien\.db with other") as caught:
        vmrtool.open([shards.merged, alien])
    assert "--model" in str(caught.value.remedy)
    with vmrtool.open([shards.merged, alien], model=other) as archive:
        assert archive.search(QUERY).model == "other"
    with pytest.raises(UsageError, match="twice"):
        vmrtool.open([alien, alien])


def test_bad_numbers_are_refused(shards: Shards) -> None:
    with vmrtool.open(shards.parts) as archive:
        for option in ("top", "shortlist", "windows_per_video", "per_video"):
            with pytest.raises(UsageError, match=f"{option} is 0"):
                archive.search(QUERY, **{option: 0})
