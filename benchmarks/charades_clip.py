"""charades-clip: CI-MHA, its ablations and its blind twin on real features, cross-validated.

    python benchmarks/charades_clip.py --out RUNS [--folds 0] [--seeds 3] [--methods ci-mha,blind]
        [--record FILE] [--searches] [--corpus-queries N]

The only real features there are for Charades-STA here are of its test split: CLIP ViT-B/32, one
frame a second. So its videos make five folds, fold = crc32(video id) % 5. Each fold is tested by a
network trained on the other four, a part of which is set aside to choose the epoch. The same
command again goes on where it stopped; what is finished is read, not trained again. With
`--record` the figures of every query are also kept, one line a run, in a file that needs no runs
beside it: what it holds of these settings is not trained again, on whatever machine.

Printed at the end: R@1 and mIoU with all folds pooled, mean and deviation over seeds, and how far
each method is ahead of the blind twin, by a paired bootstrap over the queries.

With `--searches` the networks of the first method and the first seed also search: each the archive
of all videos of its own test fold, in every way that `vmrtool eval --corpus --searches` compares,
for all its queries or `--corpus-queries` of them.
"""

import argparse
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
    Figures,
    Run,
    add_to_record,
    experiment_options,
    key_of,
    print_table,
    read_options,
    read_record,
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
    key = key_of(settings)
    experiment = Experiment(dataset, given, settings, options.out / key[:8], options.device)
    runs = [
        Run(method, fold, seed)
        for seed in range(options.seeds)
        for fold in options.folds
        for method in options.methods
    ]
    found = read_record(options.record, key) if options.record else {}
    for number, run in enumerate(runs, start=1):
        method, fold, seed = run
        print(f"[{number}/{len(runs)}] {method} fold {fold} seed {seed}", flush=True)
        if run in found:
            print("  " + told(found[run]), flush=True)
            continue
        try:
            found[run] = tested(experiment, method, fold, seed)
            if options.record:
                add_to_record(options.record, key, run, found[run])
        except KeyboardInterrupt:
            print("interrupted; the same command goes on", file=sys.stderr)
            sys.exit(130)
        except DivergedError as error:
            print(f"  left out: {error}", flush=True)
    print_table(found, options.methods, options.folds, range(options.seeds), BLIND)
    if options.searches:
        compare_ways(experiment, options.methods[0], options.folds, options.corpus_queries)


def _options() -> argparse.Namespace:
    parser = experiment_options(__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="charades-clip", help="model name or TOML file")
    parser.add_argument("--folds", type=_numbers, default=list(range(FOLDS)), help="as 0,1")
    parser.add_argument("--methods", type=_methods, default=[*VARIANTS, BLIND])
    parser.add_argument("--searches", action="store_true", help="compare ways of searching")
    parser.add_argument("--corpus-queries", type=int, help="search for so many of a fold, not all")
    options = read_options(parser)
    if options.corpus_queries is not None and options.corpus_queries < 1:
        parser.error("--corpus-queries is at least 1")
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
    """The folder of a run."""
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
    folders = {fold: RunFolder(folder_of(experiment, method, fold, 0)) for fold in folds}
    for fold, folder in folders.items():
        if folder.read_result() is None:
            sys.exit(f"no finished run of {method}, fold {fold}, in {folder.path}")
    by_way: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for fold, folder in folders.items():
        archive = divided(experiment.dataset, fold)[1]
        shown = archive.blind() if method == BLIND else archive
        for row in compare_searches(load_model(folder.best), shown, queries=queries):
            by_way.setdefault((row["search"], row["pooling"]), []).append(row)
            print(f"  fold {fold}: {row['search']}, {row['pooling']}", flush=True)
    (first, *_), *_ = by_way.values()
    names = [name for name in first if name.startswith(("video_R", "corpus_R"))]
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
