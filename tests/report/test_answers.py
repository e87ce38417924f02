"""Answers as a table, as JSON and as JSON lines, letter by letter."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from vmrtool.report.jsonout import write_json, write_jsonl
from vmrtool.report.table import bar, moments_table
from vmrtool.search.result import Moment, SearchResult

RESULT = SearchResult(
    query="person opens a [door]",
    model="charades",
    catalog="/archive/vmrtool.db",
    videos_searched=1334,
    shortlisted=50,
    windows_grounded=121,
    elapsed_ms=183.4,
    moments=(
        Moment(1, "/archive/kitchen/AO8RW.mp4", 3.04, 12.96, 0.8712345678901234, 0.71, 0.031),
        Moment(2, "/archive/[b]hall\x1b.mp4", 3599.96, 3725.0, 0.5, 0.4, 0.02),
        Moment(
            3, "/elsewhere/a film.mkv", 0.1, 2 / 3, 0.004, 0.1, 0.01, video_b64="L2Vsc2V3aGVyZQ=="
        ),
    ),
)
NOTHING = SearchResult("a cat", "blocks", "/archive/vmrtool.db", 1, 1, 1, 9.6, ())

TABLE = """\
“person opens a [door]”
#   video                        from          to   score
──────────────────────────────────────────────────────────────────
1   kitchen/AO8RW.mp4       0:00:03.0   0:00:13.0   0.871 ███████
2   [b]hall�.mp4            1:00:00.0   1:02:05.0   0.500 ████
3   /elsewhere/a film.mkv   0:00:00.1   0:00:00.7   0.004
model charades · 1,334 videos searched · 50 shortlisted · 121 windows grounded · 183 ms
"""


def drawn(result: SearchResult, width: int = 90) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(moments_table(result, base=Path("/archive")))
    text = console.file.getvalue()
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def test_table() -> None:
    assert drawn(RESULT) == TABLE


def test_a_table_of_nothing_says_so() -> None:
    assert drawn(NOTHING) == (
        "“a cat”\nno moments\n"
        "model blocks · 1 video searched · 1 shortlisted · 1 window grounded · 10 ms\n"
    )


def test_a_narrow_terminal_folds_names_and_keeps_numbers() -> None:
    text = drawn(RESULT, width=60)
    assert "0:00:13.0" in text and "0.871" in text
    assert all(len(line) <= 60 for line in text.splitlines())


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "    "), (1.0, "████"), (0.5, "██  "), (0.53125, "██▏ "), (-1.0, "    "), (9.0, "████")],
)
def test_bar(share: float, text: str) -> None:
    assert bar(share, cells=4) == text


def test_json_is_the_documented_object_with_numbers_as_they_are() -> None:
    out = io.StringIO()
    write_json(RESULT.to_dict(), out)
    text = out.getvalue()
    assert text.startswith('{\n  "schema": "vmrtool.search/1",\n  "query": "person opens a [door]"')
    assert '"end": 0.6666666666666666' in text and '"score": 0.8712345678901234' in text
    assert json.loads(text) == {
        "schema": "vmrtool.search/1",
        "query": "person opens a [door]",
        "model": "charades",
        "catalog": "/archive/vmrtool.db",
        "videos_searched": 1334,
        "shortlisted": 50,
        "windows_grounded": 121,
        "elapsed_ms": 183.4,
        "moments": [
            {
                "rank": 1,
                "video": "/archive/kitchen/AO8RW.mp4",
                "start": 3.04,
                "end": 12.96,
                "score": 0.8712345678901234,
                "similarity": 0.71,
                "grounding": 0.031,
            },
            {
                "rank": 2,
                "video": "/archive/[b]hall\x1b.mp4",
                "start": 3599.96,
                "end": 3725.0,
                "score": 0.5,
                "similarity": 0.4,
                "grounding": 0.02,
            },
            {
                "rank": 3,
                "video": "/elsewhere/a film.mkv",
                "start": 0.1,
                "end": 2 / 3,
                "score": 0.004,
                "similarity": 0.1,
                "grounding": 0.01,
                "video_b64": "L2Vsc2V3aGVyZQ==",
            },
        ],
    }


def test_json_lines_are_one_object_a_line() -> None:
    out = io.StringIO()
    write_jsonl({"query": "Tür öffnen\nnow", "moments": []}, out)
    write_jsonl(NOTHING.to_dict(), out)
    first, second = out.getvalue().splitlines()
    assert first == '{"query": "Tür öffnen\\nnow", "moments": []}'
    assert json.loads(second) == NOTHING.to_dict()


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json({"score": float("nan")}, io.StringIO())


def test_a_moment_knows_its_file_whatever_its_name() -> None:
    assert Moment(1, "/a/b.mp4", 0.0, 1.0, 0.5, 0.5, 0.5).path == Path("/a/b.mp4")
    odd = Moment(1, "/a/\ufffd.mp4", 0.0, 1.0, 0.5, 0.5, 0.5, video_b64="L2Ev/y5tcDQ=")
    assert bytes(odd.path) == b"/a/\xff.mp4"
