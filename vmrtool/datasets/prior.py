"""Where moments lie in training videos, whatever the query says: the guess that needs no eyes."""

from collections.abc import Sequence

import numpy as np

from vmrtool.datasets.labels import span_iou
from vmrtool.datasets.samples import Sample, clip_windows

_BINS = 40  # start and end fall on fortieths of the video
_APART = 0.5  # IoU above which two spans of the prior count as the same

PriorSpan = tuple[float, float, float]
"""Start and end as shares of the video, and the share of training moments it fits."""


def fit_prior(samples: Sequence[Sample], *, count: int = 5) -> list[PriorSpan]:
    """The spans that fit most training moments, as shares of the video: (start, end, weight).

    Training moments are counted in a histogram of start and length, in fortieths of the video.
    The first span is the one that most of them overlap at an IoU of 0.5; each further one is the
    best for the moments that the ones before it miss and is no near copy of them. This is the
    strongest guess that the annotations alone allow, stronger than drawing from the histogram.
    Where no moment lies inside its video there is no guess: [].
    """
    inside = [
        (start / sample.duration, end / sample.duration)
        for sample in samples
        for start, end in clip_windows(sample.windows, sample.duration)
    ]
    if not inside:
        return []
    shares = np.array(inside)
    grid = np.array([(i, j) for i in range(_BINS) for j in range(i + 1, _BINS + 1)]) / _BINS
    low = np.clip(np.rint(shares[:, 0] * _BINS).astype(int), 0, _BINS - 1)
    high = np.clip(np.rint(shares[:, 1] * _BINS).astype(int), low + 1, _BINS)
    binned, counts = np.unique(np.stack([low, high], axis=1), axis=0, return_counts=True)
    iou = span_iou(grid, binned / _BINS)  # (grid, distinct training spans)
    fits = (iou >= 0.5) * counts[None, :].astype(np.float64)
    # Mean IoU settles which of several spans that fit equally many moments is taken.
    tie = (iou * counts).sum(axis=1) / counts.sum()
    open_spans = np.ones(len(grid), dtype=bool)
    chosen: list[PriorSpan] = []
    for _ in range(count):
        weight = np.where(open_spans, fits.sum(axis=1) + tie, -1.0)
        best = int(weight.argmax())
        start, end = grid[best].tolist()
        chosen.append((start, end, float(fits[best].sum() / counts.sum())))
        fits[:, iou[best] >= 0.5] = 0.0
        open_spans &= span_iou(grid, grid[best : best + 1])[:, 0] < _APART
    return chosen
