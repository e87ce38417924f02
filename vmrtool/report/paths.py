"""Answers as the paths of their videos, each once, for programs such as xargs."""

from collections.abc import Iterable
from typing import TextIO

from vmrtool.errors import UsageError
from vmrtool.search.result import SearchResult


def write_paths(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes every video's path once, best first, a line each.

    A name that is not UTF-8 comes out as its bytes where `out` encodes surrogates as such.

    Raises:
        UsageError: a path holds a line break, so that it would be read as two.
    """
    _write(answers, out, "\n")


def write_paths_null(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes every video's path once, best first, each followed by a NUL byte."""
    _write(answers, out, "\0")


def _write(answers: Iterable[SearchResult], out: TextIO, end: str) -> None:
    seen = set()
    for answer in answers:
        for moment in answer.moments:
            path = str(moment.path)
            if path in seen:
                continue
            seen.add(path)
            if end in path:
                raise UsageError(
                    f"{path!r}: a name with a line break in it would be read as two",
                    remedy="Use -0, and xargs -0.",
                )
            out.write(path + end)
        out.flush()
