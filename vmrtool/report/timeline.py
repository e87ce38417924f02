"""A video's time line as SVG: what was found in it, and the network's curves over it.

The picture is stretched to the width of the page, so it holds no text: what it shows is said in
its label, and times are written beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vmrtool.search.curves import Curves

WIDTH = 1000
"""Units across the whole video."""

_CURVES, _ROW, _GAP = 90, 22, 6
_THINNEST = 4.0  # units; a short moment of a long video must still be seen
_MOST_POINTS = 400  # of a curve; more would not be seen


@dataclass(frozen=True)
class Span:
    """A stretch in seconds, drawn strong where it is what the card is about."""

    start: float
    end: float
    main: bool = False


@dataclass(frozen=True)
class Row:
    """Stretches on one line: what the line is, "found" or "truth" in colour, and its spans."""

    name: str
    kind: str
    spans: tuple[Span, ...]


def timeline(duration: float, rows: Sequence[Row], curves: Curves | None) -> str:
    """The SVG's inner elements and its height, as a whole `<svg>` element without a label.

    Args:
        duration: of the video in seconds; spans that end later are cut.
        rows: from top to bottom.
        curves: start, end and, where there is one, inside; None draws the rows alone.
    """
    top = _CURVES + _GAP if curves is not None else 0
    height = top + len(rows) * (_ROW + _GAP)
    parts = []
    for row in rows:
        for span in row.spans:
            if span.main:
                x, width = _place(span, duration)
                parts.append(_rect("shade", x, 0, width, height))
    if curves is not None:
        parts.append(_curves(curves, duration))
    for number, row in enumerate(rows):
        y = top + number * (_ROW + _GAP)
        parts.append(_rect("lane", 0, y, WIDTH, _ROW))
        # The strong one last: it lies over those it overlaps.
        for span in sorted(row.spans, key=lambda span: span.main):
            x, width = _place(span, duration)
            parts.append(_rect(f"span {row.kind}{' main' if span.main else ''}", x, y, width, _ROW))
    parts.append(f'<line class="playhead" x1="-9" x2="-9" y1="0" y2="{height}"/>')
    return (
        f'viewBox="0 0 {WIDTH} {height}" height="{height}" preserveAspectRatio="none">'
        + "".join(parts)
    )


def _place(span: Span, duration: float) -> tuple[float, float]:
    """Where a span begins on the line, and its width there."""
    start, end = (min(max(t, 0.0), duration) / duration * WIDTH for t in (span.start, span.end))
    width = max(end - start, _THINNEST)
    return min(start, WIDTH - width), width


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" '
        'rx="3"/>'
    )


def _curves(curves: Curves, duration: float) -> str:
    """Start and end to one scale, their highest point at the top; inside from 0 to 1."""
    highest = max(float(curves.start.max()), float(curves.end.max()), 1e-12)
    drawn = []
    if curves.inside is not None:
        line = _steps(curves.cells, curves.inside, 1.0, duration)
        drawn.append(f'<path class="inside" d="M0,{_CURVES}L{line}L{WIDTH},{_CURVES}Z"/>')
    for kind, values in (("start", curves.start), ("end", curves.end)):
        line = _steps(curves.cells, values, highest, duration)
        drawn.append(f'<path class="curve {kind}" d="M{line}"/>')
    return "".join(drawn)


def _steps(
    cells: NDArray[np.float64], values: NDArray[np.float32], highest: float, duration: float
) -> str:
    """A curve (N,) over its cells (N, 2) as the points of a path, level within a cell."""
    n = len(values)
    edges = np.unique(np.linspace(0, n, min(n, _MOST_POINTS) + 1).astype(int))
    points = []
    for first, after in pairwise(edges):
        # Neighbours that share a point keep their highest: a peak must not vanish.
        y = _CURVES - (_CURVES - 2) * float(values[first:after].max()) / highest
        for time in (cells[first, 0], cells[after - 1, 1]):
            points.append(f"{min(max(time, 0.0), duration) / duration * WIDTH:.1f},{y:.1f}")
    return "L".join(points)
