"""A case study as a picture: one query on its video's time line, after the paper's Figure 3.

From top to bottom: what was asked and found, key frames, the true and the predicted moments, and
the network's curves. All share one time axis. Colours are those of Okabe and Ito, which people
with any kind of colour vision can tell apart; line styles and labels say the same.
"""

import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmrtool.files import whole
from vmrtool.report.times import clock
from vmrtool.search.curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Window = tuple[float, float]
Moment = tuple[float, float, float]
"""Start, end, score."""

_GREEN, _BLUE, _ORANGE, _GREY = "#009e73", "#0072b2", "#e69f00", "#555555"
_METHODS = ("#d55e00", "#cc79a7", "#000000", "#56b4e9")  # one after another, then again
_INCHES = 10.0  # width of the picture
_DPI = 120
_LEFT, _RIGHT = 1.5, 0.25  # inches beside the time line
_STILL_HEIGHT = 0.85  # inches
_ROW = 0.5  # inches of one method's row of moments
_CURVES, _INSIDE = 1.25, 0.75  # inches
_GAP = 0.14
_TITLE_LINE, _LINE = 0.27, 0.24
_SECONDS_UP_TO = 120.0  # longer videos have minutes on their axis


@dataclass(frozen=True)
class Answer:
    """A method's moments for the query, best first, and the first one's IoU with the truth."""

    method: str
    moments: tuple[Moment, ...]
    iou: float


@dataclass(frozen=True)
class Case:
    """A query with its truth, what was found, and what there is to show of it.

    `duration` is the video's length in seconds. `curves` are the first answer's, None where a
    method gave none. `stills` are pictures uint8 (H, W, 3) from the middle of equal parts of the
    video, `n_parts` of them in all (the last may be missing); none where the video is not here.
    """

    vid: str
    query: str
    duration: float
    truth: tuple[Window, ...]
    answers: tuple[Answer, ...]
    curves: Curves | None = None
    stills: tuple[NDArray[np.uint8], ...] = ()
    n_parts: int = 0


def still_count(width: int, height: int) -> int:
    """How many key frames of a video's shape fill the time line at their height."""
    return int(np.clip(round((_INCHES - _LEFT - _RIGHT) / (_STILL_HEIGHT * width / height)), 5, 16))


