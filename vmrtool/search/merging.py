"""One list of moments for a video, from what was found in each of its windows.

Windows overlap, so a moment may be seen twice, and one that crosses a window's border is seen in
pieces. No moment is given twice, and none in pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vmrtool.search.windows import Window, owner

_BORDER = 2  # snippets; a moment that comes so near to its window's border may be cut by it

Order = Literal["score", "grounding"]
"""What ranks the moments of a video: the score, or the span's probability alone."""


@dataclass(frozen=True)
class Candidate:
    """A moment found in a window.

    `first`, `last`: snippets of the video, both inside; `start`, `end`: seconds. `similarity`:
    cosine between the query and the moment's snippets; `grounding`: P_start P_end of the span in
    its window, or its expected fit; `presence`: mean segment logit inside, None without
    segmentation; `score` in [0, 1].
    """

    first: int
    last: int
    start: float
    end: float
    similarity: float
    grounding: float
    presence: float | None
    score: float


def merge(
    windows: Sequence[Window],
    found: Sequence[Sequence[Candidate]],
    *,
    top: int,
    nms_iou: float,
    order: Order = "score",
) -> list[Candidate]:
    """The moments of one video, best first, at most `top`.

    Args:
        windows: the windows looked at, in the order of time; not always all of the video's.
        found: the candidates of each window.
        top: at most so many.
        nms_iou: a moment whose temporal IoU with a better one exceeds this is left out.
        order: what "better" means.
    """
    if len(windows) < 2:
        pool = [candidate for candidates in found for candidate in candidates]
    else:
        joined, rest = _join(windows, found, order)
        pool = joined + _whole(windows, rest)
    pool.sort(key=lambda c: (-getattr(c, order), c.start, c.end))
    kept: list[Candidate] = []
    for candidate in pool:
        if len(kept) == top:
            break
        if all(_iou(candidate, better) <= nms_iou for better in kept):
            kept.append(candidate)
    return kept


def _join(
    windows: Sequence[Window], found: Sequence[Sequence[Candidate]], order: Order
) -> tuple[list[Candidate], list[list[Candidate]]]:
    """Moments longer than the overlap, put together from pieces; and what is left of `found`.

    Where the best moment of one window runs to its end and the best of the next one begins with
    it, they are one moment that no window holds whole. It is as good as the worse of its pieces.
    """
    rest = [sorted(candidates, key=lambda c: -getattr(c, order)) for candidates in found]
    joined: list[Candidate] = []
    piece: Candidate | None = None  # the best of the window before, or what it was joined into
    for index, (first, n) in enumerate(windows):
        best = rest[index][0] if rest[index] else None
        if best is None or piece is None:
            piece = best
            continue
        before = sum(windows[index - 1]) - 1
        if piece.last == before and best.first == first <= before < best.last < first + n:
            rest[index].pop(0)
            if joined and joined[-1] is piece:
                joined.pop()
            else:
                rest[index - 1].pop(0)
            worse = min(piece, best, key=lambda c: getattr(c, order))
            best = replace(
                worse, first=piece.first, start=piece.start, last=best.last, end=best.end
            )
            joined.append(best)
        piece = best
    return joined, rest


def _whole(windows: Sequence[Window], found: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """The candidates without those that their window's border cuts and another window sees better.

    A moment that comes near a border is heard from the window whose middle is nearest to its own.
    """
    kept: list[Candidate] = []
    for index, candidates in enumerate(found):
        if not candidates:
            continue
        first, n = windows[index]
        spans = np.array([(c.first, c.last) for c in candidates])
        cut = (spans[:, 0] < first + _BORDER) | (spans[:, 1] >= first + n - _BORDER)
        owned = owner(windows, spans) == index
        kept.extend(c for c, out in zip(candidates, cut & ~owned, strict=True) if not out)
    return kept


def _iou(a: Candidate, b: Candidate) -> float:
    shared = min(a.end, b.end) - max(a.start, b.start)
    union = (a.end - a.start) + (b.end - b.start) - shared
    return shared / union if shared > 0 and union > 0 else 0.0
