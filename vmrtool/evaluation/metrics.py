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


def best_iou(prediction: Prediction, truth: Sequence[Window], top: int) -> NDArray[np.float64]:
    """Best IoU of each of the first `top` predicted moments with any true one -> (<= top,)."""
    spans = np.array([moment[:2] for moment in prediction[:top]], dtype=np.float64).reshape(-1, 2)
    others = np.array(truth, dtype=np.float64).reshape(-1, 2)
    if len(spans) == 0 or len(others) == 0:
        return np.zeros(len(spans))
    best: NDArray[np.float64] = span_iou(spans, others).max(axis=1)
    return best


def metric_names() -> list[str]:
    """The names of the figures `score` gives, in order of report."""
    return [f"R@{n}_IoU{m}" for n in RANKS for m in THRESHOLDS] + ["mIoU"]


def score_each(
    predictions: Sequence[Prediction], truths: Sequence[Sequence[Window]]
) -> dict[str, NDArray[np.float64]]:
    """The figures of every single query: name -> (Q,), 0 or 100 for a recall, IoU x 100."""
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} predictions for {len(truths)} queries")
    figures = {name: np.zeros(len(truths)) for name in metric_names()}
    for q, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        ious = best_iou(prediction, truth, max(RANKS))
        if len(ious) == 0:
            continue
        for n in RANKS:
            for m in THRESHOLDS:
                figures[f"R@{n}_IoU{m}"][q] = 100.0 * bool((ious[:n] >= m - SLACK).any())
        figures["mIoU"][q] = 100.0 * ious[0]
    return figures


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
