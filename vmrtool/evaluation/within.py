"""Predictions within the given video: each query is asked of its own video alone."""

from collections.abc import Sequence

import numpy as np

from vmrtool.datasets.dataset import Dataset
from vmrtool.evaluation.metrics import score, truths_of
from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.search.windows import owner, tile_windows
from vmrtool.training.grounded import Grounded, Window, ground_pairs

Moments = list[tuple[float, float, float]]


def predict(model: GroundingModel, dataset: Dataset, *, top: int = 5) -> list[Moments]:
    """The `top` best moments of each sample's own video: (start, end, score), best first.

    A video that fits into one window is answered as the paper does, by P_start P_end. Of a longer
    one every window is asked, and the answers are compared by the score that also ranks a search.
    """
    windows: list[Window] = []
    of_video: list[list[tuple[int, tuple[int, int]]]] = []
    for video in dataset.videos:
        tiles = tile_windows(video.n_snippets, size=model.config.max_snippets)
        of_video.append([(len(windows) + k, tile) for k, tile in enumerate(tiles)])
        for first, n in tiles:
            part = slice(first, first + n)
            windows.append(Window(video.features[part], video.cells[part]))
    pairs = [(q, w) for q, video in enumerate(dataset.video_of) for w, _ in of_video[video]]
    queries = [sample.query for sample in dataset.samples]
    found = iter(ground_pairs(model, windows, queries, pairs, top=top))
    predictions = []
    for index in dataset.video_of:
        tiles = [tile for _, tile in of_video[index]]
        answers = [next(found) for _ in tiles]
        if len(tiles) == 1:
            moments = [(m.start, m.end, float(np.exp(m.log_span))) for m in answers[0]]
        else:
            moments = _joined(model, tiles, answers, top)
        predictions.append(moments)
    return predictions


def _joined(
    model: GroundingModel,
    tiles: Sequence[tuple[int, int]],
    answers: Sequence[Sequence[Grounded]],
    top: int,
) -> Moments:
    """One ranking of the moments of a long video's windows, each from the window that owns it."""
    moments = []
    for w, ((first, _), found) in enumerate(zip(tiles, answers, strict=True)):
        for moment in found:
            span = np.array([[first + moment.first, first + moment.last]])
            if owner(tiles, span)[0] == w:
                ranked = model.ranking.score(moment.similarity, moment.log_span, moment.presence)
                moments.append((moment.start, moment.end, ranked))
    return sorted(moments, key=lambda moment: -moment[2])[:top]


def measure(model: GroundingModel, dataset: Dataset) -> dict[str, float]:
    """R@{1,5} at IoU {0.3, 0.5, 0.7} and mIoU of a model, against the truth as published."""
    truths = truths_of(dataset.samples, "raw")
    return score(predict(model, dataset), truths)
