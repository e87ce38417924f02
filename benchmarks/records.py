"""Figures of trained runs, kept query by query, the tables made of them, and the options of scripts
that make them.

A record is a file of JSON lines, one a run, that needs no run folder beside it: an experiment of
days goes on from it on whatever machine, and its tables can be made again.
"""

import argparse
import hashlib
import json
import os
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


class Run(NamedTuple):
    """What was trained, the fold it is tested on (None: the test split), the seed."""

    method: str
    fold: int | None
    seed: int


def experiment_options(description: str) -> argparse.ArgumentParser:
    """The options that all experiments have, to be added to."""
    parser = argparse.ArgumentParser(description=description)
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    given = Path(os.environ.get("VMRTOOL_TEST_DATA") or default)
    parser.add_argument("--data", type=Path, default=given, help="folder of the real data")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--record", type=Path, help="JSON lines of figures to go on with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def read_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line says; ends the program where there is no data."""
    options = parser.parse_args()
    if not (options.data / "charades-sta").is_dir():
        parser.error(f"no real data at {options.data}: set VMRTOOL_TEST_DATA, or give --data")
    return options


def key_of(settings: RunSettings, features: Path | None = None) -> str:
    """What figures are of: SHA-256 of the settings, and of the features where they are a choice."""
    key = hashlib.sha256(json.dumps(settings.to_json(), sort_keys=True).encode())
    if features is not None:
        with features.open("rb") as file:
            key.update(hashlib.file_digest(file, "sha256").digest())
    return key.hexdigest()


def read_record(path: Path, key: str) -> dict[Run, Figures]:
    """The figures that a record holds of what has this key; {} where there is no file."""
    found: dict[Run, Figures] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # it was cut off, and the run is done again
        if entry["settings"] == key:
            # Kept beside the IoUs, since one rounded up to 0.5 is no hit.
            reached = np.array([int(digit) for digit in entry["thresholds_reached"]])
            figures: Figures = {
                name: np.where(reached > place, 100.0, 0.0)
                for place, name in enumerate(FIGURES[:-1])
            }
            figures["mIoU"] = np.array(entry["iou_percent"], dtype=np.float64)
            found[Run(entry["method"], entry["fold"], entry["seed"])] = figures
    return found


def add_to_record(path: Path, key: str, run: Run, figures: Figures) -> None:
    """Adds the figures of every query of a run, in the order of the data set, as one line."""
    entry = {
        **run._asdict(),
        "settings": key,
        "thresholds_reached": "".join(
            str(sum(bool(hit) for hit in hits))
            for hits in zip(*(figures[name] for name in FIGURES[:-1]), strict=True)
        ),
        "iou_percent": [round(iou) for iou in figures["mIoU"]],
    }
    cut_off = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * cut_off + json.dumps(entry, separators=(",", ":")) + "\n")


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
    found: dict[Run, Figures],
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
    found: dict[Run, Figures],
    method: str,
    folds: Sequence[int | None],
    seeds: Sequence[int],
) -> list[Figures]:
    """Every query's figures, folds one after another, of each seed that has all its folds."""
    runs = []
    for seed in seeds:
        if all((method, fold, seed) in found for fold in folds):
            parts = [found[Run(method, fold, seed)] for fold in folds]
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
