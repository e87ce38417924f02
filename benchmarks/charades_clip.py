"""charades-clip: CI-MHA, its ablations and its blind twin on real features, cross-validated.

    python benchmarks/charades_clip.py --out RUNS [--folds 0] [--seeds 3] [--methods ci-mha,blind]
        [--record FILE] [--searches]

The only real features there are for Charades-STA here are of its test split: CLIP ViT-B/32, one
frame a second. So its videos make five folds, fold = crc32(video id) % 5. Each fold is tested by a
network trained on the other four, a part of which is set aside to choose the epoch. The same
command again goes on where it stopped; what is finished is read, not trained again. With
`--record` the figures of every query are also kept, one line a run, in a file that needs no runs
beside it: what it holds of these settings is not trained again, on whatever machine.

Printed at the end: R@1 and mIoU with all folds pooled, mean and deviation over seeds, and how far
each method is ahead of the blind twin, by a paired bootstrap over the queries.

With `--searches` the networks of the first method and the first seed also search: each the archive
of all videos of its own test fold, in every way that `vmrtool eval --corpus --searches` compares.
"""

import argparse
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
from records import (
    Cell,
    Figures,
    add_to_record,
    print_table,
    read_record,
    settings_hash,
    tell_epoch,
    told,
)

from vmrtool.datasets.dataset import Dataset, split_by_video
from vmrtool.datasets.load import load_parts
from vmrtool.errors import DivergedError
from vmrtool.evaluation.metrics import score_each, truths_of
from vmrtool.evaluation.predictions import read_predictions, write_predictions
from vmrtool.evaluation.searches import compare_searches
from vmrtool.evaluation.within import measure, predict
from vmrtool.grounding.checkpoint import load_model
from vmrtool.grounding.config import VARIANTS
from vmrtool.text.given import GivenVectors, read_given_vectors
from vmrtool.training.folder import RunFolder
from vmrtool.training.recipes import load_recipe
from vmrtool.training.settings import RunSettings, make_settings
from vmrtool.training.start import train

FOLDS = 5
BLIND = "blind"


@dataclass(frozen=True)
class Experiment:
    """What all runs share: the data set, its word vectors, the settings, where runs go."""

    dataset: Dataset
    given: GivenVectors | None
    settings: RunSettings
    out: Path
    device: str


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
        Cell(method, fold, seed)
        for seed in range(options.seeds)
        for fold in options.folds
        for method in options.methods
    ]
    hashed = settings_hash(settings)
    found = read_record(options.record, hashed) if options.record else {}
    for number, cell in enumerate(cells, start=1):
        print(
            f"[{number}/{len(cells)}] {cell.method} fold {cell.fold} seed {cell.seed}", flush=True
        )
        if cell in found:
            print("  " + told(found[cell]), flush=True)
            continue
        try:
            found[cell] = tested(experiment, cell.method, cell.fold, cell.seed)
            if options.record:
                add_to_record(options.record, hashed, cell, found[cell])
        except KeyboardInterrupt:
            print("interrupted; the same command goes on", file=sys.stderr)
            sys.exit(130)
        except DivergedError as error:
            print(f"  left out: {error}", flush=True)
    print_table(found, options.methods, options.folds, range(options.seeds), BLIND)
    if options.searches:
        compare_ways(experiment, options.methods[0], options.folds, options.corpus_queries)


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
    parser.add_argument("--searches", action="store_true", help="compare ways of searching")
    parser.add_argument("--corpus-queries", type=int, help="search for so many of a fold, not all")
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


def folder_of(experiment: Experiment, method: str, fold: int, seed: int) -> Path:
    """The run folder of a cell."""
    return experiment.out / method / f"fold-{fold}" / f"seed-{seed}"


def tested(experiment: Experiment, method: str, fold: int, seed: int) -> Figures:
    """The figures of every query of a fold, by a network trained on the other folds."""
    rest, fold_set = divided(experiment.dataset, fold)
    folder = folder_of(experiment, method, fold, seed)
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
            report=tell_epoch,
        )
        shown = fold_set.blind() if method == BLIND else fold_set
        write_predictions(saved, fold_set.samples, predict(result.model, shown))
        print(f"  epoch {result.best_epoch}, {time.monotonic() - began:.0f} s", flush=True)
    predictions = read_predictions(saved, fold_set.samples)
    figures = score_each(predictions, truths_of(fold_set.samples, "raw"))
    print("  " + told(figures), flush=True)
    return figures


def compare_ways(
    experiment: Experiment, method: str, folds: Sequence[int], queries: int | None
) -> None:
    """Prints the figures of every way to search, the mean over the queries of all folds."""
    by_way: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for fold in folds:
        path = RunFolder(folder_of(experiment, method, fold, 0)).best
        if not path.exists():
            sys.exit(f"no run of {method}, fold {fold}: its figures are all that is kept of it")
        archive = divided(experiment.dataset, fold)[1]
        for row in compare_searches(load_model(path), archive, queries=queries):
            by_way.setdefault((row["search"], row["pooling"]), []).append(row)
            print(f"  fold {fold}: {row['search']}, {row['pooling']}", flush=True)
    names = [name for name in row if name.startswith(("video_R", "corpus_R"))]
    names = [name for name in names if not name.endswith("IoU0.3")]
    print(f"\n| search | ms | {' | '.join(names)} |".replace("corpus_", ""))
    print("|---|---:|" + "---:|" * len(names))
    for (search, pooling), rows in by_way.items():
        pairs = [row["pairs"] for row in rows]
        figures = [np.average([row[name]["mean"] for row in rows], weights=pairs) for name in names]
        told_ms = f"{np.average([row['ms'] for row in rows], weights=pairs):.0f}"
        cells = [f"{search}, {pooling}", told_ms, *(f"{figure:.2f}" for figure in figures)]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
