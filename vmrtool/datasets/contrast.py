"""Which stretches of a batch a query's vector should be near, far from, or left alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.crops import Example
from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.labels import snippet_spans, span_iou
from vmrtool.datasets.relations import Relations

_SURE = 0.3  # least IoU at which the best stretch of another video stands for the moment
_APART = 0.1  # a stretch is wrong only where it shares less than this of the shorter of the two


def stretch_labels(
    dataset: Dataset,
    relations: Relations,
    queries: Sequence[Example],
    windows: Sequence[Example],
    stretches: NDArray[np.int64],
    stretch_mask: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Compares Q queries with the P stretches of each of B windows.

    Right is the stretch of best IoU with each of the query's moments, in its own window and, at
    an IoU of 0.3 or more, in any window of the batch where the data set says that the same event
    happens. Left alone are all others that touch a moment of that event. The rest is wrong,
    stretches of the query's own video included.

    Args:
        dataset: the samples and videos the examples refer to.
        relations: where each query's moment happens.
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
    by_video: dict[int, list[int]] = {}
    for b, window in enumerate(windows):
        by_video.setdefault(window.video, []).append(b)
    for q, query in enumerate(queries):
        known = relations.occurrences(dataset.samples[query.sample])
        for video, where in known.items():
            cells = dataset.videos[video].cells
            sure = _spans(cells, where.sure)
            touched = np.concatenate([sure, _spans(cells, where.possible)])
            for b in by_video.get(video, ()):
                real = int(stretch_mask[b].sum())
                shown = stretches[b, :real].astype(np.float64) + windows[b].first
                shown[:, 1] += 1  # half-open, so that lengths are counts of snippets
                ignore[q, b, :real] |= (_shared(shown, touched) >= _APART).any(axis=1)
                if len(sure):
                    positive[q, b, :real] = _best(shown, sure, least=0.0 if b == q else _SURE)
    ignore &= ~positive
    return positive, ignore


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
