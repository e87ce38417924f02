"""Fits the weights that make one score of a moment's three signs, comparable across videos."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.labels import span_iou
from vmrtool.datasets.relations import Relations
from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.grounding.ranking import RankingWeights, fit_ranking
from vmrtool.search.archive import Archive
from vmrtool.training.settings import RetrievalSettings

_RIGHT = 0.5  # least IoU of a right answer
_NEAR = 0.1  # least IoU with a moment under another condition that makes an answer undecided


def fit_ranking_weights(
    model: GroundingModel, dataset: Dataset, settings: RetrievalSettings, *, seed: int
) -> RankingWeights:
    """Fits the score on what a search of the data set's videos would find.

    A moment is right where it overlaps, by an IoU of 0.5, a moment of the query's event that the
    data set gives, in whatever video; it is left out where the event happens under another
    condition.

    Returns:
        The weights, or the defaults where all moments are right or all are wrong.
    """
    rng = np.random.default_rng([seed, 0xA11])
    count = min(settings.ranking_queries, len(dataset))
    chosen = np.sort(rng.choice(len(dataset), size=count, replace=False))
    # Which moments are found depends on the weights in use: those of an earlier fit must not count.
    model = replace(model, ranking=RankingWeights())
    archive = Archive.in_memory(
        model, {str(v): (video.features, video.cells) for v, video in enumerate(dataset.videos)}
    )
    relations = Relations(dataset)
    rows: list[tuple[float, float, float | None]] = []
    right: list[bool] = []
    for sample in (dataset.samples[i] for i in chosen):
        known = relations.occurrences(sample)
        found = archive.find(model, sample.query, shortlist=settings.ranking_videos)
        for name, moments in found.moments.items():
            where = known.get(int(name))
            for moment in moments:
                span = np.array([[moment.start, moment.end]])
                hit = where is not None and _touches(span, where.sure, _RIGHT)
                if not hit and where is not None and _touches(span, where.possible, _NEAR):
                    continue
                log_span = math.log(max(moment.grounding, 1e-30))
                rows.append((moment.similarity, log_span, moment.presence))
                right.append(hit)
    if len(set(right)) < 2:
        return RankingWeights()
    return fit_ranking(rows, right)


def _touches(
    span: NDArray[np.float64], moments: tuple[tuple[float, float], ...], least: float
) -> bool:
    """Whether the span overlaps any of the moments by an IoU of `least`."""
    if not moments:
        return False
    return bool(span_iou(span, np.array(moments, dtype=np.float64)).max() >= least)
