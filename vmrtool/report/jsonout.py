"""Answers as JSON: one indented object, or one object a line.

Numbers are written as they are, never rounded, and text as UTF-8 rather than as escapes.
"""

import json
from collections.abc import Mapping
from typing import Any, TextIO


def write_json(answer: Mapping[str, Any], out: TextIO) -> None:
    """Writes one object, indented, with a newline at the end."""
    out.write(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(answer: Mapping[str, Any], out: TextIO) -> None:
    """Writes one object on a line of its own and flushes, so that a reader of a pipe has it now."""
    out.write(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")
    out.flush()
