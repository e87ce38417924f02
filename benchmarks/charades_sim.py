"""charades-sim: the rows of the paper's table and every reading, on simulated features.

    python benchmarks/charades_sim.py --features FILE.h5 --out RUNS
        [--methods ci-mha,mha] [--seeds 3] [--record FILE]

Annotations, splits and video lengths are Charades-STA's, the features are simulated: noisy
responses to the actions under way in each snippet (`simulate_features.py charades --dim 256
--seed 0`). So no figure here is one of Charades-STA, but for the blind twin's, which sees no
features. The setting is a small one, for a CPU: the recipe `charades` at D = 256, learning rate
4e-4, 8 epochs. Every reading starts with the recipe's attention_gain: without it `aligned` hardly
begins to learn, and `skip` would begin sooner.

The same command again goes on where it stopped. With `--record` the figures of every query are
also kept, one line a run, in a file that needs no runs beside it.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from records import (
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

from vmrtool.datasets.dataset import split_by_video
from vmrtool.datasets.load import all_queries, load_parts
from vmrtool.errors import DivergedError
from vmrtool.evaluation.metrics import score_each, truths_of
from vmrtool.evaluation.within import measure, predict
from vmrtool.text.given import read_given_vectors
from vmrtool.training.grid import ALL, BLIND, plan_runs
from vmrtool.training.recipes import load_recipe
from vmrtool.training.settings import make_settings
from vmrtool.training.start import train

SMALL = ["extractor.backbone=charades-sim", "network.dim=256", "training.lr=4e-4"]
SMALL += ["training.epochs=8"]


def main() -> None:
    """Train and test what is missing, then print the tables."""
    options = _options()
    torch.set_num_threads(options.threads)
    annotations = options.data / "charades-sta"
    (whole,), (test,) = (
        load_parts(["charades"], [options.features], use=use, annotations=annotations)
        for use in ("train", "test")
    )
    settings = make_settings(load_recipe("charades"), SMALL + options.overrides)
    given = read_given_vectors(
        options.data / "glove" / "glove.840B.300d.subset.txt",
        all_queries("charades", annotations=annotations),
        settings.network["word_dim"],
    )
    part, aside = split_by_video(whole, settings.training.validation_share, seed=0)
    planned = plan_runs(settings, range(options.seeds), variant=ALL, reading=ALL, blind=True)
    key = key_of(settings, options.features)
    found = read_record(options.record, key) if options.record else {}
    methods = list(dict.fromkeys(run.folder.parent.name for run in planned))
    if options.methods:
        if unknown := set(options.methods) - set(methods):
            sys.exit(f"no method {', '.join(sorted(unknown))}: there are {', '.join(methods)}")
        methods = options.methods
    for cell in planned:
        run = Run(cell.folder.parent.name, None, cell.seed)
        if run.method not in methods:
            continue
        print(f"{run.method} seed {run.seed}", flush=True)
        if run not in found:
            began = time.monotonic()
            try:
                result = train(
                    part,
                    aside,
                    cell.settings,
                    options.out / key[:8] / cell.folder,
                    measure=measure,
                    given=given,
                    seed=cell.seed,
                    blind=cell.blind,
                    device=options.device,
                    resume=True,
                    report=tell_epoch,
                )
            except KeyboardInterrupt:
                print("interrupted; the same command goes on", file=sys.stderr)
                sys.exit(130)
            except DivergedError as error:
                print(f"  left out: {error}", flush=True)
                continue
            shown = test.blind() if cell.blind else test
            found[run] = score_each(predict(result.model, shown), truths_of(test.samples, "raw"))
            print(f"  epoch {result.best_epoch}, {time.monotonic() - began:.0f} s", flush=True)
            if options.record:
                add_to_record(options.record, key, run, found[run])
        print("  " + told(found[run]), flush=True)
    print_table(found, methods, [None], range(options.seeds), BLIND)


def _options() -> argparse.Namespace:
    parser = experiment_options(__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, required=True, help="HDF5 of simulated features")
    parser.add_argument("--methods", type=lambda text: text.split(","), help="as ci-mha,mha-skip")
    return read_options(parser)


if __name__ == "__main__":
    main()
