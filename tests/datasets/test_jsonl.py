import json
from pathlib import Path

import pytest

from vmrtool.datasets.jsonl import read_jsonl
from vmrtool.errors import DataError

ROW = {"vid": "a", "query": "a dog runs", "relevant_windows": [[1, 2]], "duration": 10}


def write(folder: Path, *rows: dict | str) -> Path:
    path = folder / "queries.jsonl"
    path.write_text(
        "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8"
    )
    return path


def test_reads_every_field_and_resolves_the_video_against_the_folder(tmp_path: Path) -> None:
    path = write(tmp_path, {**ROW, "qid": "q7", "event": "dog runs", "video": "sub/../a.mp4"}, ROW)
    first, second = read_jsonl(path).samples
    assert (first.qid, first.vid, first.query, first.event) == ("q7", "a", "a dog runs", "dog runs")
    assert first.windows == ((1.0, 2.0),)
    assert first.duration == 10.0
    assert first.video == (tmp_path / "a.mp4").resolve()
    assert (second.qid, second.event, second.video) == (1, None, None)


def test_a_qvhighlights_row_is_read(tmp_path: Path) -> None:
    row = {
        "qid": 2579, "query": "A girl and her mother cooked", "duration": 150,
        "vid": "NUsG9BgSes0_210.0_360.0", "relevant_clip_ids": [41, 42],
        "saliency_scores": [[2, 2, 4], [1, 2, 4]], "relevant_windows": [[82, 86], [90, 94]],
    }  # fmt: skip
    (sample,) = read_jsonl(write(tmp_path, row)).samples
    assert sample.windows == ((82.0, 86.0), (90.0, 94.0))


def test_fixes_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {**ROW, "relevant_windows": [[5, 3], [4, 4], [8, 12]]},
        {**ROW, "relevant_windows": []},
    )
    annotations = read_jsonl(path)
    assert [sample.windows for sample in annotations.samples] == [((3.0, 5.0), (8.0, 12.0))]
    assert annotations.fixes == {
        "moments with start after end, swapped": 1,
        "moments of no length, dropped": 1,
        "moments that end past the video's length": 1,
        "queries without a moment, left out": 1,
    }


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ({**ROW, "vid": 3}, "'vid'"),
        ({**ROW, "query": "  "}, "query is empty"),
        ({**ROW, "duration": 0}, "'duration'"),
        ({**ROW, "duration": True}, "'duration'"),
        ({**ROW, "relevant_windows": [[1, 2, 3]]}, "'relevant_windows'"),
        ({**ROW, "relevant_windows": [["1", "2"]]}, "'relevant_windows'"),
        ({**ROW, "relevant_windows": [[1, float("nan")]]}, "'relevant_windows'"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: dict | str, why: str) -> None:
    path = write(tmp_path, ROW, row)
    with pytest.raises(DataError) as error:
        read_jsonl(path)
    assert str(error.value).startswith(f"{path}, line 2: ")
    assert why in str(error.value)
    assert "relevant_windows" in (error.value.remedy or "")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data set file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no query in it"):
        read_jsonl(write(tmp_path, ""))
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_jsonl(tmp_path / "bytes.jsonl")
