"""The ways to write answers down: a name, the suffixes it is known by, and what writes it.

A writer takes all answers of a command, one a query and each as it comes, and a text stream. It
writes what precedes them, then one after the other, so a reader of a pipe has each at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from vmrtool.errors import UsageError
from vmrtool.report.cues import write_srt, write_vtt
from vmrtool.report.jsonout import write_answers, write_lines
from vmrtool.report.paths import write_paths
from vmrtool.report.playlists import write_m3u, write_mpv
from vmrtool.report.spreadsheet import write_csv, write_tsv
from vmrtool.search.result import SearchResult

Write = Callable[[Iterable[SearchResult], TextIO], None]


def write_edl(answers: Iterable[SearchResult], out: TextIO) -> None:
    """`edl.write_edl`, which alone of all formats opens videos, and takes long to import for it."""
    from vmrtool.report import edl

    edl.write_edl(answers, out)


@dataclass(frozen=True)
class AnswerFormat:
    """What writes a format, and the suffixes of file names that mean it."""

    write: Write
    suffixes: tuple[str, ...] = ()


FORMATS: dict[str, AnswerFormat] = {
    "json": AnswerFormat(write_answers, (".json",)),
    "jsonl": AnswerFormat(write_lines, (".jsonl", ".ndjson")),
    "csv": AnswerFormat(write_csv, (".csv",)),
    "tsv": AnswerFormat(write_tsv, (".tsv",)),
    "m3u": AnswerFormat(write_m3u, (".m3u", ".m3u8")),
    "mpv": AnswerFormat(write_mpv, (".mpv",)),
    "vtt": AnswerFormat(write_vtt, (".vtt",)),
    "srt": AnswerFormat(write_srt, (".srt",)),
    "edl": AnswerFormat(write_edl, (".edl",)),
    "paths": AnswerFormat(write_paths),
}
"""Every format but the table, which is drawn for the terminal it is shown on."""


def format_of(path: Path) -> str:
    """The format that a file's suffix means.

    Raises:
        UsageError: it means none.
    """
    for name, known in FORMATS.items():
        if path.suffix.lower() in known.suffixes:
            return name
    suffixes = ", ".join(suffix for known in FORMATS.values() for suffix in known.suffixes)
    raise UsageError(
        f"{path}: no format is known by this suffix",
        remedy=f"Add --format, or use one of {suffixes}.",
    )
