"""The documentation against the code: links, commands and options, fields of every format."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_schemas import assert_valid, fields_of
from synthetic import write_archive
from typer.main import get_command
from typer.testing import CliRunner

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FailureRow, FileFacts, FoundFile, StoredSnippets
from vmrtool.cli import ANYWHERE, app
from vmrtool.datasets.export import export_features
from vmrtool.datasets.samples import Sample
from vmrtool.evaluation.predictions import write_predictions
from vmrtool.evaluation.printed import PRINTED
from vmrtool.features.backbones import load_backbone
from vmrtool.features.extract import Snippets
from vmrtool.features.published import BACKBONES
from vmrtool.grounding.config import GroundingConfig
from vmrtool.indexing.report import IndexReport
from vmrtool.search.result import Moment, SearchResult
from vmrtool.training.settings import RetrievalSettings, TrainingSettings

REPOSITORY = Path(__file__).parent.parent.parent
DOCS = REPOSITORY / "docs"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "models/*/*.md", "benchmarks/*.md")
    for path in REPOSITORY.glob(pattern)
)
IDS = [str(page.relative_to(REPOSITORY)) for page in PAGES]
COMMANDS = get_command(app)

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SCHEMA = re.compile(r"vmrtool\.[a-z]+/\d+")
FIGURE = re.compile(r"\b(R@\d+_IoU|mIoU|video_R@|corpus_R@)[\w.]*")
# Names in files that are no JSON objects of their own.
NO_OBJECTS = {"vmrtool.model/1", "vmrtool.vectors/1"}
# What a caller chooses, so that its fields are not the format's.
FREE = {
    "baselines",
    "settings",
    "fixes",
    "prior",
    "network",
    "training",
    "retrieval",
    "losses",
    "validation",
}


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def prose(text: str) -> str:
    return FENCED.sub("", text)


# Links -----------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The ids that headings get, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+)$", prose(text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (
            anchor and anchor not in anchors(target.read_text(encoding="utf-8"))
        ):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](#three) [c](none.md) [d](https://x.org)\n")
    assert broken_links(page) == ["#three", "none.md"]


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "how-to" / "scripts.html").read_text(encoding="utf-8")
    assert "<code>examples/search.sh</code>" in page  # what is not in the site is no link there
    assert 'href="../formats.html#vmrtoolsearch1"' in page
    assert (tmp_path / "site" / "images" / "concepts.svg").is_file()


# Commands --------------------------------------------------------------------------------------


def commands_in(text: str) -> Iterator[list[str]]:
    """Every `vmrtool …` of a page, in fenced blocks and inline, as words."""
    spans = [span for span in INLINE.findall(prose(text)) if span.startswith("vmrtool ")]
    for language, block in FENCED.findall(text):
        if language in ("sh", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                spans += re.findall(r"(?:^|\| *|&& *|\$ )(?:\S*/)?(vmrtool [^|&>]*)", line)
    for span in spans:
        yield shlex.split(span.replace("…", " "), comments=True)[1:]


def mistakes(words: list[str]) -> list[str]:
    """What of a command does not exist: the command itself, or its options."""
    command: Any = COMMANDS
    wrong = []
    for word in words:
        word = word.strip("[]")
        if hasattr(command, "commands") and not word.startswith("-"):
            if word not in command.commands:
                return [*wrong, word]
            command = command.commands[word]
        elif word.startswith("-") and word != "-" and word.split("=")[0] not in options_of(command):
            wrong.append(word)
    return wrong


def options_of(command: Any) -> set[str]:
    named = (name for option in command.params for name in (*option.opts, *option.secondary_opts))
    names = {name for name in named if name.startswith("-")}
    return names | {"--help", "-h", *ANYWHERE}


def all_options(command: Any = COMMANDS) -> set[str]:
    below = getattr(command, "commands", {}).values()
    return options_of(command).union(*(all_options(sub) for sub in below))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_and_their_options_exist(page: Path) -> None:
    wrong = {
        " ".join(words): found
        for words in commands_in(page.read_text(encoding="utf-8"))
        if (found := mistakes(words))
    }
    assert wrong == {}


def test_wrong_commands_are_seen() -> None:
    text = (
        "```sh\nvmrtool serach x\n.venv/bin/vmrtool index D \\\n  --stride 8 --fast\n"
        'cat q | vmrtool search --queries - | wc\nvmrtool search "a" --top=3  # --none\n```\n'
        "`vmrtool catalog shew`, `vmrtool --debug …` and `vmrtool index DIR [--weights FILE]`\n"
    )
    assert [mistakes(words) for words in commands_in(text)] == [
        ["shew"], [], [], ["serach"], ["--fast"], [], [],
    ]  # fmt: skip


def without_help(command: Any, name: str) -> list[str]:
    """The commands and options below `name` that do not say what they are."""
    found = [] if command.help else [name]
    found += [f"{name} {option.name}" for option in command.params if not option.help]
    for word, below in getattr(command, "commands", {}).items():
        found += without_help(below, f"{name} {word}")
    return found


def test_every_command_and_option_has_help() -> None:
    assert without_help(COMMANDS, "vmrtool") == []


@pytest.mark.parametrize("page", ["guide.md", "formats.md", "models.md", "scaling.md"])
def test_options_named_in_passing_exist(page: str) -> None:
    spans = INLINE.findall(prose(text_of(page)))
    named = {word for span in spans for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", span)}
    assert named and named <= all_options()


def test_every_command_is_in_the_guide() -> None:
    guide = text_of("guide.md")
    for name, command in COMMANDS.commands.items():
        for words in [[name, sub] for sub in getattr(command, "commands", {})] or [[name]]:
            assert f"vmrtool {' '.join(words)} " in guide + " ", words


# Formats ---------------------------------------------------------------------------------------


def documented(heading: str, table: int = 0) -> list[str]:
    """First column of a section's table, the names in backticks."""
    section = re.split(rf"^#+ {re.escape(heading)}$", text_of("formats.md"), flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    tables = re.findall(r"^\|---.*\n((?:\|.*\n)+)", section, re.MULTILINE)
    rows = tables[table].splitlines()
    return [name for row in rows for name in INLINE.findall(row.split("|")[1])]


def flat(value: Any, name: str = "") -> set[str]:
    """The fields of a JSON value, as the tables name them: `a`, `a.b`, `a[].b`."""
    if isinstance(value, list):
        return set().union(*(flat(item, f"{name}[]") for item in value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        key = FIGURE.sub("FIGURE", key)
        path = f"{name}.{key}".lstrip(".") if not name.endswith("[]") else f"{name}.{key}"
        found.add(path)
        if key not in FREE:
            found |= flat(inner, path)
    return found


def parents_left_out(names: set[str]) -> set[str]:
    """Fields that only hold other ones need no row of their own."""
    return {
        name for name in names if not any(other.startswith(f"{name}.") for other in names - {name})
    }


def assert_documented(heading: str, value: Any, table: int = 0) -> None:
    found, told = flat(value), documented(heading, table)
    assert len(told) == len(set(told))
    assert parents_left_out(found) <= set(told) <= found


def test_schemas_of_code_and_page_are_the_same() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (REPOSITORY / "vmrtool").rglob("*.py"))
    assert set(SCHEMA.findall(text_of("formats.md"))) == set(SCHEMA.findall(source))


def test_every_object_has_a_json_schema_of_its_documented_fields() -> None:
    page = text_of("formats.md")
    names = set(SCHEMA.findall(page)) - NO_OBJECTS
    files = {path.stem for path in (REPOSITORY / "vmrtool" / "schemas").glob("*.json")}
    assert files == {name.removeprefix("vmrtool.").replace("/", "-") for name in names}
    for name in sorted(names):
        heading = {"vmrtool.features/1": "Feature files"}.get(name, name)
        if name == "vmrtool.run/1":
            told = set(documented("The run folder", table=1))
        elif name == "vmrtool.modelinfo/1":
            told = {"schema", *documented(name, 0), *documented(name, 1)}
            told |= {row.split("[].")[1] for row in documented("vmrtool.models/1") if "[]." in row}
        else:
            told = set(documented(heading))
        # What a section says of a field's own fields may stand in another section.
        found = {field for field in fields_of(name) if not field.startswith(("train.", "words."))}
        told = {field for field in told if not field.startswith(("train.", "words."))}
        assert parents_left_out(found) <= told <= found, name


def test_a_schema_refuses_what_it_does_not_say() -> None:
    from jsonschema import ValidationError

    good = {"schema": "vmrtool.relocate/1", "catalog": "v.db", "moved": 1, "found": 1, "merged": 0}
    assert_valid(good)
    for wrong in ({"moved": "1"}, {"moved": -1}, {"more": 1}, {"catalog": None}):
        with pytest.raises(ValidationError):
            assert_valid(good | wrong)


def test_examples_are_json() -> None:
    for language, block in FENCED.findall(text_of("formats.md") + text_of("guide.md")):
        if language == "json":
            example = json.loads(block)
            assert example
            if "schema" in example:
                assert_valid(example)


def test_index_and_search() -> None:
    odd = Path("/videos/\udcff.mp4")
    failure = FailureRow(odd, "open", "empty", None, 1, "2026-11-23T00:00:00+00:00")
    report = IndexReport(Path("/v.db"), 1, 0, 0, 0, 0, (failure,), 1.0, 1.0)
    assert_documented("vmrtool.index/1", assert_valid(report.to_dict()))
    moment = Moment(1, "v.mp4", 0.0, 1.0, 0.5, 0.5, 0.5, video_b64="dg==")
    found = SearchResult("q", "m", "v.db", 1, 1, 1, 1.0, (moment,), catalogs=("v.db",))
    assert_documented("vmrtool.search/1", assert_valid(found.to_dict()))


def test_extract_and_feature_files() -> None:
    from vmrtool.indexing.extraction import ExtractReport, FailedVideo
    from vmrtool.indexing.feature_files import Target, about
    from vmrtool.indexing.source import ExtractorSource

    odd = FoundFile(Path("/videos/\udcff.mp4"), Path("/videos"), 1, 1)
    failure = FailedVideo(odd.path, "open", "empty", None)
    target = Target(odd, Path("/out/a.npy"))
    report = ExtractReport(Path("/out"), (target,), (), (failure,), 1.0, 1.0)
    assert_documented("vmrtool.extract/1", assert_valid(report.to_dict()))
    spans = np.array([[0.0, 1.0]])
    snippets = Snippets(np.zeros((1, 4), np.float16), spans, spans, 1.0, None)
    source = ExtractorSource("i3d", "0" * 64, {"stride": 16}, None)  # type: ignore[arg-type]
    facts = about(odd, "00", source, snippets)
    written = {**facts, "seen": spans.tolist(), "cells": spans.tolist()}
    assert_documented("Feature files", assert_valid(written))


def test_backbones_table() -> None:
    table = re.search(r"^\| backbone \| dim .*\n\|---.*\n((?:\|.*\n)+)", text_of("models.md"), re.M)
    assert table
    rows = {row.split("|")[1].strip(" `"): row for row in table[1].splitlines()}
    assert rows.keys() == {*BACKBONES, "blocks"}
    for name, info in {**BACKBONES, "blocks": load_backbone("blocks").info}.items():
        want = info.preprocessing
        _, _, dim, fps, frames, picture, stride, licence, weights, _ = rows[name].split("|")
        told = (int(dim), float(fps), int(frames), int(stride), licence.strip())
        assert told == (info.dim, want.fps, want.frames, info.stride, info.licence)
        kind, size = want.resize
        resized = f"shorter side {size}" if kind == "short" else f"{size[1]} x {size[0]}"
        crop = f", {want.crop[1]} x {want.crop[0]}" if want.crop else ""
        assert picture.strip() == resized + crop
        if name in ("i3d", "i3d-charades", "i3d-r50", "c3d"):
            [file] = INLINE.findall(weights)
            assert file in info.source


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog with a video that is indexed, one that failed, names that are not UTF-8."""
    path = tmp_path / "vmrtool.db"
    with Catalog.create_or_open(path) as opened:
        extractor = opened.extractor_id("i3d", "0" * 64, {"stride": 16})
        opened.use_extractor(extractor)
        spans = np.array([[0.0, 1.0]])
        stored = StoredSnippets(np.zeros((1, 4), np.float16), spans, spans)
        for name, content in (("\udcff.mp4", "a"), ("gone.mp4", "b")):
            file = FoundFile(tmp_path / name, tmp_path, 1, 1)
            opened.save_video(file, content, FileFacts(), extractor, stored)
        for name in ("\udcfe.mp4", "broken.mp4"):
            file = FoundFile(tmp_path / name, tmp_path, 1, 1)
            opened.set_failure(file, None, FileFacts(), extractor, stage="open", error="empty")
        opened.mark_missing([row for row in opened.videos() if row.path.name == "gone.mp4"])
    path.with_name(path.name + "-index-1").write_bytes(b"an index of vectors")
    return path


def test_catalog_commands(catalog: Path) -> None:
    def told(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["catalog", *words, "--catalog", str(catalog), "--json"])
        assert result.exit_code == 0, result.output
        return assert_valid(json.loads(result.stdout))

    folder = str(catalog.parent)
    assert_documented("vmrtool.catalog/1", told("info"))
    assert_documented("vmrtool.failures/1", told("failures"))
    shown = told("show", f"{folder}/\udcff.mp4") | {"failure": told("show", "broken")["failure"]}
    assert_documented("vmrtool.video/1", shown)
    assert_documented("vmrtool.export/1", told("export-features", f"{folder}/out.h5"))
    merged = CliRunner().invoke(app, ["catalog", "merge", f"{folder}/all.db", str(catalog)])
    assert_documented("vmrtool.merge/1", json.loads(merged.stdout))
    listed = told("list")["videos"]
    odd = next(row for row in listed if "video_b64" in row)
    assert_documented("vmrtool.list/1", told("list") | {"videos": [odd]})
    checked = told("verify")
    fault = dict.fromkeys(("table", "row", "error", "remedy", "repairable"))
    assert_documented("vmrtool.catalogverify/1", checked | {"faults": [fault], "left": [fault]})
    assert_documented("vmrtool.remove/1", told("remove", "\udcfe*"))
    assert told("remove", "--missing")["removed"]
    assert_documented("vmrtool.vacuum/1", told("vacuum"))
    assert_documented("vmrtool.relocate/1", told("relocate", folder, f"{folder}/elsewhere"))


def test_doctor() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    assert_documented("vmrtool.doctor/1", json.loads(result.stdout))


def test_config(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["config", "--json"])
    assert result.exit_code == 0, result.output
    assert_documented("vmrtool.config/1", json.loads(result.stdout) | {"environment": {}})


def test_settings_of_the_guide_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [block for kind, block in FENCED.findall(text_of("guide.md")) if kind == "toml"]
    (tmp_path / "vmrtool.toml").write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    told = json.loads(CliRunner().invoke(app, ["config", "--json"]).stdout)["options"]
    assert len([row for row in told if row["source"].endswith("vmrtool.toml")]) == 5


def test_exported_features(catalog: Path) -> None:
    import h5py

    with Catalog.open(catalog) as opened:
        export_features(opened, catalog.with_name("out.h5"))
    with h5py.File(catalog.with_name("out.h5")) as file:
        found = [*file.attrs, *file["gone"].attrs]
    assert sorted([*found, "duration_s"]) == sorted(documented("Exported features"))


def test_models_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One asset by hand that is right, one in a folder that is not."""
    from dataclasses import replace

    from vmrtool.assets.registry import ASSETS

    def told(*words: str, code: int = 0) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["models", *words, "--json"])
        assert result.exit_code == code, result.output
        return assert_valid(json.loads(result.stdout))

    (tmp_path / "i3d.bin").write_bytes(b"weights")
    monkeypatch.setitem(ASSETS, "i3d", replace(ASSETS["i3d"], checksum=None))
    assert_documented("vmrtool.add/1", told("add", str(tmp_path / "i3d.bin"), "--name", "i3d"))
    listed = told("list")
    assert_documented("vmrtool.models/1", listed)
    assert_documented("vmrtool.verify/1", told("verify"))
    assert_documented("vmrtool.pull/1", told("pull", "i3d", "c3d", code=1))
    for name, rows, table in (("blocks", "models", 0), ("i3d", "assets", 1)):
        more = set(told("info", name)) - {"schema"}
        more -= {key for row in listed[rows] if row["name"] == name for key in row}
        assert more == set(documented("vmrtool.modelinfo/1", table))


def test_data_commands(tmp_path: Path) -> None:
    """Word vectors of two words, and the made-up archive with its catalog."""
    from safetensors import safe_open

    from vmrtool.text.compact import CompactVectors, write_compact

    def told(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["data", *words, "--json"])
        assert result.exit_code == 0, result.output
        return assert_valid(json.loads(result.stdout))

    queries, features = write_archive(tmp_path, videos=2, seed=3)
    assert_documented("vmrtool.data/1", told("check", str(queries), "--features", str(features)))
    vectors = CompactVectors(("red",), np.zeros((1, 300), np.float32), ("red",), 0, "glove")
    write_compact(tmp_path / "glove.840B.300d.safetensors", vectors)
    with safe_open(tmp_path / "glove.840B.300d.safetensors", framework="numpy") as file:
        assert_documented("Word vectors", json.loads(file.metadata()["vmrtool"]))
    (tmp_path / "words.txt").write_text("red")
    words = ("--words", str(tmp_path / "words.txt"), "--dir", str(tmp_path), "--more", "0")
    pulled = told("pull", "glove", *words)
    # Told of a data set with features; tests/datasets/test_pull.py compares the values.
    names = ("path", "record", "licence", "videos", "left_out")
    pulled |= {"features": dict.fromkeys(names), "files": [dict.fromkeys(("path", "checksum"))]}
    assert_documented("vmrtool.datapull/1", pulled)


def test_catalog_tables(catalog: Path) -> None:
    import sqlite3

    db = sqlite3.connect(catalog)
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    real = {
        name: [row[1] for row in db.execute(f'PRAGMA table_info("{name}")')]
        for name in names
        if "sqlite_" not in name
    }
    page = text_of("catalog.md")
    tables = re.findall(r"^\| `(\w+)` \| \|\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    told = {name: re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE) for name, rows in tables}
    assert told == real
    views = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    assert {name: INLINE.findall(columns) for name, columns in views} == {
        name: [row[1] for row in db.execute(f'PRAGMA table_info("{name}")')]
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")
    }
    version = db.execute("PRAGMA user_version").fetchone()[0]
    assert f"of the tables, {version}." in page and f"\n| {version} |" in page
    [query] = [block for kind, block in FENCED.findall(text_of("formats.md")) if kind == "sql"]
    assert db.execute(query).fetchall() == [(str(catalog.parent), None, 1)]
    [script] = [block for kind, block in FENCED.findall(text_of("formats.md")) if kind == "python"]
    db.execute("UPDATE videos SET path = 'kitchen.mp4' WHERE state = 'indexed'")
    db.commit()
    values: dict[str, Any] = {}
    exec(script.replace('"vmrtool.db"', repr(str(catalog))), values)
    assert values["features"].shape == (1, 4) and values["cells"].tolist() == [[0.0, 1.0]]


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive that the guide renders, but for its pictures."""
    from vmrtool.demo import archive
    from vmrtool.demo.encode import VideoFile
    from vmrtool.demo.scenes import Scene

    def write(scene: Scene, folder: Path) -> VideoFile:
        return VideoFile(scene.vid, f"{scene.vid}.mp4", len(scene.pts), scene.duration_s)

    monkeypatch.setattr(archive, "write_video", write)
    words = ["demo", "render", str(tmp_path), "--videos", "3", "--seed", "7", "--jobs", "1"]
    told = assert_valid(json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout))
    assert_documented("vmrtool.demo/1", told)
    [shown] = [json.loads(b) for kind, b in FENCED.findall(text_of("guide.md")) if kind == "json"]
    assert told | {"directory": ""} == shown | {"directory": ""}
    rows = (tmp_path / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    assert_documented("Data sets", json.loads(rows[0]))
    [row] = [
        block
        for kind, block in FENCED.findall(text_of("formats.md"))
        if kind == "json" and '"event"' in block
    ]
    assert json.loads(row) == json.loads(rows[0])


def test_predictions(tmp_path: Path) -> None:
    sample = Sample(0, "v", "a query", ((0.0, 1.0),), 2.0)
    write_predictions(tmp_path / "p.jsonl", [sample], [[(0.0, 1.0, 0.5)]])
    row = json.loads((tmp_path / "p.jsonl").read_text())
    assert_documented("Predictions", row)


def test_settings_tables() -> None:
    page = text_of("models.md")
    for title, kind in (
        ("network", GroundingConfig),
        ("training", TrainingSettings),
        ("retrieval", RetrievalSettings),
    ):
        table = re.search(rf"^\| {title} \| default.*\n\|---.*\n((?:\|.*\n)+)", page, re.MULTILINE)
        assert table
        rows = [row.split("|")[1:3] for row in table[1].splitlines()]
        told = {name: cell for names, cell in rows for name in INLINE.findall(names)}
        real = {item.name: item.default for item in fields(kind)}
        assert told.keys() == real.keys()
        for name, cell in told.items():
            shown = cell.strip().strip("`")
            if shown == "–":
                assert not isinstance(real[name], str | int | float | tuple)
            elif isinstance(real[name], str):
                assert shown == real[name]
            else:
                expected = json.loads(shown)
                expected = tuple(expected) if isinstance(expected, list) else expected
                assert expected == real[name], name


def test_train_and_run_folder_and_eval(tmp_path: Path) -> None:
    """A run of one epoch on a made-up archive, and every file and document that comes of it."""
    from safetensors import safe_open

    from vmrtool.training.folder import RunFolder

    queries, features = write_archive(tmp_path / "archive", videos=6, seed=3)
    source = ["--dataset", str(queries), "--features", str(features), "--device", "cpu"]
    small = ["dim=8", "word_dim=4", "retrieval_dim=4"]
    out = tmp_path / "run"
    words = ["train", *source, "--out", str(out), "--epochs", "1", "--json"]
    words += [word for name in small for word in ("--set", f"network.{name}")]
    words += ["--set", "training.validation_share=0.3", "--set", "retrieval.ranking_queries=3"]
    trained = CliRunner().invoke(app, words)
    assert trained.exit_code == 0, trained.output
    told = assert_valid(json.loads(trained.stdout))
    told["failed"] = [{"folder": str(out), "error": "", "remedy": None}]  # as a grid may have it
    assert_documented("vmrtool.train/1", told)

    assert {path.name for path in out.iterdir()} == set(documented("The run folder"))
    config = assert_valid(RunFolder(out).read_config())
    # Told once elsewhere on the page: what validation and extractor hold.
    config["validation"] = config["train"]["extractor"] = None
    config |= {f"settings.{name}": None for name in config.pop("settings")}
    assert set(documented("The run folder", table=1)) == flat(config)
    assert_documented("The run folder", RunFolder(out).epochs()[0], table=2)
    assert_documented("The run folder", RunFolder(out).read_result(), table=3)

    with safe_open(out / "model.safetensors", framework="pt") as file:
        document = json.loads(file.metadata()["vmrtool"])
    document["config"] = document["recipe"] = None
    assert_documented("The model file", document)

    each = tmp_path / "each.jsonl"
    words = ["eval", *source, "--model", str(out), "--corpus", "--breakdown", "kind"]
    words += ["--searches", "--corpus-queries", "2"]
    words += ["--per-query", str(each), "--cases", "2", "--out", str(tmp_path / "cases"), "--json"]
    scored = CliRunner().invoke(app, words)
    assert scored.exit_code == 0, scored.output
    told = assert_valid(json.loads(scored.stdout) | {"printed": PRINTED["charades"].to_json()})
    assert_documented("vmrtool.eval/1", told)
    index = (tmp_path / "cases" / "cases.json").read_text(encoding="utf-8")
    assert_documented("vmrtool.cases/1", assert_valid(json.loads(index)))
    assert_documented("Figures of every query", json.loads(each.read_text().splitlines()[0]))
    figures = " ".join(documented("vmrtool.eval/1", table=1))
    assert {name for name in told["rows"][0] if FIGURE.match(name)} <= expanded(figures)


def expanded(figures: str) -> set[str]:
    """The names of a list in which `corpus_R@1_IoU0.3` … stand for all ranks and thresholds."""
    ranks = [f"corpus_R@{k}_IoU{m}" for k in (1, 5, 10, 100) for m in (0.3, 0.5, 0.7)]
    return {*figures.split(), *ranks}
