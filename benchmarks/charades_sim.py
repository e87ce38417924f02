"""charades-sim: the rows of the paper's table and every reading, on simulated features.

    python benchmarks/charades_sim.py --features FILE.h5 --out RUNS
        [--methods ci-mha,mha] [--seeds 3] [--record FILE]

Annotations, splits and video lengths are Charades-STA's, the features are simulated: noisy
responses to the actions under way in each snippet (`simulate_features.py` beside the real data,
`charades --dim 256 --seed 0`). So no figure here is one of Charades-STA, but for the blind twin's,
which sees no features. The setting is a small one, for a CPU: the recipe `charades` at D = 256,
learning rate 4e-4, 8 epochs.

The same command again goes on where it stopped. With `--record` the figures of every query are
also kept, one line a run, in a file that needs no runs beside it.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import torch
from records import Cell, add_to_record, print_table, read_record, settings_hash, tell_epoch, told

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
    load = {"annotations": annotations}
    (whole,) = load_parts(["charades"], [options.features], use="train", **load)
    (test,) = load_parts(["charades"], [options.features], use="test", **load)
    settings = make_settings(load_recipe("charades"), SMALL + options.overrides)
    given = read_given_vectors(
        options.data / "glove" / "glove.840B.300d.subset.txt",
        all_queries("charades", annotations=annotations),
        settings.network["word_dim"],
    )
    part, aside = split_by_video(whole, settings.training.validation_share, seed=0)
    planned = plan_runs(settings, range(options.seeds), variant=ALL, reading=ALL, blind=True)
    hashed = settings_hash(settings)
    found = read_record(options.record, hashed) if options.record else {}
    methods = list(dict.fromkeys(run.folder.parent.name for run in planned))
    if options.methods:
        if unknown := set(options.methods) - set(methods):
            sys.exit(f"no method {', '.join(sorted(unknown))}: there are {', '.join(methods)}")
        methods = options.methods
    for run in planned:
        cell = Cell(run.folder.parent.name, None, run.seed)
        if cell.method not in methods:
            continue
        print(f"{cell.method} seed {cell.seed}", flush=True)
        if cell not in found:
            began = time.monotonic()
            try:
                result = train(
                    part,
                    aside,
                    run.settings,
                    options.out / run.folder,
                    measure=measure,
                    given=given,
                    seed=run.seed,
                    blind=run.blind,
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
            shown = test.blind() if run.blind else test
            found[cell] = score_each(predict(result.model, shown), truths_of(test.samples, "raw"))
            print(f"  epoch {result.best_epoch}, {time.monotonic() - began:.0f} s", flush=True)
            if options.record:
                add_to_record(options.record, hashed, cell, found[cell])
        print("  " + told(found[cell]), flush=True)
    print_table(found, methods, [None], range(options.seeds), BLIND)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    given = Path(os.environ.get("VMRTOOL_TEST_DATA") or default)
    parser.add_argument("--data", type=Path, default=given, help="folder of the real data")
    parser.add_argument("--features", type=Path, required=True, help="HDF5 of simulated features")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--record", type=Path, help="JSON lines of figures to go on with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", type=lambda text: text.split(","), help="as ci-mha,mha-skip")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if not (options.data / "charades-sta").is_dir():
        sys.exit(f"no real data at {options.data}: set VMRTOOL_TEST_DATA, or give --data")
    return options


if __name__ == "__main__":
    main()
