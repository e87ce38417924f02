import json
from pathlib import Path

import pytest

from vmrtool.datasets.samples import Sample
from vmrtool.errors import DataError
from vmrtool.evaluation.predictions import read_predictions, write_predictions

SAMPLES = [
    Sample(0, "a", "opens", ((0.0, 1.0),), 9.0),
    Sample("x1", "a", "closes", ((0.0, 1.0),), 9.0),
    Sample(2, "a", "opens", ((3.0, 4.0),), 9.0),
]


def write(folder: Path, *rows: dict | str) -> Path:
    path = folder / "predictions.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_round_trip_keeps_every_digit(tmp_path: Path) -> None:
    predictions = [[(0.1 + 0.2, 1 / 3, 0.9), (1.0, 2.0, 0.1)], [], [(5.0, 6.0, 1e-12)]]
    write_predictions(tmp_path / "out" / "p.jsonl", SAMPLES, predictions)
    assert read_predictions(tmp_path / "out" / "p.jsonl", SAMPLES) == predictions
    first = json.loads((tmp_path / "out" / "p.jsonl").read_text().splitlines()[0])
    assert list(first) == ["qid", "vid", "query", "pred_relevant_windows"]


def test_rows_without_qid_are_matched_in_order(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"vid": "a", "query": "opens", "pred_relevant_windows": [[1, 2]]},
        {"vid": "a", "query": "opens", "pred_relevant_windows": [[3, 4, 0.5]]},
    )
    assert read_predictions(path, SAMPLES) == [[(1.0, 2.0, 0.0)], (), [(3.0, 4.0, 0.5)]]


def test_qids_may_come_in_any_order_and_kind(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"qid": "2", "pred_relevant_windows": [[3, 4]]},
        {"qid": "x1", "vid": "a", "query": "closes", "pred_relevant_windows": [[5, 6]]},
    )
    assert read_predictions(path, SAMPLES) == [(), [(5.0, 6.0, 0.0)], [(3.0, 4.0, 0.0)]]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"qid": 0, "vid": "b", "pred_relevant_windows": []}, "vid of qid 0 is 'b'"),
        ({"qid": 0, "query": "shuts", "pred_relevant_windows": []}, "query of qid 0 is 'shuts'"),
        ({"qid": 9, "pred_relevant_windows": []}, "qid 9 is not in the data set"),
        ({"vid": "a", "query": "shuts", "pred_relevant_windows": []}, "no query of the data set"),
        ({"qid": 2, "pred_relevant_windows": []}, "second prediction for the query of line 1"),
        ({"qid": 0, "pred_relevant_windows": [[1]]}, "not a list"),
        ({"qid": 0, "pred_relevant_windows": [[1, None]]}, "not a list"),
        ({"qid": 0}, "not a list"),
        ("[]", "not a JSON object"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: dict | str, why: str) -> None:
    path = write(tmp_path, {"qid": 2, "pred_relevant_windows": [[3, 4]]}, row)
    with pytest.raises(DataError, match=f"line 2: .*{why}"):
        read_predictions(path, SAMPLES)


def test_files_that_are_no_predictions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such predictions"):
        read_predictions(tmp_path / "none.jsonl", SAMPLES)
    with pytest.raises(DataError, match="not JSON lines"):
        read_predictions(write(tmp_path, "{"), SAMPLES)
    with pytest.raises(DataError, match="no prediction in it"):
        read_predictions(write(tmp_path, ""), SAMPLES)
