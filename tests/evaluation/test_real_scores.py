"""Scores on the real annotations that are known from elsewhere, to the printed digits."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vmrtool.cli import app
from vmrtool.datasets.named import read_named
from vmrtool.evaluation.baselines import RANDOM, whole_video
from vmrtool.evaluation.evaluate import RANDOM_DRAWS
from vmrtool.evaluation.metrics import score, truths_of
from vmrtool.evaluation.predictions import read_predictions

RECALLS = ("R@1_IoU0.3", "R@1_IoU0.5", "R@1_IoU0.7")


@pytest.fixture(scope="module")
def charades(real_data: Path):
    return read_named("charades", real_data / "charades-sta", "test").samples


@pytest.mark.parametrize(
    ("truth", "printed"),
    [("raw", [41.88, 26.24, 10.81, 26.92]), ("clipped", [41.37, 25.67, 9.95, 26.59])],
)
def test_another_systems_predictions(charades, real_data: Path, truth: str, printed: list) -> None:
    path = real_data / "predictions" / "charades_test_moment_detr.jsonl"
    figures = score(read_predictions(path, charades), truths_of(charades, truth))
    assert [round(figures[name], 2) for name in (*RECALLS, "mIoU")] == printed


@pytest.mark.parametrize(
    ("truth", "printed", "by"),
    [
        ("raw", [41.88, 26.24, 10.81, 26.92], "length"),
        ("clipped", [41.37, 25.67, 9.95, 26.59], "position"),
        ("raw", [41.88, 26.24, 10.81, 26.92], "words"),
    ],
)
def test_the_command_prints_them(
    truth: str, printed: list, by: str, real_data: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        app,
        [
            "eval", "--dataset", "charades", "--annotations", str(real_data / "charades-sta"),
            "--predictions", str(real_data / "predictions" / "charades_test_moment_detr.jsonl"),
            "--truth", truth, "--breakdown", by, "--per-query", str(tmp_path / "each.jsonl"),
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    names = (*RECALLS, "mIoU")
    assert [document[key] for key in ("dataset", "split", "truth", "pairs")] == [
        "charades test", "test", truth, 3720,
    ]  # fmt: skip
    rows = {row["method"]: row for row in document["rows"]}
    theirs = rows["charades_test_moment_detr"]
    assert [round(theirs[name]["mean"], 2) for name in names] == printed
    assert list(rows)[1:] == [
        "prior", "random", "random-two-points", "random-windows", "whole-video",
    ]  # fmt: skip
    if truth == "raw":
        assert [round(rows["whole-video"][name]["mean"], 2) for name in RECALLS] == [34.3, 0.43, 0]
    assert "moments that end past the video's length: 562" in done.stderr
    # The groups make up the whole, and so do the lines of the queries.
    groups = [r for r in document["breakdown"]["rows"] if r["method"] == theirs["method"]]
    assert len(groups) >= 3
    assert sum(group["pairs"] for group in groups) == 3720
    for name in names:
        mean = sum(group["pairs"] * group[name]["mean"] for group in groups) / 3720
        assert mean == pytest.approx(theirs[name]["mean"])
    lines = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert len(lines) == 3720 * len(rows)
    own = [line["mIoU"] for line in lines if line["method"] == theirs["method"]]
    assert np.mean(own) == pytest.approx(theirs["mIoU"]["mean"])


def test_the_whole_video(charades) -> None:
    figures = score(whole_video(charades), truths_of(charades, "raw"))
    assert [round(figures[name], 2) for name in RECALLS] == [34.30, 0.43, 0.00]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("random", [20.6, 8.5, 2.4]),
        ("random-two-points", [26.8, 10.8, 3.0]),
    ],
)
def test_chance_on_charades(charades, protocol: str, expected: list[float]) -> None:
    assert mean_of_draws(charades, protocol) == pytest.approx(expected, abs=0.7)


def test_the_papers_random_row_is_chance_over_windows(charades) -> None:
    # Printed: 8.51 at 0.5 and 3.03 at 0.7.
    assert mean_of_draws(charades, "random-windows")[1:] == pytest.approx([8.5, 3.0], abs=0.7)


def test_chance_on_activitynet(real_data: Path) -> None:
    samples = read_named("activitynet", real_data / "activitynet-captions", "val_2").samples
    found = mean_of_draws(samples, "random-two-points")
    assert found == pytest.approx([26.8, 13.5, 4.65], abs=0.7)


def mean_of_draws(samples, protocol: str) -> list[float]:
    truths = truths_of(samples, "raw")
    figures = [
        score(RANDOM[protocol](samples, seed, count=1), truths) for seed in range(RANDOM_DRAWS)
    ]
    return [float(np.mean([figure[name] for figure in figures])) for name in RECALLS]
