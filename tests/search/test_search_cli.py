"""`vmrtool search` from the outside: stdout, stderr and exit codes."""

import io
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from json_schemas import assert_valid
from search_catalog import SETTINGS, random_videos, write_catalog, write_model
from typer.testing import CliRunner

import vmrtool
from vmrtool.cli import app

QUERY = "a person opens the door"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of four videos and its model."""
    folder = tmp_path_factory.mktemp("archive")
    run = write_model(folder / "run")
    write_catalog(folder / "vmrtool.db", random_videos(4), model=str(run))
    return folder


@pytest.fixture(autouse=True)
def _inside(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive)
    monkeypatch.setenv("COLUMNS", "200")


def search(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["search", *arguments], input=stdin)


def refused(result: Result, code: int, *words: str) -> None:
    """Exit code, nothing on stdout, one to three lines on stderr that say what and the way on."""
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert 1 <= len(result.stderr.strip().splitlines()) <= 3
    for word in words:
        assert word in result.stderr


def test_json_when_piped_and_when_asked_for() -> None:
    piped, asked = search(QUERY), search(QUERY, "--json")
    assert piped.exit_code == asked.exit_code == 0
    assert piped.stderr == ""
    answer, again = assert_valid(json.loads(piped.stdout)), json.loads(asked.stdout)
    assert answer["schema"] == "vmrtool.search/1" and len(answer["moments"]) == 10
    assert answer["moments"] == again["moments"]
    (line,) = search(QUERY, "--format", "jsonl").stdout.splitlines()
    assert json.loads(line)["moments"] == answer["moments"]


def test_the_library_gives_the_same(archive: Path) -> None:
    answer = json.loads(search(QUERY, "--top", "4", "--per-video", "1").stdout)
    with vmrtool.open(archive / "vmrtool.db") as warm:
        result = warm.search(QUERY, top=4, per_video=1).to_dict()
    assert {**answer, "elapsed_ms": 0} == {**result, "elapsed_ms": 0}


def test_a_table_for_people() -> None:
    result = search(QUERY, "--format", "table", "--top", "2")
    heading, columns, _, first, second, footing = result.stdout.splitlines()
    assert heading.strip() == f"“{QUERY}”"
    assert columns.split() == ["#", "video", "from", "to", "score"]
    assert first.split()[0] == "1" and second.split()[0] == "2"
    assert first.split()[1].startswith("clip")  # relative to where we are
    assert "4 videos searched" in footing and "model run" in footing


def test_many_queries_give_one_object_a_line_in_order(tmp_path: Path) -> None:
    file = tmp_path / "queries.txt"
    file.write_bytes("\ufeffthe door\r\nthe window\na person\n".encode())
    from_file = search("--queries", str(file), "--top", "1")
    from_stdin = search("--queries", "-", "--top", "1", "--json", stdin="the door\nthe window\n")
    answers = [json.loads(line) for line in from_file.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == ["the door", "the window", "a person"]
    again = [json.loads(line) for line in from_stdin.stdout.splitlines()]
    assert [answer["moments"] for answer in again] == [a["moments"] for a in answers[:2]]
    alone = json.loads(search("the window", "--top", "1").stdout)
    assert alone["moments"] == answers[1]["moments"]


def test_a_query_that_is_not_utf8_is_answered_in_utf8() -> None:
    result = search("caf\udce9 door", "--top", "1")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["query"] == "caf\ufffd door"
    refused(search("--queries", "-", stdin=b"caf\xe9\n"), 2, "stdin", "UTF-8")


def test_words_never_seen_are_a_warning() -> None:
    some = search("a person yodels", "--top", "1")
    assert some.exit_code == 0 and len(json.loads(some.stdout)["moments"]) == 1
    assert some.stderr == "warning: words that model run has never seen: yodels\n"
    none = search("ワニ zxcv")
    assert none.exit_code == 0 and json.loads(none.stdout)["moments"]
    assert "never seen a word of this query" in none.stderr


def test_a_glob_that_fits_nothing_is_no_error() -> None:
    result = search(QUERY, "--video", "*.avi")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["moments"] == []
    assert result.stderr == "note: No video fits '*.avi'.\n"


def test_an_empty_catalog_is_no_error(tmp_path: Path) -> None:
    write_catalog(tmp_path / "empty.db", {})
    for style in ("json", "table"):
        result = search(QUERY, "--catalog", str(tmp_path / "empty.db"), "--format", style)
        assert result.exit_code == 0
        assert "no moments" in result.stdout or json.loads(result.stdout)["moments"] == []
        assert "vmrtool index DIR" in result.stderr


@pytest.mark.parametrize("query", ["", "   ", "?!"])
def test_a_query_without_a_word_is_wrong_usage(query: str, tmp_path: Path) -> None:
    refused(search(query), 2, "query", "vmrtool search")
    refused(search(query, "--catalog", str(tmp_path / "none.db")), 2, "query")


def test_a_line_without_a_query_is_wrong_usage_and_named(tmp_path: Path) -> None:
    file = tmp_path / "queries.txt"
    file.write_text("the door\n\nthe window\n")
    refused(search("--queries", str(file)), 2, "queries.txt, line 2", "empty")
    streamed = search("--queries", "-", stdin="the door\n\n")
    assert streamed.exit_code == 2 and "stdin, line 2" in streamed.stderr
    assert json.loads(streamed.stdout)["query"] == "the door"
    file.write_bytes(b"caf\xe9\n")
    refused(search("--queries", str(file)), 2, "UTF-8")
    refused(search("--queries", str(tmp_path / "none.txt")), 2, "none.txt")


def test_a_query_or_queries_but_not_both() -> None:
    refused(search(), 2, "--queries")
    refused(search(QUERY, "--queries", "-"), 2, "both")


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("--top=0", "--top"),
        ("--shortlist=x", "--shortlist"),
        ("--format=xml", "--format"),
        ("--device=abacus", "abacus"),
    ],
)
def test_bad_values_are_wrong_usage(option: str, word: str) -> None:
    result = search(QUERY, option)
    assert result.exit_code == 2 and result.stdout == ""
    assert word in result.stderr


def test_no_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(search(QUERY, "--catalog", str(tmp_path / "none.db")), 3, "none.db", "vmrtool index")
    monkeypatch.chdir(tmp_path)
    refused(search(QUERY), 3, "no catalog", "vmrtool index")


def test_what_is_not_a_catalog(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello")
    refused(search(QUERY, "--catalog", str(tmp_path / "text.db")), 3, "text.db", "not a catalog")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE films (title TEXT)")
    refused(search(QUERY, "--catalog", str(tmp_path / "other.db")), 3, "not a vmrtool catalog")


def test_a_newer_catalog(tmp_path: Path) -> None:
    newer = write_catalog(tmp_path / "newer.db", {})
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    refused(search(QUERY, "--catalog", str(newer)), 3, "newer", "upgrade")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    refused(search(QUERY, "--model", "nosuch"), 3, "nosuch", "blocks")
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    refused(search(QUERY, "--model", str(tmp_path)), 3, "model.safetensors")
    write_catalog(tmp_path / "bare.db", random_videos(1))
    refused(search(QUERY, "--catalog", str(tmp_path / "bare.db")), 3, "--model", "vmrtool train")


def test_a_catalog_indexed_for_another_model(tmp_path: Path) -> None:
    other = write_model(tmp_path / "dense", settings={**SETTINGS, "stride": 4})
    refused(search(QUERY, "--model", str(other)), 3, "does not fit", "stride 4, not 16", "index")


def test_a_file_is_written_whole_in_the_format_of_its_suffix(tmp_path: Path) -> None:
    asked = search(QUERY, "--output", str(tmp_path / "found.csv"), "--top", "2")
    assert asked.exit_code == 0 and asked.stdout == ""
    lines = (tmp_path / "found.csv").read_text().splitlines()
    assert lines == search(QUERY, "--format", "csv", "--top", "2").stdout.splitlines()
    assert len(lines) == 3 and lines[1].startswith(f"{QUERY},1,")
    assert search(QUERY, "-o", str(tmp_path / "t.txt"), "--format", "table").exit_code == 0
    assert "videos searched" in (tmp_path / "t.txt").read_text()
    refused(search(QUERY, "--output", str(tmp_path / "found.doc")), 2, "found.doc", "--format")
    (tmp_path / "cues.vtt").write_text("before")
    refused(search(QUERY, "--output", str(tmp_path / "cues.vtt")), 2, "one video", "--video")
    assert (tmp_path / "cues.vtt").read_text() == "before"
    assert {p.name for p in tmp_path.iterdir()} == {"found.csv", "t.txt", "cues.vtt"}


def test_cues_of_many_videos_go_into_a_folder(tmp_path: Path) -> None:
    refused(search(QUERY, "--format", "srt"), 2, "one video", "--output cues/")
    done = search(QUERY, "--format", "srt", "-o", f"{tmp_path / 'cues'}/")
    assert done.exit_code == 0 and done.stdout == ""
    moments = json.loads(search(QUERY).stdout)["moments"]
    files = {path.stem: path.read_text("utf-8") for path in (tmp_path / "cues").iterdir()}
    assert files.keys() == {Path(moment["video"]).stem for moment in moments} and len(files) > 1
    for moment in moments:
        line = f"{moment['rank']}. {QUERY} ({moment['score']:.3f})"
        assert line in files[Path(moment["video"]).stem].splitlines()
    assert search(QUERY, "--format", "vtt", "-o", str(tmp_path / "cues")).exit_code == 0
    assert {path.suffix for path in (tmp_path / "cues").iterdir()} == {".srt", ".vtt"}
    refused(search(QUERY, "--format", "csv", "-o", str(tmp_path)), 2, "a folder", "vtt and srt")
    refused(search(QUERY, "-o", f"{tmp_path / 'new'}/"), 2, "a folder, not a file")
    (tmp_path / "file").touch()
    refused(search(QUERY, "--format", "vtt", "-o", f"{tmp_path / 'file'}/"), 2, "not a folder")


def test_paths_and_options_that_do_not_go_together() -> None:
    lines = search(QUERY, "--format", "paths").stdout.split("\n")
    null = search(QUERY, "--format", "paths", "-0").stdout.split("\0")
    assert lines == null and len(set(lines)) == len(lines) > 2
    refused(search(QUERY, "-0"), 2, "--format paths")
    refused(search(QUERY, "--json", "--format", "csv"), 2, "--json")


def test_many_queries_in_one_spreadsheet(tmp_path: Path) -> None:
    told = search("--queries", "-", "--top", "1", "--format", "csv", stdin="door\nwindow\n").stdout
    assert [line.split(",")[0] for line in told.splitlines()] == ["query", "door", "window"]


def test_names_that_are_not_utf8_come_out_as_their_bytes(tmp_path: Path) -> None:
    run = write_model(tmp_path / "run")
    [features] = random_videos(1).values()
    write_catalog(tmp_path / "v.db", {b"bad\xff\x1b.mp4": features}, model=str(run))
    words = ["search", "door", "--catalog", str(tmp_path / "v.db"), "--top", "1"]
    command = [sys.executable, "-m", "vmrtool", *words, "--format"]
    done = subprocess.run([*command, "paths"], capture_output=True, check=True)
    assert done.stdout.endswith(b"/bad\xff\x1b.mp4\n")
    table = subprocess.run([*command, "table"], capture_output=True, check=True)
    assert b"\x1b" not in table.stdout


def test_a_terminal_gets_no_commands_from_a_file_name() -> None:
    from vmrtool.cli.answers import _Screen

    out = io.StringIO()
    _Screen(out).write("#EXTM3U\n/a/\x1b[31m\u202e\tb.mp4\n")
    assert out.getvalue() == "#EXTM3U\n/a/\ufffd[31m\ufffd\tb.mp4\n"


def test_answers_leave_one_by_one() -> None:
    """A program that asks line by line over pipes gets each answer before it asks on."""
    command = [sys.executable, "-m", "vmrtool", "search", "--queries", "-", "--top", "1"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as running:
        assert isinstance(running.stdin, io.TextIOBase)
        assert isinstance(running.stdout, io.TextIOBase)
        for query in ("the door", "ein Café"):
            running.stdin.write(query + "\n")
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["query"] == query
        running.stdin.close()
    assert running.returncode == 0


def test_nothing_is_imported_that_a_plain_search_does_not_need(archive: Path) -> None:
    """Decoders, other models and progress bars are for those who ask for them."""
    code = f"""
import sys
from vmrtool.cli import app
try:
    app(["search", {QUERY!r}, "--json"])
except SystemExit as end:
    assert end.code == 0, end.code
needless = ("av", "h5py", "torchvision", "pytorchvideo", "sentence_transformers", "tensorboard",
            "matplotlib", "PIL", "ray", "scipy", "torch._dynamo",
            "rich.progress", "vmrtool.features.compute", "vmrtool.features.extract",
            "vmrtool.indexing.run", "vmrtool.media.decode", "vmrtool.report.answers",
            "vmrtool.report.clips", "vmrtool.training", "vmrtool.datasets")
print(*(name for name in needless if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=archive
    )
    assert json.loads(done.stdout)["moments"] and done.stderr.split() == []
