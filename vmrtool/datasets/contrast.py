"""Which stretches of a batch a query's vector should be near, far from, or left alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.crops import Example
from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.labels import snippet_spans, span_iou
from vmrtool.datasets.relations import Relations

_SURE = 0.3  # least IoU at which the best stretch of another video stands for the moment
_APART = 0.1  # a stretch is wrong only where it shares less than this of the shorter of the two


@dataclass(frozen=True)
class _Spans:
    """Half-open snippet spans of a query's moments in a video, (M, 2) each."""

    sure: NDArray[np.float64]
    touched: NDArray[np.float64]


class StretchLabels:
    """Compares queries with stretches of windows, by what a data set tells of its moments."""

    def __init__(self, dataset: Dataset, relations: Relations) -> None:
        """Takes the data set and where each query's moment happens in it."""
        self._dataset = dataset
        self._relations = relations
        self._known: dict[tuple[int, int], _Spans | None] = {}

    def label(
        self,
        queries: Sequence[Example],
        windows: Sequence[Example],
        stretches: NDArray[np.int64],
        stretch_mask: NDArray[np.bool_],
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Compares Q queries with the P stretches of each of B windows.

        Right is the stretch of best IoU with each of the query's moments, in its own window and,
        at an IoU of 0.3 or more, in any window of the batch where the data set says that the same
        event happens. Left alone are all others that touch a moment of that event. The rest is
        wrong, stretches of the query's own video included.

        Args:
            queries: (Q) the matched examples; query q's own window is window q.
            windows: (B) all examples of the batch.
            stretches: (B, P, 2) first and last snippet, counted from the window's first.
            stretch_mask: (B, P) True = real stretch.

        Returns:
            positive, ignore: (Q, B, P) bool. Padding is ignored.
        """
        shape = (len(queries), *stretch_mask.shape)
        positive = np.zeros(shape, dtype=bool)
        ignore = np.broadcast_to(~stretch_mask, shape).copy()
        shown = []
        for window, spans, mask in zip(windows, stretches, stretch_mask, strict=True):
            # Half-open and counted from the video's first snippet, so that lengths are counts.
            offset = np.array([window.first, window.first + 1], dtype=np.float64)
            shown.append(spans[mask] + offset)
        for q, query in enumerate(queries):
            for b, window in enumerate(windows):
                where, real = self._spans_of(query.sample, window.video), len(shown[b])
                if where is None:
                    continue
                ignore[q, b, :real] |= (_shared(shown[b], where.touched) >= _APART).any(axis=1)
                if len(where.sure):
                    least = 0.0 if b == q else _SURE
                    positive[q, b, :real] = _best(shown[b], where.sure, least)
        ignore &= ~positive
        return positive, ignore

    def _spans_of(self, sample: int, video: int) -> _Spans | None:
        """The snippets of the sample's moments in the video, worked out once; None: it has none."""
        key = (sample, video)
        if key not in self._known:
            where = self._relations.occurrences(self._dataset.samples[sample]).get(video)
            if where is None:
                self._known[key] = None
            else:
                cells = self._dataset.videos[video].cells
                sure = _spans(cells, where.sure)
                touched = np.concatenate([sure, _spans(cells, where.possible)])
                self._known[key] = _Spans(sure, touched)
        return self._known[key]


def _spans(
    cells: NDArray[np.float64], moments: tuple[tuple[float, float], ...]
) -> NDArray[np.float64]:
    """(M, 2) half-open snippet spans of the moments."""
    spans = np.array(snippet_spans(cells, moments), dtype=np.float64).reshape(-1, 2)
    spans[:, 1] += 1
    return spans


def _best(
    stretches: NDArray[np.float64], moments: NDArray[np.float64], least: float
) -> NDArray[np.bool_]:
    """(P,) the stretches that are some moment's best, at an IoU above 0 and at least `least`."""
    iou = span_iou(stretches, moments)
    best = iou.argmax(axis=0)
    good = iou.max(axis=0)
    chosen = np.zeros(len(stretches), dtype=bool)
    chosen[best[(good > 0) & (good >= least)]] = True
    return chosen


def _shared(stretches: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, M) what the two share, as a part of the shorter one."""
    low = np.maximum(stretches[:, None, 0], moments[None, :, 0])
    high = np.minimum(stretches[:, None, 1], moments[None, :, 1])
    lengths = np.minimum(
        (stretches[:, 1] - stretches[:, 0])[:, None], (moments[:, 1] - moments[:, 0])[None, :]
    )
    return np.clip(high - low, 0.0, None) / lengths
