"""From moments in seconds to labels on snippets, by the snippets' cells.

A cell is the stretch of time a snippet stands for; cells tile the video. A snippet is inside a
moment when its cell's centre is, or when at least half of its cell is covered.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.samples import Window


def inside(cells: NDArray[np.float64], moment: Window) -> NDArray[np.bool_]:
    """Which snippets lie in the moment.

    Args:
        cells: (N, 2) start and end of each snippet's cell, in seconds.
        moment: start and end in seconds.

    Returns:
        (N,) bool, at least one of them True: a moment shorter than half a cell is given to the
        snippet it overlaps most, one outside the video to the snippet nearest to it.
    """
    start, end = moment
    centres = cells.mean(axis=1)
    overlap = np.minimum(cells[:, 1], end) - np.maximum(cells[:, 0], start)
    result = (start <= centres) & (centres < end)
    result |= overlap >= 0.5 * (cells[:, 1] - cells[:, 0])
    if not result.any():
        # Negative overlaps are distances, so the largest is the overlap or the nearest cell.
        result[int(np.argmax(overlap))] = True
    return result


def snippet_span(cells: NDArray[np.float64], moment: Window) -> tuple[int, int]:
    """First and last snippet inside the moment, both included."""
    members = np.flatnonzero(inside(cells, moment))
    return int(members[0]), int(members[-1])


def snippet_spans(cells: NDArray[np.float64], moments: Iterable[Window]) -> list[tuple[int, int]]:
    """The distinct snippet spans of several moments, in order of time."""
    return sorted({snippet_span(cells, moment) for moment in moments})


def even_cells(n_snippets: int, duration: float) -> NDArray[np.float64]:
    """(N, 2) cells that divide `duration` seconds evenly: for features that come without times."""
    edges = np.linspace(0.0, duration, n_snippets + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def span_iou(spans: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every span with every other: (…, P, 2), (…, Q, 2) -> (…, P, Q)."""
    low = np.maximum(spans[..., :, None, 0], others[..., None, :, 0])
    high = np.minimum(spans[..., :, None, 1], others[..., None, :, 1])
    shared = np.clip(high - low, 0.0, None)
    lengths = np.diff(spans)[..., 0][..., :, None] + np.diff(others)[..., 0][..., None, :]
    union = lengths - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
