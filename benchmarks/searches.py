"""Ways of searching a data set's videos, query by query, in as many sittings as it takes.

    python benchmarks/searches.py --dataset charades --features FILE.h5 --model RUN --record FILE
        [--annotations DIR] [--ways NAME ...] [--blocks FROM:TO]

What `vmrtool eval --corpus --searches` compares, where its exhaustive search takes hours: every
window is grounded for every query. Here that search has a short cut (`first_ten.py`): its first ten
moments and videos are the same, its milliseconds are not. Nothing is told beyond the first ten.

Queries are asked in an order drawn once (seed 0), in blocks;
what each way found of a block is a line of the record, and the same command goes on with the rest;
of several at a time each takes blocks of its own, and all may write one record.
So a way that was stopped has a random part of the queries, and the table is printed twice: over
what each way was asked, and over what all were.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from first_ten import FirstTen
from numpy.typing import NDArray

from vmrtool.assets.models import find_model
from vmrtool.datasets.load import load_parts
from vmrtool.evaluation.corpus import archive_of, score_rankings, truths_everywhere
from vmrtool.evaluation.searches import Way, poolings_of, ways_of
from vmrtool.grounding.checkpoint import load_model

BLOCK = 60
SHOWN = (
    *("video_R@1", "video_R@10", "corpus_R@1_IoU0.5"),
    *("corpus_R@10_IoU0.5", "corpus_R@10_IoU0.7"),
)

Found = dict[tuple[str, int], tuple[NDArray[np.bool_], float]]
"""What is known by way and block: whether each query's figures are hits (Q, len(SHOWN)), and ms."""


def main() -> None:
    """Asks what is missing, then prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="a run's folder")
    parser.add_argument("--record", type=Path, required=True, help="JSON lines to go on with")
    parser.add_argument("--ways", nargs="*", help="as 'stretches: shortlist 50'; all without")
    parser.add_argument("--blocks", default=":", help=f"FROM:TO, of {BLOCK} queries each")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)

    model = load_model(find_model(chosen.model).require_checkpoint())
    (dataset,) = load_parts(
        [chosen.dataset], [chosen.features], use="test", annotations=chosen.annotations
    )
    ways = {
        f"{way.pooling}: {way.name}": way
        for pooled in poolings_of(model)
        for way in ways_of(pooled, dataset, complete=pooled.pooling == model.pooling)
    }
    exhaustive = next(name for name, way in ways.items() if way.shortlist is None)
    names = chosen.ways or list(ways)
    if unknown := set(names) - set(ways):
        sys.exit(f"no way {', '.join(sorted(unknown))}: there are {', '.join(ways)}")
    if exhaustive in names:
        first_ten = FirstTen(model, dataset, archive_of(model, dataset))
        ways[exhaustive] = replace(ways[exhaustive], find=first_ten.find)
    truths = truths_everywhere(dataset)
    order = np.random.default_rng(0).permutation(len(dataset))
    blocks = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    first, last = (int(bound) if bound else None for bound in chosen.blocks.split(":"))
    found = read(chosen.record, model.sha256)
    try:
        for number in range(len(blocks))[first:last]:
            block = blocks[number]
            for name in names:
                known = found.get((name, number))
                if known is not None and len(known[0]) == len(block):
                    continue
                hits, ms = ask(ways[name], [dataset.samples[q].query for q in block],
                               [truths[q] for q in block])  # fmt: skip
                found[name, number] = hits, ms
                add(chosen.record, model.sha256, name, number, hits, ms)
                print(f"{name}: block {number + 1} of {len(blocks)}, {ms:.0f} ms", flush=True)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
    done = {name: [n for n in range(len(blocks)) if (name, n) in found] for name in ways}
    table(found, done)
    common = set.intersection(*(set(numbers) for numbers in done.values() if numbers))
    table(found, {name: sorted(common & set(numbers)) for name, numbers in done.items()})


def ask(
    way: Way, queries: list[str], truths: list[dict[int, tuple[tuple[float, float], ...]]]
) -> tuple[NDArray[np.bool_], float]:
    """Whether each query's figures are hits (Q, len(SHOWN)), and the median of milliseconds."""
    taken, answers = [], []
    for query in queries:
        began = time.perf_counter()
        answers.append(way.find(query))
        taken.append(1000 * (time.perf_counter() - began))
    figures = score_rankings(answers, truths)
    return np.stack([figures[name] > 0 for name in SHOWN], axis=1), float(np.median(taken))


def read(path: Path, model: str) -> Found:
    """What a record has of this model's file; nothing where there is no record."""
    found: Found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # it was cut off, and the block is asked again
        if entry["model"] == model:
            masks = np.array([int(digits, 16) for digits in entry["hits"].split()])
            hits = (masks[:, None] >> np.arange(len(SHOWN)) & 1).astype(bool)
            found[entry["way"], entry["block"]] = hits, entry["ms"]
    return found


def add(path: Path, model: str, name: str, number: int, hits: NDArray[np.bool_], ms: float) -> None:
    """Adds a block to the record."""
    masks = (hits << np.arange(len(SHOWN))).sum(axis=1)
    entry = {"model": model, "way": name, "block": number, "ms": round(ms, 1)}
    entry["hits"] = " ".join(f"{mask:x}" for mask in masks)
    cut_off = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * cut_off + json.dumps(entry) + "\n")


def table(found: Found, blocks: dict[str, list[int]]) -> None:
    """Prints the figures of each way over some of the blocks, in percent."""
    print(f"\n| pooled: search | queries | {' | '.join(SHOWN)} | ms |")
    print("|---|---:|" + "---:|" * len(SHOWN) + "---:|")
    for name, numbers in blocks.items():
        if numbers:
            hits = np.concatenate([found[name, number][0] for number in numbers])
            cells = [f"{share:.2f}" for share in 100 * hits.mean(axis=0)]
            ms = np.median([found[name, number][1] for number in numbers])
            print(f"| {name} | {len(hits)} | {' | '.join(cells)} | {ms:.0f} |")


if __name__ == "__main__":
    main()
