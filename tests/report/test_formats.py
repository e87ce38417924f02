"""Every format letter by letter, read back by a program that knows it, and safe with any name."""

import base64
import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

import av
import m3u8
import opentimelineio
import pytest
from typer.testing import CliRunner
from video_clips import write_video

from vmrtool.cli import app
from vmrtool.errors import UsageError
from vmrtool.report.cues import write_cue_files
from vmrtool.report.formats import FORMATS, format_of
from vmrtool.report.paths import write_paths_null
from vmrtool.search.result import Moment, SearchResult

DOOR = Moment(1, "/a/kitchen/AO8RW.mp4", 3.04, 12.96, 0.875, -0.5, 0.03)
LATE = Moment(2, "/a/hall.mp4", 3599.9996, 3725.0, 0.5, 0.25, 0.02)
AGAIN = Moment(3, "/a/kitchen/AO8RW.mp4", 0.5, 2.0, 0.25, 0.125, 0.01)


def result(*moments: Moment, query: str = "opens a door, then <waves>") -> SearchResult:
    return SearchResult(query, "charades", "/a/vmrtool.db", 2, 2, 2, 1.5, moments)


def odd(name: bytes) -> Moment:
    key = b"/a/" + name
    shown = key.decode("utf-8", "replace")
    encoded = None if "\ufffd" not in shown else base64.b64encode(key).decode()
    return Moment(1, shown, 1.0, 2.0, 0.5, 0.5, 0.5, encoded)


def written(name: str, *answers: SearchResult) -> str:
    out = io.StringIO(newline="")
    FORMATS[name].write(answers, out)
    return out.getvalue()


ALL = result(DOOR, LATE, AGAIN)
ONE = result(DOOR, AGAIN)
GOLDEN = {
    "csv": """\
query,rank,video,start,end,score,similarity,grounding,video_b64
"opens a door, then <waves>",1,/a/kitchen/AO8RW.mp4,3.04,12.96,0.875,-0.5,0.03,
"opens a door, then <waves>",2,/a/hall.mp4,3599.9996,3725.0,0.5,0.25,0.02,
"opens a door, then <waves>",3,/a/kitchen/AO8RW.mp4,0.5,2.0,0.25,0.125,0.01,
""",
    "tsv": """\
query	rank	video	start	end	score	similarity	grounding	video_b64
opens a door, then <waves>	1	/a/kitchen/AO8RW.mp4	3.04	12.96	0.875	-0.5	0.03	
opens a door, then <waves>	2	/a/hall.mp4	3599.9996	3725.0	0.5	0.25	0.02	
opens a door, then <waves>	3	/a/kitchen/AO8RW.mp4	0.5	2.0	0.25	0.125	0.01	
""",
    "m3u": """\
#EXTM3U
#EXTINF:10,1. opens a door; then <waves>: AO8RW.mp4; 0:00:03.0
#EXTVLCOPT:start-time=3.04
#EXTVLCOPT:stop-time=12.96
/a/kitchen/AO8RW.mp4
#EXTINF:125,2. opens a door; then <waves>: hall.mp4; 1:00:00.0
#EXTVLCOPT:start-time=3599.9996
#EXTVLCOPT:stop-time=3725.0
/a/hall.mp4
#EXTINF:2,3. opens a door; then <waves>: AO8RW.mp4; 0:00:00.5
#EXTVLCOPT:start-time=0.5
#EXTVLCOPT:stop-time=2.0
/a/kitchen/AO8RW.mp4
""",
    "mpv": """\
# mpv EDL v0
%20%/a/kitchen/AO8RW.mp4,start=3.04,length=9.92,title=%51%1. opens a door, then <waves>: AO8RW.mp4, 0:00:03.0
%11%/a/hall.mp4,start=3599.9996,length=125.0004,title=%50%2. opens a door, then <waves>: hall.mp4, 1:00:00.0
%20%/a/kitchen/AO8RW.mp4,start=0.5,length=1.5,title=%51%3. opens a door, then <waves>: AO8RW.mp4, 0:00:00.5
""",  # noqa: E501
    "paths": "/a/kitchen/AO8RW.mp4\n/a/hall.mp4\n",
}
GOLDEN_ONE = {
    "vtt": """\
WEBVTT

NOTE /a/kitchen/AO8RW.mp4

00:00:00.500 --> 00:00:02.000
3. opens a door, then &lt;waves&gt; (0.250)

00:00:03.040 --> 00:00:12.960
1. opens a door, then &lt;waves&gt; (0.875)
""",
    "srt": """\
1
00:00:00,500 --> 00:00:02,000
3. opens a door, then ‹waves› (0.250)

2
00:00:03,040 --> 00:00:12,960
1. opens a door, then ‹waves› (0.875)

""",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_letter_by_letter(name: str) -> None:
    assert written(name, ALL) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN_ONE)
