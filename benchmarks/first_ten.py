"""The first ten of the exhaustive search, for a fraction of its work.

Which videos can be among the first ten is known before most of the work is done. A moment's score
is a logistic model of three terms: its similarity to the query and its presence take little to work
out for every stretch there is, and a log probability is at most 0. So each video has a score that
no moment of it can be above. Videos are grounded in the order of these, until ten have been found
whose best moments score more than any that are left could.
"""

import copy
from itertools import chain
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vmrtool.datasets.dataset import Dataset
from vmrtool.evaluation.corpus import PER_VIDEO
from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.grounding.network import EncodedVideo, GroundingNetwork, PreparedQuery
from vmrtool.search.archive import Archive, Findings
from vmrtool.search.grounding import (
    batches,
    cut,
    encode_queries,
    encode_windows,
    prepared_query,
)
from vmrtool.search.merging import Candidate

FIRST = 10
_AT_ONCE = 32  # windows whose presence is worked out at once
_GROUNDED_AT_ONCE = 64  # videos
_ROUNDING = 1e-3  # by so much a logit worked out in two ways may differ


class FirstTen:
    """An archive of a data set's videos, asked for its ten best answers."""

    @torch.inference_mode()
    def __init__(self, model: GroundingModel, dataset: Dataset, archive: Archive) -> None:
        """`archive` is the data set's, of this model, as `archive_of` makes it.

        Raises ValueError where a more probable span is not a better one to the model's ranking.
        """
        if model.ranking.grounding < 0:
            raise ValueError("no bound: scores fall with the span's probability")
        self._model, self._archive = model, archive
        self._segments_alone = _segments_alone(model.network)
        tiled = [
            cut(video.features, video.cells, model.config.max_snippets) for video in dataset.videos
        ]
        windows = encode_windows(model, list(chain.from_iterable(tiled)))
        self._first_window = np.cumsum([0, *map(len, tiled)])[:-1]
        self._batches: list[tuple[list[int], EncodedVideo]] = []
        vectors: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(windows)
        for chosen, values, mask in batches(
            [window.values for window in windows], _AT_ONCE, model.config.max_snippets
        ):
            video = model.network.kept(values, mask)
            self._batches.append((chosen, video))
            for row, index in enumerate(chosen):
                first, last = np.triu_indices(len(windows[index]))
                spans = torch.from_numpy(np.stack([first, last], axis=1))
                rows = video.content[row : row + 1], mask[row : row + 1]
                vectors[index] = _stretch_vectors(model.network, *rows, spans).numpy()
        # Stretches of all windows in one row; sums of what is said of snippets in another.
        self._vectors = np.concatenate(vectors)
        pairs = [np.triu_indices(len(window)) for window in windows]
        self._lengths = [len(window) for window in windows]
        offsets = np.cumsum([0, *(n + 1 for n in self._lengths)])[:-1]
        self._low = np.concatenate(
            [o + first for o, (first, _) in zip(offsets, pairs, strict=True)]
        )
        self._high = np.concatenate(
            [o + last + 1 for o, (_, last) in zip(offsets, pairs, strict=True)]
        )
        self._starts = np.cumsum([0, *(len(first) for first, _ in pairs)])[:-1]

    @torch.inference_mode()
    def find(self, query: str) -> Findings:
        """The best moments: the first ten, and ten videos, are those of the exhaustive search."""
        bounds = self._bounds(query)
        order = np.argsort(-bounds, kind="stable")
        moments: dict[str, list[Candidate]] = {}
        grounded = done = 0
        while done < len(order):
            best = sorted(max(m.score for m in found) for found in moments.values() if found)
            if len(best) >= FIRST and _logit(best[-FIRST]) > bounds[order[done]] + _ROUNDING:
                break
            some = order[done : done + _GROUNDED_AT_ONCE]
            (found,) = self._archive.find_many(
                self._model,
                [query],
                windows_per_video=2**31,
                per_video=PER_VIDEO,
                among=[{str(video) for video in some}],
            )
            moments |= found.moments
            grounded += found.windows_grounded
            done += len(some)
        return Findings(moments, grounded)

    @torch.inference_mode()
    def _bounds(self, query: str) -> NDArray[np.float32]:
        """For each video the logit that no moment of it is above."""
        ranking = self._model.ranking
        asked = encode_queries(self._model, [query])
        assert asked.encoded is not None
        logits = self._vectors @ (ranking.similarity * asked.vectors[0].numpy())
        if self._model.config.segments:
            prepared = prepared_query(self._segments_alone, asked.encoded, 0)
            sums = self._summed(PreparedQuery.join([prepared] * _AT_ONCE))
            presence = (sums[self._high] - sums[self._low]) / (self._high - self._low)
            logits += (ranking.presence * presence).astype(np.float32)
        of_windows = np.maximum.reduceat(logits, self._starts)
        return ranking.bias + np.maximum.reduceat(of_windows, self._first_window)

    def _summed(self, prepared: PreparedQuery) -> NDArray[np.float64]:
        """Segment logits of each window's snippets, added up from 0, one window after another."""
        of_windows: list[NDArray[np.float64]] = [np.zeros(0)] * len(self._lengths)
        for chosen, video in self._batches:
            segments = self._segments_alone.ground(video, prepared).segment_logits
            assert segments is not None
            for row, index in enumerate(chosen):
                of_windows[index] = segments[row, : self._lengths[index]].double().numpy()
        return np.concatenate([np.cumsum([0, *of_window]) for of_window in of_windows])


class _Nothing(nn.Module):
    """Stands for an LSTM whose states nobody reads."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Zeros of width 1: (B, N, 1)."""
        return x.new_zeros((*mask.shape, 1))


def _segments_alone(network: GroundingNetwork) -> GroundingNetwork:
    """A network with the same segment logits, whose spans mean nothing and take no time."""
    alone = copy.deepcopy(network)
    alone.start_lstm = alone.end_lstm = _Nothing()  # type: ignore[assignment]
    first = cast(nn.Linear, network.start_mlp[0])
    width = 1 + first.in_features - network.config.dim
    alone.start_mlp = alone.end_mlp = nn.Sequential(nn.Linear(width, 1), nn.Identity())
    return alone.eval()


def _stretch_vectors(
    network: GroundingNetwork, content: Tensor, mask: Tensor, spans: Tensor
) -> Tensor:
    """Unit vectors (P, d) of one window's stretches; content (1, N, D)."""
    return network.retrieval.stretch_vectors(content, mask, spans)[0]


def _logit(score: float) -> float:
    return float(np.log(score) - np.log1p(-score)) if score < 1 else np.inf
