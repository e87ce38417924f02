"""Recall of moments within the given video: R@n IoU>=m and mIoU.

A prediction counts when its IoU with any of the query's true moments reaches m. mIoU is the
mean over queries of the first prediction's best IoU. A query without a prediction counts as a
miss with IoU 0. All figures are in percent.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.labels import span_iou
from vmrtool.datasets.samples import Sample, Window, clip_windows

RANKS = (1, 5)
THRESHOLDS = (0.3, 0.5, 0.7)
SLACK = 1e-9  # an IoU that is 0.7 but for rounding counts as 0.7

Prediction = Sequence[tuple[float, float, float]]  # start, end, score; best first


def metric_names() -> list[str]:
    """The names of the figures `score` gives, in order of report."""
    return [f"R@{n}_IoU{m}" for n in RANKS for m in THRESHOLDS] + ["mIoU"]


def score_each(
    predictions: Sequence[Prediction], truths: Sequence[Sequence[Window]]
) -> dict[str, NDArray[np.float64]]:
    """The figures of every single query: name -> (Q,), 0 or 100 for a recall, IoU x 100."""
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} predictions for {len(truths)} queries")
    first = [[moment[:2] for moment in prediction[: max(RANKS)]] for prediction in predictions]
    # Padding is a span of no length at no time: it overlaps nothing.
    ious = span_iou(_padded(first), _padded(truths)).max(axis=2)
    figures = {}
    for n in RANKS:
        for m in THRESHOLDS:
            figures[f"R@{n}_IoU{m}"] = 100.0 * (ious[:, :n] >= m - SLACK).any(axis=1)
    figures["mIoU"] = 100.0 * ious[:, 0]
    return figures


def _padded(rows: Sequence[Sequence[Window]]) -> NDArray[np.float64]:
    """Spans of Q queries as (Q, at least 1, 2), -1 to -1 where a query has fewer."""
    padded = np.full((len(rows), max([1, *map(len, rows)]), 2), -1.0)
    for spans, row in zip(padded, rows, strict=True):
        if row:
            spans[: len(row)] = row
    return padded


def score(
    predictions: Sequence[Prediction], truths: Sequence[Sequence[Window]]
) -> dict[str, float]:
    """R@{1,5} at IoU {0.3, 0.5, 0.7} and mIoU over all queries, in percent."""
    if not truths:
        raise ValueError("no query to score")
    return {name: float(each.mean()) for name, each in score_each(predictions, truths).items()}


def truths_of(samples: Sequence[Sample], truth: str) -> list[tuple[Window, ...]]:
    """The true moments to score against.

    Args:
        samples: the queries.
        truth: "raw" for the annotations as published, "clipped" to cut them to the video. A
            moment that lies wholly past the video's end is kept as published in both.
    """
    if truth == "raw":
        return [sample.windows for sample in samples]
    return [clip_windows(s.windows, s.duration) or s.windows for s in samples]