def test_cues_letter_by_letter(name: str) -> None:
    assert written(name, ONE) == GOLDEN_ONE[name]


JSON = """\
{
  "schema": "vmrtool.search/1",
  "query": "opens a door, then <waves>",
  "model": "charades",
  "catalog": "/a/vmrtool.db",
  "videos_searched": 2,
  "shortlisted": 2,
  "windows_grounded": 2,
  "elapsed_ms": 1.5,
  "moments": [
    {
      "rank": 1,
      "video": "/a/kitchen/AO8RW.mp4",
      "start": 3.04,
      "end": 12.96,
      "score": 0.875,
      "similarity": -0.5,
      "grounding": 0.03
    },
    {
      "rank": 3,
      "video": "/a/kitchen/AO8RW.mp4",
      "start": 0.5,
      "end": 2.0,
      "score": 0.25,
      "similarity": 0.125,
      "grounding": 0.01
    }
  ]
}
"""
TABLE = """\
“opens a door, then <waves>”
#   video                       from          to   score
─────────────────────────────────────────────────────────────────
1   /a/kitchen/AO8RW.mp4   0:00:03.0   0:00:13.0   0.875 ███████
3   /a/kitchen/AO8RW.mp4   0:00:00.5   0:00:02.0   0.250 ██
model charades · 2 videos searched · 2 shortlisted · 2 windows grounded · 2 ms
"""


class Answering:
    """Stands in for an open archive, with one answer for every query."""

    notes = ()
    index = None

    def __init__(self, answer: SearchResult) -> None:
        self._answer = answer

    def __enter__(self) -> "Answering":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def search_many(self, queries: list[str], **_: object) -> list[SearchResult]:
        return [self._answer for _ in queries]


