import numpy as np
import pytest

from vmrtool.datasets.prior import fit_prior
from vmrtool.datasets.samples import Sample
from vmrtool.evaluation.baselines import (
    prior_spans,
    random_start_then_end,
    random_two_points,
    random_windows,
    whole_video,
)
from vmrtool.evaluation.metrics import score, truths_of


def samples(*windows: tuple[float, float], duration: float = 20.0) -> list[Sample]:
    return [Sample(k, f"v{k}", "q", (window,), duration) for k, window in enumerate(windows)]


def test_whole_video() -> None:
    asked = samples((0.0, 20.0), (0.0, 10.0), (5.0, 9.0))
    figures = score(whole_video(asked), truths_of(asked, "raw"))
    assert figures["R@1_IoU0.7"] == pytest.approx(100 / 3)
    assert figures["R@1_IoU0.5"] == pytest.approx(200 / 3)
    assert figures["mIoU"] == pytest.approx(100 * (1 + 0.5 + 0.2) / 3)


def test_the_prior_is_where_most_training_moments_are() -> None:
    # Half of the moments cover the first 40 % of their video, whatever its length.
    training = [
        *samples(*[(0.0, 8.0)] * 5, duration=20.0),
        *samples(*[(0.0, 16.0)] * 5, duration=40.0),
        *samples((15.0, 20.0), (15.0, 20.0), (10.0, 12.0), (9.0, 11.0), duration=20.0),
    ]
    prior = fit_prior(training)
    assert prior[0] == pytest.approx((0.0, 0.4, 10 / 14))
    assert prior[1][:2] == pytest.approx((0.75, 1.0))
    assert len(prior) == 5
    spans = np.array(prior)[:, :2]
    assert (spans[:, 0] < spans[:, 1]).all()
    assert prior_spans(samples((1.0, 2.0), duration=10.0), prior)[0][0][:2] == (0.0, 4.0)


def test_the_prior_survives_moments_past_the_videos_end() -> None:
    prior = fit_prior(samples((15.0, 29.0), (16.0, 21.0)))
    assert prior[0][1] == pytest.approx(1.0)


def test_no_prior_where_every_moment_lies_past_its_video() -> None:
    assert fit_prior(samples((25.0, 29.0), (20.0, 21.0))) == []


def test_two_points_of_the_video() -> None:
    asked = samples(*[(0.0, 1.0)] * 4000, duration=20.0)
    drawn = random_two_points(asked, seed=0)
    assert all(len(moments) == 5 for moments in drawn)
    spans = np.array([moments[0][:2] for moments in drawn])
    assert (spans[:, 0] <= spans[:, 1]).all()
    assert spans[:, 0].mean() == pytest.approx(20 / 3, abs=0.2)
    assert spans[:, 1].mean() == pytest.approx(40 / 3, abs=0.2)
    assert random_two_points(asked[:5], seed=0) != random_two_points(asked[:5], seed=1)
    assert random_two_points(asked[:5], seed=0) == random_two_points(asked[:5], seed=0)


def test_a_start_and_then_an_end() -> None:
    drawn = random_start_then_end(samples(*[(0.0, 1.0)] * 4000, duration=20.0), seed=0)
    spans = np.array([moments[0][:2] for moments in drawn])
    assert spans[:, 0].mean() == pytest.approx(10.0, abs=0.3)
    assert spans[:, 1].mean() == pytest.approx(15.0, abs=0.3)
    assert (spans[:, 0] <= spans[:, 1]).all()
    assert spans[:, 1].max() <= 20.0


def test_windows_without_overlap() -> None:
    (moments,) = random_windows(samples((0.0, 1.0), duration=6.0), seed=0)
    # Two windows of 64 frames, one of 128, none of 256: three candidates, each once.
    spans = np.array(sorted(moments))[:, :2]
    assert spans == pytest.approx(np.array([(0, 8 / 3), (0, 16 / 3), (8 / 3, 16 / 3)]))
    (short,) = random_windows(samples((0.0, 1.0), duration=2.0), seed=0)
    assert short == [(0.0, 2.0, 1.0)]
