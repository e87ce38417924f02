"""charades-clip: CI-MHA, its ablations and its blind twin on real features, cross-validated.

    python benchmarks/charades_clip.py --out RUNS [--folds 0] [--seeds 3] [--methods ci-mha,blind]
        [--record FILE]

The only real features there are for Charades-STA here are of its test split: CLIP ViT-B/32, one
frame a second. So its videos make five folds, fold = crc32(video id) % 5. Each fold is tested by a
network trained on the other four, a part of which is set aside to choose the epoch. The same
command again goes on where it stopped; what is finished is read, not trained again. With
`--record` the figures of every query are also kept, one line a run, in a file that needs no runs
beside it: what it holds of these settings is not trained again, on whatever machine.

Printed at the end: R@1 and mIoU with all folds pooled, mean and deviation over seeds, and how far
each method is ahead of the blind twin, by a paired bootstrap over the queries.
"""

import argparse
import hashlib
import json
import os
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.datasets.dataset import Dataset, split_by_video
from vmrtool.datasets.load import load_parts
from vmrtool.errors import DivergedError
from vmrtool.evaluation.metrics import score_each, truths_of
from vmrtool.evaluation.predictions import read_predictions, write_predictions
from vmrtool.evaluation.within import measure, predict
from vmrtool.grounding.config import VARIANTS
from vmrtool.text.given import GivenVectors, read_given_vectors
from vmrtool.training.loop import EpochReport
from vmrtool.training.recipes import load_recipe
from vmrtool.training.settings import RunSettings, make_settings
from vmrtool.training.start import train

FOLDS = 5
BLIND = "blind"
FIGURES = ("R@1_IoU0.3", "R@1_IoU0.5", "R@1_IoU0.7", "mIoU")
RESAMPLES = 10_000

Figures = dict[str, NDArray[np.float64]]
Cell = tuple[str, int, int]  # method, fold, seed