def stdout_of(monkeypatch: pytest.MonkeyPatch, answer: SearchResult, *words: str) -> str:
    monkeypatch.setattr("vmrtool.search.shards.open_archive", lambda *_, **__: Answering(answer))
    done = CliRunner().invoke(app, ["search", "door", *words], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("name", [*GOLDEN, *GOLDEN_ONE])
def test_stdout_letter_by_letter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, wanted = (ONE, GOLDEN_ONE) if name in GOLDEN_ONE else (ALL, GOLDEN)
    assert stdout_of(monkeypatch, answer, "--format", name) == wanted[name]


def test_json_and_table_on_stdout_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stdout_of(monkeypatch, ONE) == stdout_of(monkeypatch, ONE, "--json") == JSON
    line = json.dumps(json.loads(JSON)) + "\n"
    assert stdout_of(monkeypatch, ONE, "--format", "jsonl") == line
    table = stdout_of(monkeypatch, ONE, "--format", "table")
    assert [row.rstrip() for row in table.splitlines()] == TABLE.splitlines()


def test_nothing_found_is_a_file_without_moments() -> None:
    empty = {name: written(name, result()) for name in FORMATS if name not in ("json", "jsonl")}
    head = GOLDEN["csv"].splitlines(keepends=True)[0]
    assert empty == {
        "csv": head,
        "tsv": head.replace(",", "\t"),
        "m3u": "#EXTM3U\n",
        "mpv": "# mpv EDL v0\n",
        "vtt": "WEBVTT\n",
        "srt": "",
        "edl": "TITLE: opens a door, then <waves>\nFCM: NON-DROP FRAME\n",
        "paths": "",
    }


def test_formats_by_suffix() -> None:
    assert format_of(Path("x.M3U8")) == "m3u" and format_of(Path("a/b.ndjson")) == "jsonl"
    with pytest.raises(UsageError, match="suffix"):
        format_of(Path("answers"))


# Several queries -------------------------------------------------------------------------------


def test_several_queries_share_a_head_and_keep_their_names() -> None:
    answers = result(DOOR, query="a"), result(DOOR, LATE, query="b")
    rows = list(csv.DictReader(io.StringIO(written("csv", *answers))))
    assert [(row["query"], row["rank"]) for row in rows] == [("a", "1"), ("b", "1"), ("b", "2")]
    assert written("m3u", *answers).count("#EXTM3U") == 1
    assert written("paths", *answers) == "/a/kitchen/AO8RW.mp4\n/a/hall.mp4\n"
    assert written("vtt", result(DOOR, query="a"), result(AGAIN, query="b")).count("-->") == 2


def test_cues_of_several_videos_are_refused_before_anything_is_written() -> None:
    for name in ("vtt", "srt"):
        out = io.StringIO()
        with pytest.raises(UsageError, match="2") as refused:
            FORMATS[name].write([ALL], out)
        assert "--video '/a/kitchen/AO8RW.mp4'" in str(refused.value.remedy)
        assert "--output cues/" in str(refused.value.remedy)
        assert out.getvalue() == ""


# Names that would do harm -----------------------------------------------------------------------

HOSTILE = [
    b"=cmd|' /C calc'!A0.mp4",
    b"new\nline\r.mp4",
    b'tab\t"quote" \\n.mp4',
    b"\x1b]0;owned\x07\x1b[31m.mp4",
    "\u202egpj.4pm".encode(),
    "\u2028line\u0085.mp4".encode(),
    b"--> 00:00.mp4 ",
    b"bad\xff.mp4",
    b"#EXTM3U, - %20;x.mp4",
]
NAMES = pytest.mark.parametrize("name", HOSTILE, ids=repr)


def unguarded(cell: str) -> str:
    return cell.removeprefix("'")


@NAMES
def test_csv_and_tsv_come_back_whole(name: bytes) -> None:
    for query in ("=1+1", "@x", "'quoted", "\tx", '"=1"', "-2"):
        answer = result(odd(name), query=query)
        [row] = csv.DictReader(io.StringIO(written("csv", answer), newline=""))
        _, line, rest = written("tsv", answer).split("\n")
        assert rest == ""
        codes = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}
        cells = [_decoded(cell, codes) for cell in line.split("\t")]
        for told in (row, dict(zip(row, cells, strict=True))):
            assert told["query"].startswith("'") and unguarded(told["query"]) == query
            assert unguarded(told["video"]) == answer.moments[0].video
            if told["video_b64"]:
                assert base64.b64decode(told["video_b64"]) == b"/a/" + name


def _decoded(cell: str, codes: dict[str, str]) -> str:
    text, rest = "", cell
    while rest:
        known = codes.get(rest[:2])
        text, rest = (text + known, rest[2:]) if known else (text + rest[0], rest[1:])
    return text


@NAMES
def test_a_playlist_has_one_entry_a_moment(name: bytes) -> None:
    lines = written("m3u", result(odd(name))).splitlines()
    assert [line[:11] for line in lines[:4]] == [
        "#EXTM3U", "#EXTINF:1,1", "#EXTVLCOPT:", "#EXTVLCOPT:",
    ]  # fmt: skip
    [location] = lines[4:]
    path = location.removeprefix("file://")
    found = os.fsencode(path) if path == location else unquote_to_bytes(path)
    assert found == b"/a/" + name


