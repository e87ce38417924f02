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

    Each query makes two choices: among all that is found for it, and among what is found in its
    own video. A moment is right where it overlaps, by an IoU of 0.5, a moment of the query's event
    that the data set gives, in whatever video; it is left out where the event happens under
    another condition.

    Returns:
        The weights, or the defaults where no choice is between right and wrong moments.
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
    choices: list[list[int]] = []
    for index in chosen:
        sample, own = dataset.samples[index], dataset.video_of[index]
        known = relations.occurrences(sample)
        found = archive.find(model, sample.query, shortlist=settings.ranking_videos)
        of_query: list[int] = []
        for name, moments in found.moments.items():
            where = known.get(int(name))
            of_video: list[int] = []
            for moment in moments:
                span = np.array([[moment.start, moment.end]])
                hit = where is not None and _touches(span, where.sure, _RIGHT)
                if not hit and where is not None and _touches(span, where.possible, _NEAR):
                    continue
                of_video.append(len(rows))
                log_span = math.log(max(moment.grounding, 1e-30))
                rows.append((moment.similarity, log_span, moment.presence))
                right.append(hit)
            of_query += of_video
            if int(name) == own:
                choices.append(of_video)
        choices.append(of_query)
    if not any(len({right[row] for row in choice}) == 2 for choice in choices):
        return RankingWeights()
    return fit_ranking(rows, right, choices)


def _touches(
    span: NDArray[np.float64], moments: tuple[tuple[float, float], ...], least: float
) -> bool:
    """Whether the span overlaps any of the moments by an IoU of `least`."""
    if not moments:
        return False
    return bool(span_iou(span, np.array(moments, dtype=np.float64)).max() >= least)
