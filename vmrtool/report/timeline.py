"""A video's time line as SVG: what was found in it, and the network's curves over it.

The picture is stretched to the width of the page, so it holds no text: what it shows is said in
its label, and times are written beside it. Of a long video there is a second one, of the stretch
around a moment, and between both a lens that says where the stretch lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vmrtool.search.curves import Curves

WIDTH = 1000
"""Units across the picture."""

_CURVES, _ROW, _GAP, _LENS = 90, 22, 6, 18
_THINNEST = 5.0  # units; a short moment of a long video must still be seen
_READABLE = 0.05  # of the video; a longer moment needs no second line
_AROUND, _SHORTEST = 6.0, 10.0  # moment's lengths of the second line, and seconds at least
_MOST_POINTS = 400  # of a curve; more would not be seen


@dataclass(frozen=True)
class Span:
    """A stretch in seconds, drawn strong where it is what the card is about."""

    start: float
    end: float
    main: bool = False


@dataclass(frozen=True)
class Row:
    """Stretches on one line: what the line is, its classes in page.css, and its spans."""

    name: str
    kind: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Stretch:
    """What a picture is of, in seconds: the whole video, or a part of it."""

    start: float
    end: float

    def x(self, seconds: float) -> float:
        """Where a time is in the picture; what lies beside the stretch is at its edge."""
        share = (seconds - self.start) / (self.end - self.start)
        return min(max(share, 0.0), 1.0) * WIDTH


def around(start: float, end: float, duration: float) -> Stretch | None:
    """The stretch around a moment that is too short to be read on its video's whole time line.

    Args:
        start: of the moment, in seconds.
        end: of the moment.
        duration: of the video.

    Returns:
        A stretch inside the video with the moment in its middle, as far as there is video on both
        sides; None where the whole line will do.
    """
    length = max(_AROUND * (end - start), _SHORTEST)
    if end - start >= _READABLE * duration or 2 * length > duration:
        return None
    begin = min(max((start + end - length) / 2, 0.0), duration - length)
    return Stretch(begin, begin + length)


def timeline(stretch: Stretch, rows: Sequence[Row], curves: Curves | None) -> str:
    """The SVG's inner elements and its height, as a whole `<svg>` element without a label.

    Args:
        stretch: what is drawn; spans are cut at its edges.
        rows: from top to bottom.
        curves: start, end and, where there is one, inside; None draws the rows alone.
    """
    top = _CURVES + _GAP if curves is not None else 0
    height = top + len(rows) * (_ROW + _GAP)
    parts = []
    mains = [span for row in rows for span in _seen(row, stretch) if span.main]
    for span in mains[:1]:  # of several methods the first, whose curves these are
        x, width = _place(span, stretch)
        parts.append(_rect("shade", x, 0, width, height))
    if curves is not None:
        parts.append(_curves(curves, stretch))
    for number, row in enumerate(rows):
        y = top + number * (_ROW + _GAP)
        parts.append(_rect("lane", 0, y, WIDTH, _ROW))
        # The strong one last: it lies over those it overlaps.
        for span in sorted(_seen(row, stretch), key=lambda span: span.main):
            x, width = _place(span, stretch)
            parts.append(_rect(f"span {row.kind}{' main' if span.main else ''}", x, y, width, _ROW))
    parts.append(f'<line class="playhead" x1="-9" x2="-9" y1="0" y2="{height}"/>')
    return (
        f'data-from="{stretch.start!r}" data-to="{stretch.end!r}" '
        f'viewBox="0 0 {WIDTH} {height}" height="{height}" preserveAspectRatio="none">'
        + "".join(parts)
    )


def lens(part: Stretch, whole: Stretch) -> str:
    """What leads from a part's place on the whole line down to the part, as `timeline` gives it."""
    x, width = _place(Span(part.start, part.end), whole)
    return (
        f'viewBox="0 0 {WIDTH} {_LENS}" height="{_LENS}" preserveAspectRatio="none">'
        f'<path class="lens" d="M{x:.1f},0H{x + width:.1f}L{WIDTH},{_LENS}H0Z"/>'
    )


def _seen(row: Row, stretch: Stretch) -> list[Span]:
    """The row's spans of which the stretch shows something."""
    return [s for s in row.spans if s.end > stretch.start and s.start < stretch.end]


def _place(span: Span, stretch: Stretch) -> tuple[float, float]:
    """Where a span begins in the picture, and its width there."""
    start, end = stretch.x(span.start), stretch.x(span.end)
    width = max(end - start, _THINNEST)
    # What is widened keeps its middle.
    return min(max((start + end - width) / 2, 0.0), WIDTH - width), width


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" '
        'rx="3"/>'
    )


def _curves(curves: Curves, stretch: Stretch) -> str:
    """Start and end to one scale, their highest point at the top; inside from 0 to 1."""
    here = (curves.cells[:, 1] > stretch.start) & (curves.cells[:, 0] < stretch.end)
    if not here.any():
        return ""
    cells, start, end = curves.cells[here], curves.start[here], curves.end[here]
    highest = max(float(start.max()), float(end.max()), 1e-12)
    drawn = []
    if curves.inside is not None:
        line = _steps(cells, curves.inside[here], 1.0, stretch)
        first, last = (stretch.x(float(time)) for time in (cells[0, 0], cells[-1, 1]))
        drawn.append(
            f'<path class="inside" d="M{first:.1f},{_CURVES}L{line}L{last:.1f},{_CURVES}Z"/>'
        )
    for kind, values in (("start", start), ("end", end)):
        line = _steps(cells, values, highest, stretch)
        drawn.append(f'<path class="curve {kind}" d="M{line}"/>')
    return "".join(drawn)


def _steps(
    cells: NDArray[np.float64], values: NDArray[np.float32], highest: float, stretch: Stretch
) -> str:
    """A curve (N,) over its cells (N, 2) as the points of a path, level within a cell."""
    n = len(values)
    edges = np.unique(np.linspace(0, n, min(n, _MOST_POINTS) + 1).astype(int))
    points = []
    for first, after in pairwise(edges):
        # Neighbours that share a point keep their highest: a peak must not vanish.
        y = _CURVES - (_CURVES - 2) * float(values[first:after].max()) / highest
        for time in (cells[first, 0], cells[after - 1, 1]):
            points.append(f"{stretch.x(float(time)):.1f},{y:.1f}")
    return "L".join(points)
