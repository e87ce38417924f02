"""What can be scored without looking at the video: the whole video, chance, the training prior."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.samples import Sample

Moments = list[tuple[float, float, float]]


def whole_video(samples: Sequence[Sample]) -> list[Moments]:
    """One moment a query: all of the video."""
    return [[(0.0, sample.duration, 1.0)] for sample in samples]


def random_spans(samples: Sequence[Sample], seed: int, *, count: int = 5) -> list[Moments]:
    """Chance: two uniform points of the video, the earlier is the start; `count` draws a query."""
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.random((len(samples), count, 2)), axis=2)
    return [_scaled(spans, sample) for spans, sample in zip(drawn, samples, strict=True)]


def prior_spans(
    samples: Sequence[Sample], prior: Sequence[tuple[float, float, float]]
) -> list[Moments]:
    """The prior's spans, scaled to each query's video."""
    return [
        [(start * s.duration, end * s.duration, weight) for start, end, weight in prior]
        for s in samples
    ]


def _scaled(spans: NDArray[np.float64], sample: Sample) -> Moments:
    """(P, 2) shares of the video as moments in seconds."""
    return [(float(a * sample.duration), float(b * sample.duration), 1.0) for a, b in spans]
