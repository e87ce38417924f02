"""What commands that index or extract show: progress, how they were interrupted, what failed."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from vmrtool.interrupts import on_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from rich.console import Console
    from rich.progress import TaskID

    from vmrtool.catalog.rows import FailureRow
    from vmrtool.indexing.extraction import FailedVideo
    from vmrtool.indexing.report import Event

    Failed = FailureRow | FailedVideo


_TWICE_S = 1.0


@contextmanager
def following(console: Console) -> Iterator[Display]:
    """Shows a run's progress on `console` for the length of a block.

    Raises:
        typer.Exit: Ctrl-C was pressed; what is done is kept, and told.
    """
    display = Display(console)
    try:
        with _one_interrupt():
            yield display
    except KeyboardInterrupt:
        display.stop()
        console.print(
            f"interrupted: {display.progress.done} of {display.progress.videos} videos are "
            "done and kept; the same command goes on from here",
            style="yellow",
        )
        raise typer.Exit(130) from None
    finally:
        display.stop()


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Has Ctrl-C interrupt once where it comes twice: from the terminal and from a supervisor."""
    last = float("-inf")

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        again, last = time.monotonic() - last < _TWICE_S, time.monotonic()
        if not again:
            raise KeyboardInterrupt

    with on_interrupt(interrupt):
        yield


def print_failures(failed: Sequence[Failed], out: Console) -> None:
    """Every failure with its reason, and once what to do about each kind."""
    from rich.text import Text

    from vmrtool.catalog.paths import display, path_key, printable

    for failure in failed:
        reason = f"{display(path_key(failure.path))}: {failure.error} ({failure.stage})"
        out.print(Text.assemble(("failed ", "red"), printable(reason)))
    for remedy in dict.fromkeys(row.remedy for row in failed if row.remedy):
        out.print(remedy, style="dim", markup=False)


class Display:
    """Progress on stderr: a live line on a terminal, elsewhere a plain one now and then."""

    _EVERY_S = 30.0

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        from vmrtool.indexing.progress import Progress as Follower

        self.progress = Follower()
        self._console = console
        self._live = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._told = 0.0

    def stop(self) -> None:
        """Takes the live line away."""
        if self._task is not None:
            self._live.stop()

    def follow(self, event: Event) -> None:
        """Shows where the run is."""
        from vmrtool.catalog.paths import display, path_key, printable
        from vmrtool.cli.console import verbose
        from vmrtool.indexing.report import Noted, Settled, Started

        self.progress.follow(event)
        if isinstance(event, Noted):
            text = f"note: {printable(event.text)}"
            self._console.print(text, style="yellow", markup=False)
            return
        if verbose and isinstance(event, Settled):
            text = f"{event.outcome} {display(path_key(event.path))}"
            self._console.print(printable(text), style="dim", markup=False)
        if isinstance(event, Started):
            self._told = time.monotonic()
            if self._console.is_terminal and self.progress.done < self.progress.videos:
                self._live.start()
                self._task = self._live.add_task("")
        if self._task is not None:
            self._live.update(
                self._task,
                total=self.progress.videos,
                completed=self.progress.done,
                description=self._line(),
            )
        elif not self._console.is_terminal and time.monotonic() - self._told >= self._EVERY_S:
            self._told = time.monotonic()
            self._console.print(self._line(), markup=False)

    def _line(self) -> str:
        progress = self.progress
        parts = [f"{progress.done:,}/{progress.videos:,} videos"]
        if progress.rate is not None:
            parts.append(f"{progress.rate:.1f} s of video a second")
        if progress.left_s is not None and progress.done < progress.videos:
            parts.append(f"{_clock(progress.left_s)} left")
        if progress.failed:
            parts.append(f"{progress.failed:,} failed")
        return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