def draw_case(case: Case, path: Path) -> None:
    """Draws the case into a PNG, replaced whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    title = textwrap.wrap(f"“{case.query}”", 84) or ["“”"]
    heights = [_row_heights(case), _CURVES if case.curves else 0.0]
    heights.insert(0, _still_height(case) if case.stills else 0.0)
    heights.append(_INSIDE if case.curves and case.curves.inside is not None else 0.0)
    shown = [height for height in heights if height]
    top = 0.15 + _TITLE_LINE * len(title) + _LINE * (1 + len(case.answers))
    total = top + sum(shown) + _GAP * (len(shown) - 1) + 0.5
    figure = Figure(figsize=(_INCHES, total), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    _write_heading(figure, case, title, total)

    axes: list[Any] = []
    low = total - top
    for height in heights:
        if not height:
            axes.append(None)
            continue
        low -= height
        width = _INCHES - _LEFT - _RIGHT
        place = (_LEFT / _INCHES, low / total, width / _INCHES, height / total)
        axes.append(figure.add_axes(place))
        low -= _GAP
    stills, moments, curves, inside = axes
    if stills is not None:
        _draw_stills(stills, case)
    _draw_moments(moments, case)
    if case.curves is not None:
        several = len(case.answers) > 1
        _draw_curves(curves, inside, case.curves, case.answers[0].method if several else None)
    _share_time(axes, case)
    with whole(path) as unfinished, warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the index has the query as it is.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(unfinished, format="png", dpi=_DPI)


def _still_height(case: Case) -> float:
    """Height in inches at which a key frame fills its part of the time line, its shape kept."""
    height, width = case.stills[0].shape[:2]
    share = case.duration / _longest(case) / case.n_parts
    return min(1.6, (_INCHES - _LEFT - _RIGHT) * share * height / width)


def _row_heights(case: Case) -> float:
    return _ROW * (1 + len(case.answers))


def _longest(case: Case) -> float:
    """Where the time axis ends: with the video, or with a moment that goes on past it."""
    ends = [end for _, end in case.truth] + [m[1] for a in case.answers for m in a.moments[:1]]
    return max(case.duration, *ends)


def _write_heading(figure: Any, case: Case, title: Sequence[str], total: float) -> None:
    """The query, then a line on the truth and on each answer."""
    left, y = 0.12 / _INCHES, total - 0.1
    for text in title:
        _text(figure, left, y / total, text, fontsize=13, fontweight="bold")
        y -= _TITLE_LINE
    truth = ", ".join(_span(start, end, case.duration) for start, end in case.truth[:2])
    more = f" and {len(case.truth) - 2} more" if len(case.truth) > 2 else ""
    video = f"{_short(case.vid, 30)}, {_time(case.duration, case.duration)} long"
    lines = [(_GREEN, f"truth: {truth}{more}; {video}")]
    for colour, answer in zip(cycle(_METHODS), case.answers, strict=False):
        said = "nothing found, IoU 0.00"
        if answer.moments:
            start, end, score = answer.moments[0]
            said = f"{_span(start, end, case.duration)}, IoU {answer.iou:.2f}, score {score:.3g}"
        lines.append((colour, f"{_short(answer.method, 50)}: {said}"))
    for colour, text in lines:
        _text(figure, left, y / total, "■", fontsize=11, color=colour)
        _text(figure, left + 0.22 / _INCHES, y / total, text, fontsize=10)
        y -= _LINE


def _text(figure: Any, x: float, y: float, text: str, **style: Any) -> None:
    """Text as it is: a dollar sign in a query begins no formula."""
    figure.text(x, y, text, va="top", parse_math=False, **style)


def _draw_stills(axes: "Axes", case: Case) -> None:
    """Key frames, each over the part of the time line from whose middle it is."""
    part = case.duration / case.n_parts
    for k, picture in enumerate(case.stills):
        axes.imshow(
            picture,
            extent=(k * part, (k + 1) * part, 0, 1),
            aspect="auto",
            interpolation="bilinear",
        )
        axes.axvline(k * part, color="white", linewidth=1.5)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_moments(axes: "Axes", case: Case) -> None:
    """A row for the truth and for each method: its first answer, the further ones thin beneath."""
    names = ["truth"]
    for start, end in case.truth:
        axes.barh(0, end - start, left=start, height=0.6, color=_GREEN)
    for row, (colour, answer) in enumerate(zip(cycle(_METHODS), case.answers, strict=False), 1):
        names.append(_short(answer.method))
        for place, (start, end, _) in enumerate(answer.moments):
            y, height = (row - 0.12, 0.5) if place == 0 else (row + 0.13 + 0.09 * place, 0.045)
            faint = 1.0 if place == 0 else 0.6
            axes.barh(y, end - start, left=start, height=height, color=colour, alpha=faint)
    axes.set_ylim(len(names) - 0.45, -0.5)
    axes.set_yticks([row - 0.12 * (row > 0) for row in range(len(names))], names)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.tick_params(axis="y", length=0)


def _draw_curves(axes: "Axes", inside: "Axes | None", curves: Curves, method: str | None) -> None:
    """P_start and P_end over their cells, and beneath them the segmentation; `method` had them."""
    edges = np.append(curves.cells[:, 0], curves.cells[-1, 1])
    dashed = (0, (4, 1.5))
    axes.stairs(curves.start, edges, color=_BLUE, linewidth=1.8, label="P(start)")
    axes.stairs(curves.end, edges, color=_ORANGE, linewidth=1.8, linestyle=dashed, label="P(end)")
    axes.set_ylim(0, 1.1 * max(float(curves.start.max()), float(curves.end.max())))
    beside = -0.45 / (_INCHES - _LEFT - _RIGHT)  # left of the numbers, where nothing is drawn
    legend = axes.legend(
        loc="center right", bbox_to_anchor=(beside, 0.5), fontsize=9.5, frameon=False,
        handlelength=1.6, handletextpad=0.4, borderpad=0, borderaxespad=0,
        title=None if method is None else _short(method), title_fontsize=9.5,
    )  # fmt: skip
    legend.get_title().set_parse_math(False)
    if inside is not None and curves.inside is not None:
        inside.stairs(curves.inside, edges, fill=True, color=_BLUE, alpha=0.3)
        inside.stairs(curves.inside, edges, color=_BLUE, linewidth=1.2)
        inside.axhline(0.5, color=_GREY, linewidth=0.7, linestyle=":")
        inside.set_ylim(0, 1.02)
        inside.set_yticks([0, 0.5, 1])
        inside.text(
            beside, 0.5, "P(inside)", transform=inside.transAxes, fontsize=9.5, ha="right",
            va="center",
        )  # fmt: skip


def _share_time(axes: Sequence["Axes | None"], case: Case) -> None:
    """One time axis, written under the last; the truth is shaded, the video's end marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    drawn = [one for one in axes if one is not None]
    longest = _longest(case)
    for one in drawn:
        one.set_xlim(0, longest)
        one.tick_params(labelsize=9.5)
        if one is not axes[0]:
            for side in ("top", "right"):
                one.spines[side].set_visible(False)
            for start, end in case.truth:
                one.axvspan(start, end, color=_GREEN, alpha=0.12, linewidth=0, zorder=0)
            if longest > case.duration:
                one.axvline(case.duration, color=_GREY, linewidth=1, linestyle="--")
        if one is not drawn[-1]:
            one.tick_params(axis="x", labelbottom=False, length=0)
    last = drawn[-1].xaxis
    steps = [1, 2, 5, 10] if longest <= _SECONDS_UP_TO else [1, 1.5, 2, 3, 6, 10]
    last.set_major_locator(MaxNLocator(10, steps=steps))
    last.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, longest)))
    if longest <= _SECONDS_UP_TO:
        drawn[-1].set_xlabel("seconds", fontsize=9.5)


def _short(name: str, longest: int = 13) -> str:
    """A name as it fits, by default beside the time line."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _tick(seconds: float, longest: float) -> str:
    """A whole time on the axis: 90 s, but 0:01:30 in a long video."""
    return f"{seconds:g}" if longest <= _SECONDS_UP_TO else clock(seconds).removesuffix(".0")


def _time(seconds: float, longest: float) -> str:
    """Seconds for a short video, minutes or hours and seconds for a long one."""
    return f"{seconds:.1f} s" if longest <= _SECONDS_UP_TO else clock(seconds)


def _span(start: float, end: float, longest: float) -> str:
    if longest <= _SECONDS_UP_TO:
        return f"{start:.1f} to {end:.1f} s"
    return f"{_time(start, longest)} to {_time(end, longest)}"
