"""Where the answers of a search go: a terminal, a pipe, a file."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmrtool.report.formats import Write
    from vmrtool.search.result import SearchResult


class _Screen(io.TextIOBase):
    """Passes text on to a terminal without what would steer it: a file's name may hold anything."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        from vmrtool.catalog.paths import printable

        lines = text.split("\n")
        self._out.write("\n".join("\t".join(map(printable, line.split("\t"))) for line in lines))
        return len(text)

    def flush(self) -> None:
        self._out.flush()


def write_stdout(answers: Iterable[SearchResult], write: Write) -> None:
    """Writes to stdout: on a terminal harmless text, else UTF-8 and the bytes of file names."""
    if sys.stdout.isatty():
        write(answers, _Screen(sys.stdout))  # type: ignore[arg-type]
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    write(answers, sys.stdout)
    sys.stdout.flush()


def write_file(answers: Iterable[SearchResult], write: Write, path: Path) -> None:
    """Writes a file, whole or not at all."""
    from vmrtool.files import whole

    with (
        whole(path) as place,
        place.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
    ):
        write(answers, out)


def write_table(answers: Iterable[SearchResult], path: Path | None) -> None:
    """Draws a table an answer: on stdout, or into a file as plain text."""
    from rich.console import Console

    from vmrtool.report.table import moments_table

    if path is None:
        console = Console(highlight=False)
        for answer in answers:
            console.print(moments_table(answer, Path.cwd()))
        return

    def draw(answers: Iterable[SearchResult], out: TextIO) -> None:
        console = Console(file=out, highlight=False, width=100)
        for answer in answers:
            console.print(moments_table(answer, Path.cwd()))

    write_file(answers, draw, path)
