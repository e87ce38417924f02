"""Windows: the stretches of at most 128 snippets in which the grounding network reads a video.

A video of any length is tiled by windows that overlap, so that a moment on the border of one
window lies whole inside another. In the overlap two windows answer for the same snippets;
`owner` settles which of them is heard: the one whose middle is nearest.
"""

from collections.abc import Sequence

import numpy as np

WINDOW_SIZE = 128  # snippets; as many positions as the paper's network has

Window = tuple[int, int]
"""First snippet and number of snippets."""


def tile_windows(
    n_snippets: int, size: int = WINDOW_SIZE, overlap: int | None = None
) -> list[Window]:
    """Tile a video with windows of at most `size` snippets that overlap by at least `overlap`.

    A video that fits into one window gets one, as long as itself. A longer one gets as few full
    windows as the overlap allows, spread evenly: the first starts at the first snippet, the last
    ends at the last. The overlap is half a window unless told: a moment of at most so many snippets
    lies whole in some window. No snippets, no windows.
    """
    if overlap is None:
        overlap = size // 2
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must lie in [0, {size}), not {overlap}")
    if n_snippets <= 0:
        return []
    if n_snippets <= size:
        return [(0, n_snippets)]
    count = -(-(n_snippets - overlap) // (size - overlap))  # ceiling
    room = n_snippets - size
    return [(i * room // (count - 1), size) for i in range(count)]


def owner(windows: Sequence[Window], spans: np.ndarray) -> np.ndarray:
    """For each span the index of the window that answers for it: the one with the nearest middle.

    `spans` is (S, 2), first and last snippet of the video, inclusive; returned are (S,) indexes
    into `windows`. Among windows equally near it is the first. A span no longer than the overlap
    lies whole inside its owner, and no piece of it that another window sees is that one's own:
    dropping what is not one's own never loses such a moment and never doubles it.
    """
    middles = np.array([2 * first + n - 1 for first, n in windows], dtype=np.int64)
    distance = np.abs(spans.sum(axis=1, dtype=np.int64)[:, None] - middles[None, :])
    return np.argmin(distance, axis=1)
