"""Rows of an evaluation: one method's figures, per query and seed, and their summaries."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.samples import Sample, Window
from vmrtool.evaluation.metrics import Prediction

Figures = dict[str, NDArray[np.float64]]
"""Name of a figure -> its value for every query (Q,), in percent."""


def joined(parts: Sequence[Figures]) -> Figures:
    """The figures of several data sets' queries, one after another; {} of none."""
    if not parts:
        return {}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Row:
    """A method and its figures, once a seed."""

    method: str
    runs: tuple[Figures, ...]

    @property
    def seeds(self) -> int:
        """How many runs the figures are means of."""
        return len(self.runs)

    def summary(self, members: NDArray[np.bool_] | None = None) -> dict[str, dict[str, float]]:
        """Mean and standard deviation over seeds of each figure's mean over queries.

        Args:
            members: (Q,) the queries to count; all where None.
        """
        summary = {}
        for name in self.runs[0]:
            means = [
                float((run[name] if members is None else run[name][members]).mean())
                for run in self.runs
            ]
            spread = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
            summary[name] = {"mean": float(np.mean(means)), "std": spread}
        return summary

    def to_json(self, members: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """The row as it stands in `vmrtool.eval/1`."""
        return {"method": self.method, "seeds": self.seeds, **self.summary(members)}


def breakdown(rows: Sequence[Row], groups: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    """Each row's figures over each group of queries.

    Args:
        rows: the rows.
        groups: (Q,) the rank and name of every query's group.

    Returns:
        For every row and group, groups by rank and name, the row as in `vmrtool.eval/1` with the
        group's name and number of queries before it.
    """
    members = {group: np.array([g == group for g in groups]) for group in sorted(set(groups))}
    return [
        {"group": group[1], "pairs": int(chosen.sum()), **row.to_json(chosen)}
        for row in rows
        for group, chosen in members.items()
    ]


def write_per_query(
    path: Path,
    samples: Sequence[Sample],
    rows: Sequence[Row],
    *,
    truths: Sequence[Sequence[Window]],
    answers: Sequence[Sequence[Prediction]] = (),
) -> None:
    """Writes one JSON line a query and row: its figures, each the mean over the row's seeds.

    Args:
        path: the file.
        samples: (Q,) the queries.
        rows: the rows, each with figures for every query.
        truths: (Q,) the true moments that were scored against, in seconds.
        answers: of the first rows, the first seed's moments of every query, best first; the rows
            after them are baselines.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for number, row in enumerate(rows):
            answered = answers[number] if number < len(answers) else None
            means = {name: np.mean([run[name] for run in row.runs], axis=0) for name in row.runs[0]}
            for index, sample in enumerate(samples):
                figures = {name: float(values[index]) for name, values in means.items()}
                line = {
                    "method": row.method,
                    "qid": sample.qid,
                    "vid": sample.vid,
                    "query": sample.query,
                    "truth": truths[index],
                    "moments": None if answered is None else answered[index],
                    **figures,
                }
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
