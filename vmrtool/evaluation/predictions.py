"""Predictions as Moment-DETR's JSONL, in and out, matched to a data set's queries.

{"qid": 0, "vid": "3MSZA", "query": "…", "pred_relevant_windows": [[start, end, score], …]}
"""

import json
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vmrtool.datasets.samples import Sample
from vmrtool.errors import DataError
from vmrtool.evaluation.metrics import Prediction

_SHAPE = '{"qid": …, "vid": …, "query": …, "pred_relevant_windows": [[start, end, score], …]}'


def write_predictions(
    path: Path, samples: Sequence[Sample], predictions: Sequence[Prediction]
) -> None:
    """Writes one line a query; numbers are not rounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for sample, moments in zip(samples, predictions, strict=True):
            row = {
                "qid": sample.qid,
                "vid": sample.vid,
                "query": sample.query,
                "pred_relevant_windows": [list(moment) for moment in moments],
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_predictions(path: Path, samples: Sequence[Sample]) -> list[Prediction]:
    """Reads anybody's predictions for these queries, in the order of the queries.

    A row is matched by its qid; its vid and query, where given, must then be the query's own. A
    row without qid is matched on (vid, query): the first such row goes to the first such query.
    Moments stand in the order of the file. A query without a row has no prediction.

    Raises:
        DataError: no such file, a row of another shape, of an unknown query, a second one for the
            same query, or a qid whose vid or query differs; names the line.
    """
    if not path.is_file():
        raise DataError(f"no such predictions file: {path}")
    by_qid = {str(sample.qid): index for index, sample in enumerate(samples)}
    if len(by_qid) < len(samples):
        raise DataError("two queries of the data set have the same qid")
    by_words: dict[tuple[str, str], deque[int]] = defaultdict(deque)
    for index, sample in enumerate(samples):
        by_words[sample.vid, sample.query.strip()].append(index)
    predictions: list[Prediction] = [()] * len(samples)
    answered: dict[int, int] = {}
    for number, row in _rows(path):

        def wrong(why: str, number: int = number) -> DataError:
            return DataError(f"{path}, line {number}: {why}", remedy=f"a line looks like {_SHAPE}")

        for field in ("vid", "query"):
            if not isinstance(row.get(field, ""), str):
                raise wrong(f"{field!r} is not a text")
        if row.get("qid") is not None:
            if str(row["qid"]) not in by_qid:
                raise wrong(f"qid {row['qid']!r} is not in the data set")
            index = by_qid[str(row["qid"])]
            for field in ("vid", "query"):
                if field in row and row[field].strip() != getattr(samples[index], field).strip():
                    raise wrong(
                        f"{field} of qid {row['qid']} is {row[field]!r}, in the data set "
                        f"{getattr(samples[index], field)!r}"
                    )
        else:
            waiting = by_words.get((row.get("vid", ""), row.get("query", "").strip()))
            if not waiting:
                raise wrong("no query of the data set has this vid and query")
            index = waiting.popleft()
        if index in answered:
            raise wrong(f"a second prediction for the query of line {answered[index]}")
        answered[index] = number
        moments = _moments(row.get("pred_relevant_windows"))
        if moments is None:
            raise wrong("'pred_relevant_windows' is not a list of [start, end] or with a score")
        predictions[index] = moments
    if not answered:
        raise DataError(f"{path}: no prediction in it", remedy=f"one line a query: {_SHAPE}")
    return predictions


def _rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """The file's JSON objects with their line numbers."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: not a JSON object")
                yield number, row
    except ValueError as error:
        raise DataError(f"{path}: not JSON lines ({error})") from error


def _moments(pairs: Any) -> Prediction | None:
    """[[start, end, score], …] as tuples, score 0 where absent; None where it is nothing of it."""
    if not isinstance(pairs, list):
        return None
    moments = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) not in (2, 3):
            return None
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in pair):
            return None
        start, end, *score = map(float, pair)
        moments.append((start, end, score[0] if score else 0.0))
    return moments