@dataclass(frozen=True)
class Experiment:
    """What all runs share: the data set, its word vectors, the settings, where runs go."""

    dataset: Dataset
    given: GivenVectors | None
    settings: RunSettings
    out: Path
    device: str

    @property
    def settings_hash(self) -> str:
        """SHA-256 of the settings: figures of others are not these."""
        told = json.dumps(self.settings.to_json(), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


def main() -> None:
    """Train and test what is missing, then print the tables."""
    options = _options()
    torch.set_num_threads(options.threads)
    annotations = options.data / "charades-sta"
    (dataset,) = load_parts(
        ["charades"],
        [annotations / "clip_vitb32_1fps_test.h5"],
        use="test",
        annotations=annotations,
    )
    settings = make_settings(load_recipe(options.recipe), options.overrides)
    given = None
    if settings.network.get("query_encoder") == "glove":
        queries = [sample.query for sample in dataset.samples]
        glove = options.data / "glove" / "glove.840B.300d.subset.txt"
        given = read_given_vectors(glove, queries, settings.network["word_dim"])
    experiment = Experiment(dataset, given, settings, options.out, options.device)
    cells = [
        (method, fold, seed)
        for seed in range(options.seeds)
        for fold in options.folds
        for method in options.methods
    ]
    found = read_record(options.record, experiment) if options.record else {}
    for number, (method, fold, seed) in enumerate(cells, start=1):
        print(f"[{number}/{len(cells)}] {method} fold {fold} seed {seed}", flush=True)
        cell = (method, fold, seed)
        if cell in found:
            print("  " + _told(found[cell]), flush=True)
            continue
        try:
            found[cell] = tested(experiment, *cell)
            if options.record:
                add_to_record(options.record, experiment, cell, found[cell])
        except KeyboardInterrupt:
            print("interrupted; the same command goes on", file=sys.stderr)
            sys.exit(130)
        except DivergedError as error:
            print(f"  left out: {error}", flush=True)
    report(found, options.methods, options.folds, range(options.seeds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    given = Path(os.environ.get("VMRTOOL_TEST_DATA") or default)
    parser.add_argument("--data", type=Path, default=given, help="folder of the real data")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--record", type=Path, help="JSON lines of figures to go on with")
    parser.add_argument("--recipe", default="charades-clip", help="model name or TOML file")
    parser.add_argument("--folds", type=_numbers, default=list(range(FOLDS)), help="as 0,1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", type=_methods, default=[*VARIANTS, BLIND])
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if not (options.data / "charades-sta").is_dir():
        sys.exit(f"no real data at {options.data}: set VMRTOOL_TEST_DATA, or give --data")
    return options


def _numbers(text: str) -> list[int]:
    numbers = [int(word) for word in text.split(",")]
    if not set(numbers) <= set(range(FOLDS)):
        raise argparse.ArgumentTypeError(f"folds are 0 to {FOLDS - 1}")
    return numbers


def _methods(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= {*VARIANTS, BLIND}:
        raise argparse.ArgumentTypeError(f"methods are {', '.join([*VARIANTS, BLIND])}")
    return names


def fold_of(vid: str) -> int:
    """The fold that a video is tested in."""
    return zlib.crc32(vid.encode()) % FOLDS


def divided(dataset: Dataset, fold: int) -> tuple[Dataset, Dataset]:
    """The data set without a fold's videos, and the fold."""
    inside = [fold_of(sample.vid) == fold for sample in dataset.samples]
    rest = [index for index, here in enumerate(inside) if not here]
    held = [index for index, here in enumerate(inside) if here]
    return dataset.select(rest), dataset.select(held, name=f"{dataset.name} fold {fold}")


def tested(experiment: Experiment, method: str, fold: int, seed: int) -> Figures:
    """The figures of every query of a fold, by a network trained on the other folds."""
    rest, fold_set = divided(experiment.dataset, fold)
    folder = experiment.out / method / f"fold-{fold}" / f"seed-{seed}"
    saved = folder / "test.jsonl"
    if not saved.exists():
        part, aside = split_by_video(rest, experiment.settings.training.validation_share, seed=fold)
        began = time.monotonic()
        variant = {} if method == BLIND else {"variant": method}
        network = {**experiment.settings.network, **variant}
        result = train(
            part,
            aside,
            replace(experiment.settings, network=network),
            folder,
            measure=measure,
            given=experiment.given,
            seed=seed,
            blind=method == BLIND,
            device=experiment.device,
            resume=True,
            report=_tell,
        )
        shown = fold_set.blind() if method == BLIND else fold_set
        write_predictions(saved, fold_set.samples, predict(result.model, shown))
        print(f"  epoch {result.best_epoch}, {time.monotonic() - began:.0f} s", flush=True)
    predictions = read_predictions(saved, fold_set.samples)
    figures = score_each(predictions, truths_of(fold_set.samples, "raw"))
    print("  " + _told(figures), flush=True)
    return figures


def read_record(path: Path, experiment: Experiment) -> dict[Cell, Figures]:
    """The figures that a record holds of this experiment's settings."""
    found: dict[Cell, Figures] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        entry = json.loads(line)
        if entry["settings"] == experiment.settings_hash:
            # Kept beside the IoUs, since one rounded up to 0.5 is no hit.
            reached = np.array([int(digit) for digit in entry["thresholds_reached"]])
            figures = {name: 100.0 * (reached > place) for place, name in enumerate(FIGURES[:-1])}
            figures["mIoU"] = np.array(entry["iou_percent"], dtype=np.float64)
            found[entry["method"], entry["fold"], entry["seed"]] = figures
    return found


def add_to_record(path: Path, experiment: Experiment, cell: Cell, figures: Figures) -> None:
    """Adds the figures of every query of a cell, in the order of the data set, as one line."""
    method, fold, seed = cell
    entry = {
        "method": method,
        "fold": fold,
        "seed": seed,
        "settings": experiment.settings_hash,
        "thresholds_reached": "".join(
            str(sum(bool(hit) for hit in hits))
            for hits in zip(*(figures[name] for name in FIGURES[:-1]), strict=True)
        ),
        "iou_percent": [round(iou) for iou in figures["mIoU"]],
    }
    with path.open("a") as file:
        file.write(json.dumps(entry, separators=(",", ":")) + "\n")


def _tell(event: Any) -> None:
    if isinstance(event, EpochReport):
        record = event.record
        figures = " ".join(f"{name} {record['validation'][name]:.1f}" for name in FIGURES)
        loss = record["losses"]["loss"]
        print(f"  epoch {record['epoch']}: loss {loss:.2f}, validation {figures}", flush=True)


def _told(figures: Figures) -> str:
    return " ".join(f"{name} {figures[name].mean():.2f}" for name in FIGURES)


def report(
    found: dict[Cell, Figures],
    methods: Sequence[str],
    folds: Sequence[int],
    seeds: Sequence[int],
) -> None:
    """Prints the pooled figures as a Markdown table, and the lead over the blind twin."""
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
        if method != BLIND and runs and pooled.get(BLIND):
            for name in ("R@1_IoU0.5", "R@1_IoU0.7"):
                lead, low, high, p = paired_bootstrap(
                    _over_seeds(runs, name), _over_seeds(pooled[BLIND], name)
                )
                print(
                    f"\n{method} ahead of {BLIND}, {name}: {lead:+.2f} points, 95 % between "
                    f"{low:+.2f} and {high:+.2f}, p = {p:.4f} (one-sided, {RESAMPLES} resamples)"
                )


def _pooled(
    found: dict[Cell, Figures],
    method: str,
    folds: Sequence[int],
    seeds: Sequence[int],
) -> list[Figures]:
    """Every query's figures, folds one after another, of each seed that has all its folds."""
    runs = []
    for seed in seeds:
        if all((method, fold, seed) in found for fold in folds):
            parts = [found[method, fold, seed] for fold in folds]
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


if __name__ == "__main__":
    main()