def test_a_playlist_is_read_by_m3u8() -> None:
    listed = m3u8.loads(written("m3u", ALL))
    assert [part.uri for part in listed.segments] == [m.video for m in ALL.moments]
    assert [part.duration for part in listed.segments] == [10, 125, 2]


@NAMES
def test_mpv_finds_names_by_their_length(name: bytes) -> None:
    text = os.fsencode(written("mpv", result(odd(name))))
    _, rest = text.split(b"\n", 1)
    _, length, rest = rest.split(b"%", 2)
    assert rest[: int(length)] == b"/a/" + name
    assert rest[int(length) :].startswith(b",start=1.0,length=1.0,title=%")


@NAMES
def test_cues_keep_their_shape(name: bytes) -> None:
    hostile = odd(name).video
    answer = result(odd(name), query=f"{hostile}\n\n9\n00:00:01.000 --> 00:00:02.000\nx")
    assert [line.count("-->") for line in written("vtt", answer).splitlines()] == [
        *(0, 0, written("vtt", answer).splitlines()[2].count("-->"), 0, 1, 0)
    ]
    assert len(written("srt", answer).splitlines()) == 4


@NAMES
def test_paths_are_bytes(name: bytes) -> None:
    out = io.StringIO(newline="")
    write_paths_null([result(odd(name))], out)
    assert os.fsencode(out.getvalue()) == b"/a/" + name + b"\0"
    if b"\n" in name:
        with pytest.raises(UsageError, match="line break"):
            written("paths", result(odd(name)))


@NAMES
def test_json_steers_no_terminal(name: bytes) -> None:
    for kind in ("json", "jsonl"):
        text = written(kind, result(odd(name))).replace("\n", "")
        assert not any(letter in text for letter in "\x1b\x07\x85\u202e\u2028")


