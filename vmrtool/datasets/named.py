"""The paper's data sets, read from their public annotation files.

charades     charades_sta_{train,test}.txt, `VIDEO start end##sentence` a line, with the videos'
             lengths from Charades_v1_{train,test}.csv.
activitynet  {train,val_1,val_2}.json, an object of videos with duration, timestamps, sentences.

A sample's qid is the 0-based number of its line, or of its pair counted through the file.
"""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmrtool.datasets.samples import DROPPED, PAST_END, SWAPPED, Annotations, Sample
from vmrtool.errors import DataError, UsageError

_LINE = re.compile(r"(\S+)\s+(\S+)\s+(\S+?)\s*##(.*)")


@dataclass(frozen=True)
class Named:
    """A data set with a name: its splits, the split for each use, and how to read one."""

    splits: tuple[str, ...]
    split_for: dict[str, str]
    read: Callable[[Path, str], Annotations]


def read_charades(folder: Path, split: str) -> Annotations:
    """Reads a split of Charades-STA.

    A start after its end is swapped; an end past the video's length is kept as published (labels
    are cut to the video, scores are not unless asked). Both are counted.

    Raises:
        DataError: a file is missing, or a line is not as expected; names it.
    """
    lengths = _charades_lengths(folder / f"Charades_v1_{split}.csv")
    path = folder / f"charades_sta_{split}.txt"
    fixes: Counter[str] = Counter()
    samples = []
    for number, line in enumerate(_text(path).splitlines()):

        def wrong(why: str, number: int = number) -> DataError:
            return DataError(
                f"{path}, line {number + 1}: {why}", remedy="expected: VIDEO start end##sentence"
            )

        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None or not match[4].strip():
            raise wrong(f"cannot be read: {line[:60]!r}")
        vid, start, end = match[1], _number(match[2]), _number(match[3])
        if start is None or end is None:
            raise wrong(f"{match[2]} and {match[3]} are not two numbers")
        if vid not in lengths:
            raise wrong(f"video {vid!r} is not in Charades_v1_{split}.csv")
        if start > end:
            start, end = end, start
            fixes[SWAPPED] += 1
        elif end > lengths[vid]:
            fixes[PAST_END] += 1
        query = match[4].strip()
        samples.append(Sample(number, vid, query, ((start, end),), lengths[vid]))
    return _annotations(f"charades {split}", path, samples, fixes)


def read_activitynet(folder: Path, split: str) -> Annotations:
    """Reads a split of ActivityNet Captions.

    A moment that does not end after it starts is dropped, an end past the video's length kept as
    published; both are counted.

    Raises:
        DataError: the file is missing or not as expected; names the video.
    """
    path = folder / f"{split}.json"
    try:
        videos = json.loads(_text(path))
    except ValueError as error:
        raise DataError(
            f"{path}: not JSON ({error})", remedy="get the data set's files again"
        ) from error
    shape = '{"v_…": {"duration": s, "timestamps": [[start, end], …], "sentences": ["…", …]}, …}'
    if not isinstance(videos, dict):
        raise DataError(f"{path}: not a JSON object", remedy=f"expected: {shape}")
    fixes: Counter[str] = Counter()
    samples = []
    number = 0
    for vid, video in videos.items():
        try:
            pairs = _activitynet_pairs(video)
        except ValueError as error:
            raise DataError(
                f"{path}: video {vid!r} is not as expected: {error}", remedy=f"expected: {shape}"
            ) from None
        duration = float(video["duration"])
        for (start, end), sentence in pairs:
            if start >= end:
                fixes[DROPPED] += 1
            else:
                fixes[PAST_END] += end > duration
                samples.append(Sample(number, vid, sentence, ((start, end),), duration))
            number += 1
    return _annotations(f"activitynet {split}", path, samples, fixes)


NAMED = {
    # Charades-STA has no validation split: a share of the training videos has to do.
    "charades": Named(("train", "test"), {"train": "train", "test": "test"}, read_charades),
    "activitynet": Named(
        ("train", "val_1", "val_2"),
        {"train": "train", "validation": "val_1", "test": "val_2"},
        read_activitynet,
    ),
}


def read_named(name: str, folder: Path | None, split: str) -> Annotations:
    """Reads a split of a data set of `NAMED` from the folder of its annotation files.

    Raises:
        UsageError: no folder given, or no such split.
        DataError: see the data set's own reader.
    """
    if folder is None:
        raise UsageError(
            f"data set {name} is read from its annotation files",
            remedy=f"get them: vmrtool data pull {name}; or say where they are: --annotations DIR",
        )
    if split not in NAMED[name].splits:
        raise UsageError(f"{name} has no split {split!r}; it has {', '.join(NAMED[name].splits)}")
    return NAMED[name].read(folder, split)


def _charades_lengths(path: Path) -> dict[str, float]:
    """Video -> length in seconds."""
    remedy = "expected: a CSV file with the columns id and length, in seconds"
    lengths = {}
    rows = csv.DictReader(_text(path).splitlines())
    try:
        if not {"id", "length"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}: no columns 'id' and 'length'", remedy=remedy)
        for row in rows:
            length = _number(row["length"])
            if length is None or length <= 0:
                raise DataError(
                    f"{path}, line {rows.line_num}: length is {row['length']!r}", remedy=remedy
                )
            lengths[row["id"]] = length
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: {error}", remedy=remedy) from error
    return lengths


def _activitynet_pairs(video: Any) -> list[tuple[tuple[float, float], str]]:
    """The video's moments with their sentences.

    Raises:
        ValueError: it is not of the expected shape; says what is not.
    """
    if not isinstance(video, dict):
        raise ValueError("not an object")
    duration = _number(video.get("duration"))
    if duration is None or duration <= 0:
        raise ValueError(f"duration is {video.get('duration')!r}, not a number above 0")
    times, sentences = video.get("timestamps"), video.get("sentences")
    for name, values in (("timestamps", times), ("sentences", sentences)):
        if not isinstance(values, list):
            raise ValueError(f"{name} is missing or no list")
    assert isinstance(times, list) and isinstance(sentences, list)
    if len(times) != len(sentences):
        raise ValueError(f"{len(times)} timestamps for {len(sentences)} sentences")
    pairs = []
    for span, sentence in zip(times, sentences, strict=True):
        numbers = [_number(value) for value in span] if isinstance(span, list) else []
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            raise ValueError(f"a timestamp is {span!r}, not two numbers")
        if not isinstance(sentence, str) or not sentence.strip():
            raise ValueError(f"a sentence is {sentence!r}")
        pairs.append(((numbers[0], numbers[1]), sentence.strip()))
    return pairs


def _annotations(name: str, path: Path, samples: list[Sample], fixes: Counter[str]) -> Annotations:
    if not samples:
        raise DataError(f"{path}: no query in it", remedy="get the data set's files again")
    return Annotations(name, tuple(samples), {kind: n for kind, n in fixes.items() if n})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"no annotation file {path}", remedy="give the folder that holds it: --annotations DIR"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})",
            remedy="give the folder that holds the annotation files: --annotations DIR",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text ({error.reason})", remedy="get the data set's files again"
        ) from error


def _number(value: Any) -> float | None:
    """The value as a finite float, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None
