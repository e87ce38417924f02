import json
from pathlib import Path

import numpy as np
import pytest

from vmrtool.datasets.samples import Sample
from vmrtool.evaluation.groups import BREAKDOWNS
from vmrtool.evaluation.rows import Row, breakdown, joined, write_per_query

ROW = Row("ours", ({"mIoU": np.array([10.0, 20.0, 60.0])}, {"mIoU": np.array([20.0, 40.0, 90.0])}))


def test_mean_and_spread_over_seeds() -> None:
    # The two runs' means are 30 and 50: their standard deviation is 20 / sqrt(2).
    assert ROW.summary()["mIoU"] == pytest.approx({"mean": 40.0, "std": 200**0.5})
    assert ROW.to_json()["seeds"] == 2
    single = Row("one", ROW.runs[:1])
    assert single.summary()["mIoU"] == {"mean": 30.0, "std": 0.0}


def test_a_breakdown_keeps_the_order_of_ranks() -> None:
    found = breakdown([ROW], [(1, "long"), (0, "short"), (1, "long")])
    assert [(row["group"], row["pairs"]) for row in found] == [("short", 1), ("long", 2)]
    assert [row["mIoU"]["mean"] for row in found] == [30.0, 45.0]


def test_joining_data_sets() -> None:
    both = joined([{"a": np.array([1.0])}, {"a": np.array([2.0, 3.0])}])
    assert both["a"].tolist() == [1.0, 2.0, 3.0]
    assert joined([]) == {}


def test_every_query_has_its_line(tmp_path: Path) -> None:
    samples = [Sample(k, f"v{k}", "q", ((0.0, 1.0),), 9.0) for k in range(3)]
    truths = [sample.windows for sample in samples]
    answers = [[[(k, k + 2.0, 0.5)] for k in range(3)]]
    chance = Row("random", ROW.runs)
    path = tmp_path / "each.jsonl"
    write_per_query(path, samples, [ROW, chance], truths=truths, answers=answers)
    lines = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert [line["mIoU"] for line in lines] == [15.0, 30.0, 75.0] * 2
    assert lines[2]["truth"] == [[0.0, 1.0]] and lines[2]["moments"] == [[2, 4.0, 0.5]]
    assert lines[5]["moments"] is None  # each draw of chance has its own
    assert lines[2]["vid"] == "v2"


@pytest.mark.parametrize(
    ("by", "group"),
    [
        ("kind", (0, "spins")),
        ("length", (1, "3-6 s")),
        ("position", (2, "last third")),
        ("words", (0, "1-5 words")),
    ],
)
def test_ways_to_divide(by: str, group: tuple[int, str]) -> None:
    sample = Sample(0, "v", "the red circle spins.", ((7.0, 11.0),), 12.0, "red circle spins")
    assert BREAKDOWNS[by](sample) == group


def test_groups_at_their_limits() -> None:
    def length(seconds: float) -> str:
        return BREAKDOWNS["length"](Sample(0, "v", "q", ((0.0, seconds),), 60.0))[1]

    assert [length(s) for s in (2.9, 3.0, 20.0)] == ["0-3 s", "3-6 s", "20+ s"]
    late = Sample(0, "v", "one two three four five six", ((70.0, 80.0),), 60.0)
    assert BREAKDOWNS["position"](late)[1] == "last third"
    assert BREAKDOWNS["words"](late)[1] == "6-8 words"
    assert BREAKDOWNS["kind"](late)[1] == "no event named"
