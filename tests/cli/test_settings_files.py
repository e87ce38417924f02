"""Options set in files and the environment: who wins, what is refused, what is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vmrtool.catalog import Catalog
from vmrtool.cli import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a catalog that has five roots' worth of nothing."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    Catalog.create_or_open(here / "vmrtool.db").close()
    return here


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, (result.output, result.exception)
    return result


def beside(folder: Path, text: str) -> Path:
    path = folder / "vmrtool.toml"
    path.write_text(text, encoding="utf-8")
    return path


def users(folder: Path, text: str) -> Path:
    path = folder.parent / "config" / "vmrtool" / "vmrtool.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def setting(command: str, option: str, *words: str) -> tuple[Any, str]:
    told = json.loads(run("config", "--json", *words).stdout)["options"]
    return next(
        (row["value"], row["source"])
        for row in told
        if (" ".join(row["command"]), row["option"]) == (command, option)
    )


def test_each_place_wins_over_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`catalog list --state` shows which value the command itself gets."""

    def listed(*words: str) -> Result:
        return CliRunner().invoke(app, ["catalog", "list", *words])

    assert setting("search", "top") == (10, "default")
    mine = users(folder, '[search]\ntop = 1\n[catalog.list]\nsince = "mine"\n')
    assert setting("search", "top") == (1, str(mine))
    assert "'mine' is no time" in listed().stderr
    theirs = beside(folder, '[search]\ntop = 2\n[catalog.list]\nsince = "beside"\n')
    assert setting("search", "top") == (2, str(theirs))
    assert "'beside' is no time" in listed().stderr
    monkeypatch.setenv("VMRTOOL_SEARCH_TOP", "3")
    monkeypatch.setenv("VMRTOOL_CATALOG_LIST_SINCE", "env")
    assert setting("search", "top") == (3, "$VMRTOOL_SEARCH_TOP")
    assert "'env' is no time" in listed().stderr
    assert "'flag' is no time" in listed("--since", "flag").stderr


def test_the_file_lies_beside_the_catalog_that_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = folder / "other"
    other.mkdir()
    path = beside(other, "[search]\nper_video = 7\n")
    for words in (["--catalog", "other/v.db"], ["--catalog=other/v.db"]):
        assert setting("search", "per-video", *words) == (7, str(path))
    assert setting("search", "per-video") == (3, "default")
    monkeypatch.setenv("VMRTOOL_CATALOG", str(other / "v.db"))
    assert setting("search", "per-video") == (7, str(path))
    assert setting("search", "catalog") == ([str(other / "v.db")], "$VMRTOOL_CATALOG")


def test_the_environments_catalog_wins_over_a_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users(folder, f'[catalog.info]\ncatalog = "{folder}/file.db"\n')
    assert "file.db: no such catalog" in run("catalog", "info", code=3).stderr
    monkeypatch.setenv("VMRTOOL_CATALOG", str(folder / "env.db"))
    assert "env.db: no such catalog" in run("catalog", "info", code=3).stderr
    assert run("catalog", "info", "--catalog", "vmrtool.db").exit_code == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[serach]\ntop = 1\n", ["unknown key serach", "Did you mean search?"]),
        ("[search]\ntpo = 1\n", ["unknown key [search] tpo", "Did you mean top?"]),
        ("[catalog.list]\nzzz = 1\n", ["[catalog.list] zzz", "Known there: catalog, json"]),
        ("top = 1\n", ["unknown key top"]),
        ("[search]\ntop = 0\n", ["0 does not fit vmrtool search --top"]),
        ('[search]\ntop = "many"\n', ["'many' does not fit vmrtool search --top"]),
        ('[search]\nformat = "yaml"\n', ["'yaml' does not fit vmrtool search --format"]),
        ("[search]\ntop = [1, 2]\n", ["does not fit"]),
        ("[search]\nmodel = true\n", ["does not fit"]),
        ("[search]\ntop = {a = 1}\n", ["unknown key [search] top"]),
        ("[search\n", ["not TOML"]),
    ],
)
def test_what_does_not_fit_is_refused_with_its_file(
    folder: Path, text: str, told: list[str]
) -> None:
    path = beside(folder, text)
    error = run("catalog", "info", code=2).stderr
    assert str(path) in error.replace("\n", "") and all(part in error for part in told)
    assert run("catalog", "info", "--help").exit_code == 0


def test_a_variable_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMRTOOL_SEARCH_TOP", "many")
    assert "$VMRTOOL_SEARCH_TOP" in run("catalog", "info", code=2).stderr


def test_lists_flags_and_choices(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside(folder, '[index]\nexclude = ["a b", "c"]\nprune = true\n[search]\nformat = "jsonl"\n')
    assert setting("index", "exclude")[0] == ["a b", "c"]
    assert setting("index", "prune")[0] is True
    assert setting("search", "format")[0] == "jsonl"
    beside(folder, '[index]\nexclude = "one"\n')
    assert setting("index", "exclude")[0] == ["one"]
    monkeypatch.setenv("VMRTOOL_INDEX_EXCLUDE", "raw *_proxy")
    assert setting("index", "exclude") == (["raw", "*_proxy"], "$VMRTOOL_INDEX_EXCLUDE")
    monkeypatch.setenv("VMRTOOL_INDEX_PRUNE", "1")
    assert setting("index", "prune") == (True, "$VMRTOOL_INDEX_PRUNE")


def test_for_people_only_what_is_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vmrtool.cli import config

    monkeypatch.setattr(config, "print_json", lambda asked, told: False)
    path = beside(folder, "[search]\ntop = 2\n")
    lines = run("config").stdout.splitlines()
    assert lines[0] == str(path) and lines[1].endswith("(not there)")
    assert lines[2] == f"search --top = 2  ({path})"
    assert "search --shortlist = 50  (default)" in run("config", "--all").stdout


def test_doctor_tells_the_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vmrtool import doctor

    for look in ("_software", "_devices", "_video", "_models", "_disk"):
        monkeypatch.setattr(doctor, look, lambda *_: iter(()))
    path = beside(folder, "[search]\ntop = 2\n")
    told = json.loads(run("doctor", "--json").stdout)["findings"]
    found = {row["name"]: row["found"] for row in told if row["topic"] == "settings"}
    assert found["search --top"] == f"2 ({path})"
