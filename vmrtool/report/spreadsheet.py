"""Answers as CSV and TSV: one row a moment, the query in its first column.

A spreadsheet takes a cell that begins in certain ways for a formula, and a file's name may begin
so. Text cells that do get a `'` in front, as OWASP advises, and so do those that begin with `'`:
taking one `'` away from the beginning of every text cell that has it gives the text back.
"""

import csv
from collections.abc import Iterable
from typing import TextIO

from vmrtool.search.result import SearchResult

COLUMNS = (
    *("query", "rank", "video", "start", "end"),
    *("score", "similarity", "grounding", "video_b64"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠", "'", '"')
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def write_csv(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes CSV (RFC 4180 but for line ends, which are single newlines)."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for answer in answers:
        rows.writerows(_rows(answer))
        out.flush()


def write_tsv(answers: Iterable[SearchResult], out: TextIO) -> None:
    r"""Writes TSV without quotes: a line a moment; tab, newline and backslash as \t, \n, \\."""
    out.write("\t".join(COLUMNS) + "\n")
    for answer in answers:
        for row in _rows(answer):
            out.write("\t".join(str(cell).translate(_ESCAPES) for cell in row) + "\n")
        out.flush()


def _rows(answer: SearchResult) -> Iterable[list[str | int | float]]:
    for moment in answer.moments:
        cells = {"query": answer.query, "video_b64": "", **moment.to_dict()}
        yield [guarded(cells[name]) for name in COLUMNS]


def guarded(cell: str | int | float) -> str | int | float:
    """A cell that no spreadsheet takes for a formula; numbers are none and stay as they are."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
