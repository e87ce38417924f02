"""Scores that are what they are called have no error; the rest is counted."""

import numpy as np
import pytest

from vmrtool.evaluation.calibration import calibration


def test_scores_that_are_probabilities_have_hardly_any_error() -> None:
    rng = np.random.default_rng(4)
    scores = rng.random(20_000)
    found = calibration([(s, bool(r < s)) for s, r in zip(scores, rng.random(20_000), strict=True)])
    assert found["moments"] == 20_000 and len(found["bins"]) == 10
    assert found["error"] < 0.02


def test_boasting_scores_show() -> None:
    found = calibration([(0.95, True), (0.95, False), (1.0, False), (0.05, False)])
    assert [part["moments"] for part in found["bins"]] == [1, 3]
    assert found["bins"][1]["right"] == pytest.approx(1 / 3)
    assert found["error"] == pytest.approx((3 * (2.9 / 3 - 1 / 3) + 0.05) / 4)
