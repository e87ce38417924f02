"""Fits the weights that make one score of a moment's three signs, comparable across videos."""

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.labels import span_iou
from vmrtool.datasets.relations import Relations
from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.grounding.pooling import stretches
from vmrtool.grounding.ranking import RankingWeights, fit_ranking
from vmrtool.search.windows import tile_windows
from vmrtool.training.grounded import Window, encode_queries, encode_windows, ground_pairs
from vmrtool.training.settings import RetrievalSettings

_TOP = 3  # moments of each window, as many as a search shows of a video
_RIGHT = 0.5  # least IoU of a right answer


def fit_ranking_weights(
    model: GroundingModel, dataset: Dataset, settings: RetrievalSettings, *, seed: int
) -> RankingWeights:
    """Fits the score on moments found in the windows that a search would look into.

    Each query meets those windows of the data set that resemble it most, whatever their video. A
    moment found there is right where it overlaps, by an IoU of 0.5, a moment of the query's event
    that the data set gives; it is left out where the event happens under another condition.

    Returns:
        The weights, or the defaults where all moments are right or all are wrong.
    """
    rng = np.random.default_rng([seed, 0xA11])
    count = min(settings.ranking_queries, len(dataset))
    chosen = np.sort(rng.choice(len(dataset), size=count, replace=False))
    samples = [dataset.samples[i] for i in chosen]
    windows, owners = [], []
    for v, video in enumerate(dataset.videos):
        for first, n in tile_windows(video.n_snippets, size=model.config.max_snippets):
            part = slice(first, first + n)
            windows.append(Window(video.features[part], video.cells[part]))
            owners.append(v)
    similar = _resemblance(model, windows, [sample.query for sample in samples])
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, : settings.ranking_windows]
    pairs = [(q, int(w)) for q in range(count) for w in nearest[q]]
    found = ground_pairs(model, windows, [sample.query for sample in samples], pairs, top=_TOP)

    relations = Relations(dataset)
    known = [relations.occurrences(sample) for sample in samples]
    rows, right = [], []
    for (q, w), moments in zip(pairs, found, strict=True):
        where = known[q].get(owners[w])
        for moment in moments:
            span = np.array([[moment.start, moment.end]])
            hit = where is not None and _touches(span, where.sure, _RIGHT)
            if not hit and where is not None and _touches(span, where.possible, 0.1):
                continue
            rows.append((moment.similarity, moment.log_span, moment.presence))
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


@torch.no_grad()
def _resemblance(
    model: GroundingModel, windows: list[Window], queries: list[str]
) -> NDArray[np.float32]:
    """Best cosine between each query and any stretch of each window -> (Q, W)."""
    head = model.network.retrieval
    query = encode_queries(model, queries)
    wanted = head.query_vector(query.q_hat, query.mask).float()
    columns = []
    for window in windows:
        video = encode_windows(model, [window])
        spans = stretches(len(window.features), model.pooling)
        vectors = head.stretch_vectors(video.content, video.mask, spans)[0].float()
        columns.append((wanted @ vectors.T).max(dim=1).values.cpu())
    return torch.stack(columns, dim=1).numpy()
