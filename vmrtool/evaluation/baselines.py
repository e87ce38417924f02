"""What can be scored without looking at the video: the whole video, chance, the training prior."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.prior import PriorSpan
from vmrtool.datasets.samples import Sample
from vmrtool.evaluation.metrics import Prediction

WINDOW_SECONDS = (64 / 24, 128 / 24, 256 / 24)


def whole_video(samples: Sequence[Sample]) -> list[Prediction]:
    """One moment a query: all of the video."""
    return [[(0.0, sample.duration, 1.0)] for sample in samples]


def random_start_then_end(
    samples: Sequence[Sample], seed: int, *, count: int = 5
) -> list[Prediction]:
    """Chance: the start uniform over the video, the end uniform after it."""
    start, rest = np.random.default_rng(seed).random((2, len(samples), count))
    return _scaled(np.stack([start, start + rest * (1 - start)], axis=2), samples)


def random_two_points(samples: Sequence[Sample], seed: int, *, count: int = 5) -> list[Prediction]:
    """Chance: two uniform points of the video, the earlier is the start."""
    drawn = np.random.default_rng(seed).random((len(samples), count, 2))
    return _scaled(np.sort(drawn, axis=2), samples)


def random_windows(samples: Sequence[Sample], seed: int, *, count: int = 5) -> list[Prediction]:
    """Chance over candidates: one of all 64, 128 and 256 frames long windows at 24 fps.

    Windows of a length follow one another without overlap; a video shorter than the shortest has
    itself as the only candidate. This comes near what the paper prints as "Random".
    """
    rng = np.random.default_rng(seed)
    predictions: list[Prediction] = []
    for sample in samples:
        candidates = [
            (k * length, (k + 1) * length)
            for length in WINDOW_SECONDS
            for k in range(int(sample.duration / length))
        ] or [(0.0, sample.duration)]
        picks = rng.permutation(len(candidates))[:count]
        predictions.append([(*candidates[pick], 1.0) for pick in picks])
    return predictions


RANDOM = {
    "random": random_start_then_end,
    "random-two-points": random_two_points,
    "random-windows": random_windows,
}
"""The three protocols of chance, by the name of their row."""

PROTOCOLS = {
    "prior": "where most training moments lie, as a share of the video",
    "random": "start uniform over the video, end uniform after it",
    "random-two-points": "two uniform points of the video, the earlier is the start",
    "random-windows": "any of all 64, 128 and 256 frames long windows at 24 a second, which follow "
    "one another without overlap",
    "whole-video": "all of the video",
}
"""What each row without a model does, by its name."""


def prior_spans(samples: Sequence[Sample], prior: Sequence[PriorSpan]) -> list[Prediction]:
    """The prior's spans, scaled to each query's video."""
    return [
        [(start * s.duration, end * s.duration, weight) for start, end, weight in prior]
        for s in samples
    ]


def _scaled(spans: NDArray[np.float64], samples: Sequence[Sample]) -> list[Prediction]:
    """(Q, P, 2) shares of each query's video as moments in seconds."""
    durations = np.array([sample.duration for sample in samples])
    seconds = spans * durations[:, None, None]
    return [[(start, end, 1.0) for start, end in moments] for moments in seconds.tolist()]
