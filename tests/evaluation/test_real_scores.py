"""Scores on the real annotations that are known from elsewhere, to the printed digits."""

from pathlib import Path

import numpy as np
import pytest

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
