"""Figures of trained runs, kept query by query, and the tables made of them.

A record is a file of JSON lines, one a run, that needs no run folder beside it: an experiment of
days goes on from it on whatever machine, and its tables can be made again.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmrtool.training.loop import EpochReport
from vmrtool.training.settings import RunSettings

FIGURES = ("R@1_IoU0.3", "R@1_IoU0.5", "R@1_IoU0.7", "mIoU")
RESAMPLES = 10_000

Figures = dict[str, NDArray[np.float64]]
"""Name of a figure -> its value for every query (Q,), in percent."""


class Cell(NamedTuple):
    """A run: what was trained, the fold it is tested on (None: the test split), its seed."""

    method: str
    fold: int | None
    seed: int


def settings_hash(settings: RunSettings) -> str:
    """SHA-256 of the settings: figures of others are not these."""
    return hashlib.sha256(json.dumps(settings.to_json(), sort_keys=True).encode()).hexdigest()


def read_record(path: Path, settings: str) -> dict[Cell, Figures]:
    """The figures that a record holds of the settings with this hash; {} where there is no file."""
    found: dict[Cell, Figures] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        entry = json.loads(line)
        if entry["settings"] == settings:
            # Kept beside the IoUs, since one rounded up to 0.5 is no hit.
            reached = np.array([int(digit) for digit in entry["thresholds_reached"]])
            figures = {name: 100.0 * (reached > place) for place, name in enumerate(FIGURES[:-1])}
            figures["mIoU"] = np.array(entry["iou_percent"], dtype=np.float64)
            found[Cell(entry["method"], entry["fold"], entry["seed"])] = figures
    return found


def add_to_record(path: Path, settings: str, cell: Cell, figures: Figures) -> None:
    """Adds the figures of every query of a cell, in the order of the data set, as one line."""
    entry = {
        **cell._asdict(),
        "settings": settings,
        "thresholds_reached": "".join(
            str(sum(bool(hit) for hit in hits))
            for hits in zip(*(figures[name] for name in FIGURES[:-1]), strict=True)
        ),
        "iou_percent": [round(iou) for iou in figures["mIoU"]],
    }
    with path.open("a") as file:
        file.write(json.dumps(entry, separators=(",", ":")) + "\n")


def tell_epoch(event: Any) -> None:
    """Prints an epoch's loss and validation figures; what else training reports is passed over."""
    if isinstance(event, EpochReport):
        record = event.record
        figures = " ".join(f"{name} {record['validation'][name]:.1f}" for name in FIGURES)
        loss = record["losses"]["loss"]
        print(f"  epoch {record['epoch']}: loss {loss:.2f}, validation {figures}", flush=True)


def told(figures: Figures) -> str:
    """The figures in a line, over all queries."""
    return " ".join(f"{name} {figures[name].mean():.2f}" for name in FIGURES)


def print_table(
    found: dict[Cell, Figures],
    methods: Sequence[str],
    folds: Sequence[int | None],
    seeds: Iterable[int],
    reference: str,
) -> None:
    """Prints figures pooled over folds as a Markdown table, and each method's lead over another."""
    seeds = list(seeds)
    pooled = {method: _pooled(found, method, folds, seeds) for method in methods}
    print(f"\n| method | seeds | {' | '.join(FIGURES)} |")
    print("|---|---:|" + "---:|" * len(FIGURES))
    for method, runs in pooled.items():
        if not runs:
            continue
        cells = []
        for name in FIGURES:
            means = [float(run[name].mean()) for run in runs]
            spread = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
            cells.append(f"{np.mean(means):.2f} ± {spread:.2f}")
        print(f"| {method} | {len(runs)} | {' | '.join(cells)} |")
    for method, runs in pooled.items():
        if method != reference and runs and pooled.get(reference):
            for name in ("R@1_IoU0.5", "R@1_IoU0.7"):
                lead, low, high, p = paired_bootstrap(
                    _over_seeds(runs, name), _over_seeds(pooled[reference], name)
                )
                print(
                    f"\n{method} ahead of {reference}, {name}: {lead:+.2f} points, 95 % between "
                    f"{low:+.2f} and {high:+.2f}, p = {p:.4f} (one-sided, {RESAMPLES} resamples)"
                )


def _pooled(
    found: dict[Cell, Figures],
    method: str,
    folds: Sequence[int | None],
    seeds: Sequence[int],
) -> list[Figures]:
    """Every query's figures, folds one after another, of each seed that has all its folds."""
    runs = []
    for seed in seeds:
        if all((method, fold, seed) in found for fold in folds):
            parts = [found[Cell(method, fold, seed)] for fold in folds]
            runs.append({name: np.concatenate([part[name] for part in parts]) for name in FIGURES})
    return runs


def _over_seeds(runs: Sequence[Figures], name: str) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean([run[name] for run in runs], axis=0)
    return mean


def paired_bootstrap(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, seed: int = 0
) -> tuple[float, float, float, float]:
    """How far `ours` (Q,) is ahead of `theirs` (Q,) on the same queries.

    Returns:
        The mean difference, the 2.5th and 97.5th percentile of it over resamples of the queries,
        and the share of resamples in which there is no lead.
    """
    difference = ours - theirs
    rng = np.random.default_rng(seed)
    count = len(difference)
    means = np.array([difference[rng.integers(0, count, count)].mean() for _ in range(RESAMPLES)])
    low, high = np.percentile(means, [2.5, 97.5])
    # A share of resamples cannot tell apart what is rarer than one of them.
    share = (float((means <= 0).sum()) + 1) / (RESAMPLES + 1)
    return float(difference.mean()), float(low), float(high), share
