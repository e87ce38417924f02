"""Downloads as the command line shows them: a live bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vmrtool.assets.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


class Downloads(Progress):
    """Shows downloads on a console, for the length of a block."""

    _EVERY_S = 30.0

    def __init__(self, console: Console) -> None:
        """`console` writes to stderr."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._file = ""
        self._task: TaskID | None = None
        self._told = 0.0

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._bars.stop()

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        self._console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def at(self, file: str, done: int, total: int | None) -> None:
        """Moves the bar."""
        if not self._console.is_terminal:
            self._tell(file, done, total)
            return
        if self._task is None:
            self._bars.start()
        if self._task is None or file != self._file:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(file)
            self._file = file
        self._bars.update(self._task, completed=done, total=total)

    def _tell(self, file: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if file != self._file:
            self._file, self._told = file, now
        elif now - self._told >= self._EVERY_S:
            self._told = now
            of = "" if total is None else f" of {total / 1e6:.1f}"
            self.note(f"{file}: {done / 1e6:.1f}{of} MB")