# Read by real programs --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vtt", "srt"])
def test_cues_are_read_by_libavformat(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"cues.{name}"
    file.write_text(written(name, ONE), encoding="utf-8")
    assert [cue[:2] for cue in read_cues(file)] == [(0.5, 2.0), (3.04, 12.96)]


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_a_folder_has_the_cues_of_each_video(suffix: str, tmp_path: Path) -> None:
    twin = Moment(4, "/b/Hall.mkv", 7.0, 8.0, 0.2, 0.1, 0.01)
    other = result(twin, LATE, query="sits down")
    write_cue_files([ALL, other], tmp_path / "new", suffix)
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [
        f"AO8RW{suffix}", f"Hall-2{suffix}", f"hall{suffix}",
    ]  # fmt: skip
    starts = [[start for start, _, _ in read_cues(file)] for file in files]
    assert starts == [[0.5, 3.04], [7.0], [3600.0, 3600.0]]
    [first, second] = read_cues(files[2])
    assert first[2].startswith("2. opens a door") and second[2] == "2. sits down (0.500)"
    assert files[0].read_text("utf-8") == GOLDEN_ONE[suffix[1:]]
    write_cue_files([result()], tmp_path / "none", suffix)
    assert list((tmp_path / "none").iterdir()) == []


@NAMES
def test_cue_files_are_called_as_their_videos_are(name: bytes, tmp_path: Path) -> None:
    write_cue_files([result(odd(name))], tmp_path, ".srt")
    [file] = tmp_path.iterdir()
    assert os.fsencode(file.stem) == os.fsencode(Path(os.fsdecode(name)).stem)
    assert [(start, end) for start, end, _ in read_cues(file)] == [(1.0, 2.0)]


def test_a_long_name_leaves_room_for_the_suffix(tmp_path: Path) -> None:
    names = ["ü" * 125 + ".mp4"] * 2
    found = [Moment(1, f"/{k}/{name}", 1.0, 2.0, 0.5, 0.5, 0.5) for k, name in enumerate(names)]
    write_cue_files([result(*found)], tmp_path, ".vtt")
    assert len(list(tmp_path.glob("*.vtt"))) == 2


def read_cues(file: Path) -> list[tuple[float, float, str]]:
    """Start, end and text of a file's cues, as FFmpeg's library reads them."""
    kind = {".vtt": "webvtt", ".srt": "srt"}[file.suffix]
    with file.open("rb") as data, av.open(data, format=kind) as container:
        [stream] = container.streams
        assert stream.type == "subtitle"
        return [
            (
                float(packet.pts * packet.time_base),
                float((packet.pts + packet.duration) * packet.time_base),
                bytes(packet).decode("utf-8"),
            )
            for packet in container.demux(stream)
            if packet.size
        ]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of video at 25 frames a second, and at 29.97 with sound and a timecode."""
    from fractions import Fraction

    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "Küche one.mp4", range(0, 2000, 40))
    with av.open(folder / "black.mov", "w") as out:
        picture = out.add_stream("libx264", rate=Fraction(30000, 1001))
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        picture.metadata["timecode"] = "01:00:59;28"
        sound = out.add_stream("aac", rate=16000, layout="mono")
        for number in range(60):
            frame = av.VideoFrame(32, 32, "yuv420p")
            frame.pts = number
            out.mux(picture.encode(frame))
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate, silence.pts = 16000, 0
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        out.mux(sound.encode(silence))
        out.mux([*picture.encode(None), *sound.encode(None)])
    return folder


def moments(folder: Path, *spans: Sequence[float]) -> list[Moment]:
    names = ["Küche one.mp4", "black.mov"]
    return [
        Moment(rank, str(folder / names[int(which)]), start, end, 0.5, 0.5, 0.5)
        for rank, (which, start, end) in enumerate(spans, start=1)
    ]


def test_edl_letter_by_letter(clips: Path) -> None:
    found = moments(clips, (0, 0.52, 1.0), (1, 0.0, 1.001), (0, 1.0, 1.0))
    assert (
        written("edl", result(*found, query="a door"))
        == f"""\
TITLE: a door
FCM: NON-DROP FRAME
001  KCHEONE  V     C        00:00:00:13 00:00:01:00 01:00:00:00 01:00:00:12
* FROM CLIP NAME: Küche one.mp4
* SOURCE FILE: {clips}/Küche one.mp4
* FRAME RATE: 25.000
* COMMENT: 1. a door (0.500)
FCM: DROP FRAME
002  BLACK2   AA/V  C        01:00:59;28 01:01:01;00 01:00:00:12 01:00:01:12
* FROM CLIP NAME: black.mov
* SOURCE FILE: {clips}/black.mov
* FRAME RATE: 29.970
* COMMENT: 2. a door (0.500)
FCM: NON-DROP FRAME
003  KCHEONE  V     C        00:00:01:00 00:00:01:01 01:00:01:12 01:00:01:13
* FROM CLIP NAME: Küche one.mp4
* SOURCE FILE: {clips}/Küche one.mp4
* FRAME RATE: 25.000
* COMMENT: 3. a door (0.500)
"""
    )


def test_edl_is_read_by_opentimelineio(clips: Path) -> None:
    found = moments(clips, (0, 0.52, 1.0), (0, 1.2, 1.6))
    timeline = opentimelineio.adapters.read_from_string(
        written("edl", result(*found)), adapter_name="cmx_3600", rate=25
    )
    [track] = timeline.tracks
    ranges = [clip.source_range for clip in track]
    assert [(r.start_time.value, r.duration.value) for r in ranges] == [(13, 12), (30, 10)]
    names = {clip.metadata["cmx_3600"]["reel"] for clip in track}
    assert names == {"KCHEONE"}
    assert timeline.name == "opens a door, then <waves>"
