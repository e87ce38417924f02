"""Answers as a table for people, drawn with Rich."""

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vmrtool.catalog.paths import printable
from vmrtool.report.times import clock
from vmrtool.search.result import Moment, SearchResult

_BAR_CELLS = 8
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def moments_table(result: SearchResult, base: Path | None = None) -> RenderableType:
    """The ranked moments of one answer, under its query and over a line on what was searched.

    Videos inside the folder `base` are named relative to it, others in full. Where there are no
    moments there is no table, only the two lines.
    """
    heading = Text.assemble((f"“{printable(result.query)}”", "bold"))
    footing = Text(looked_at(result), style="dim")
    if not result.moments:
        return Group(heading, Text("no moments", style="yellow"), footing)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("video", overflow="fold", ratio=1)
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("to", justify="right", no_wrap=True)
    table.add_column("score", no_wrap=True)
    for moment in result.moments:
        table.add_row(
            str(moment.rank),
            Text(name_of(moment, base)),
            Text(clock(moment.start), style="cyan"),
            Text(clock(moment.end), style="cyan"),
            Text.assemble(f"{moment.score:.3f} ", (bar(moment.score), "green")),
        )
    return Group(heading, table, footing)


def bar(share: float, cells: int = _BAR_CELLS) -> str:
    """A bar of `cells` characters, filled to `share` in [0, 1] in steps of an eighth of one."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def looked_at(result: SearchResult) -> str:
    """One line on how the answer came about, in counts."""
    return " · ".join(
        (
            f"model {printable(result.model)}" + (" (zero-shot)" if result.zero_shot else ""),
            _count(result.videos_searched, "video") + " searched",
            f"{result.shortlisted} shortlisted",
            _count(result.windows_grounded, "window") + " grounded",
            f"{result.elapsed_ms:.0f} ms",
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def name_of(moment: Moment, base: Path | None) -> str:
    """The video's name as shown: relative to `base` where it lies inside, printable throughout."""
    path = Path(moment.video)
    if base is not None and path.is_relative_to(base):
        path = path.relative_to(base)
    return printable(str(path))
