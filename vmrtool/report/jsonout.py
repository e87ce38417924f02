"""Answers as JSON: one indented object, or one object a line.

Numbers are written as they are, never rounded, and text as UTF-8 rather than as escapes, but for
characters that steer a terminal or hide what a name is, which are escaped.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from vmrtool.search.result import SearchResult

# Those that JSON itself does not escape: DEL and C1 controls, line separators, bidi controls.
_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def write_json(answer: Mapping[str, Any], out: TextIO) -> None:
    """Writes one object, indented, with a newline at the end."""
    out.write(_text(answer, indent=2) + "\n")


def write_jsonl(answer: Mapping[str, Any], out: TextIO) -> None:
    """Writes one object on a line of its own and flushes, so that a reader of a pipe has it now."""
    out.write(_text(answer) + "\n")
    out.flush()


def write_answers(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes each answer as an indented object."""
    for answer in answers:
        write_json(answer.to_dict(), out)


def write_lines(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes one object a line."""
    for answer in answers:
        write_jsonl(answer.to_dict(), out)


def _text(answer: Mapping[str, Any], indent: int | None = None) -> str:
    text = json.dumps(answer, indent=indent, ensure_ascii=False, allow_nan=False)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
