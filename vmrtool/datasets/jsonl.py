"""Data sets as JSONL: one query a line, in the demo archive's shape or QVHighlights'.

    {"qid": 0, "vid": "blocks_003", "video": "videos/blocks_003.mp4", "query": "the red circle …",
     "event": "red circle moves-left", "relevant_windows": [[3.2, 7.9]], "duration": 41.6}

`vid`, `query`, `relevant_windows` and `duration` are needed, the rest is optional. `video` is
relative to the JSONL's folder. Further fields (QVHighlights' saliency scores) are left alone.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from vmrtool.datasets.samples import (
    EMPTY,
    LEFT_OUT,
    PAST_END,
    SWAPPED,
    Annotations,
    Sample,
    Window,
)
from vmrtool.errors import DataError

_SHAPE = '{"vid": …, "query": …, "relevant_windows": [[start, end], …], "duration": seconds}'


def read_jsonl(path: Path) -> Annotations:
    """Reads a JSONL data set.

    A window given as [end, start] is swapped, one of no length is dropped, both counted.

    Raises:
        DataError: the file is missing, empty, or a line is not as described; names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such data set file: {path}")
    fixes: Counter[str] = Counter()
    samples: list[Sample] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    samples.append(_sample(line, path, number, len(samples), fixes))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason})") from error
    samples = [sample for sample in samples if sample.windows]
    if not samples:
        raise DataError(f"{path}: no query in it", remedy=f"one line a query: {_SHAPE}")
    return Annotations(_short(path), tuple(samples), {k: n for k, n in fixes.items() if n})


def _short(path: Path) -> str:
    """The file's name with its folder's, which tells one queries.jsonl from another."""
    return "/".join(path.resolve().parts[-2:])


def _sample(line: str, path: Path, number: int, index: int, fixes: Counter[str]) -> Sample:
    """Parses one line; `index` is the qid of a line that has none."""

    def wrong(why: str) -> DataError:
        return DataError(f"{path}, line {number}: {why}", remedy=f"a line looks like {_SHAPE}")

    try:
        row = json.loads(line)
    except ValueError as error:
        raise wrong(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise wrong("not a JSON object")
    for field, kind in (("vid", str), ("query", str), ("relevant_windows", list)):
        if not isinstance(row.get(field), kind):
            raise wrong(f"{field!r} is missing or not a {kind.__name__}")
    if not row["query"].strip():
        raise wrong("the query is empty")
    duration = _number(row.get("duration"))
    if duration is None or duration <= 0:
        raise wrong("'duration' is missing or not a positive number")
    windows = _windows(row["relevant_windows"], fixes)
    if windows is None:
        raise wrong("'relevant_windows' is not a list of [start, end] pairs of numbers")
    if not windows:
        fixes[LEFT_OUT] += 1
    fixes[PAST_END] += sum(end > duration + 1e-6 for _, end in windows)
    video = row.get("video")
    return Sample(
        qid=row.get("qid", index),
        vid=row["vid"],
        query=row["query"],
        windows=windows,
        duration=duration,
        event=row["event"] if isinstance(row.get("event"), str) else None,
        video=(path.parent / video).resolve() if isinstance(video, str) else None,
    )


def _windows(pairs: list[Any], fixes: Counter[str]) -> tuple[Window, ...] | None:
    """The pairs as (start, end) with start < end, or None where one is no pair of numbers."""
    windows = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            return None
        start, end = _number(pair[0]), _number(pair[1])
        if start is None or end is None:
            return None
        if start == end:
            fixes[EMPTY] += 1
            continue
        if start > end:
            fixes[SWAPPED] += 1
            start, end = end, start
        windows.append((start, end))
    return tuple(windows)


def _number(value: Any) -> float | None:
    """The value as a finite float, or None (a bool is no number here)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
