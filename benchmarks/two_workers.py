"""Two Ray workers on this machine beside one process, over one archive: times, and equal catalogs.

    OMP_NUM_THREADS=1 python benchmarks/two_workers.py [--videos 6] [--repeats 3]

It renders an archive and indexes it, in turns, by one process that computes with one thread, by
one with as many as there are processors, and by a Ray of two workers with a thread each. Ray is
started before its clock runs, and how long that took is told by itself; workers start and get the
backbone in every run. Catalogs of the same number of threads must
be equal to the byte: else the exit code is 1. Two workers help as far as there are two processors:
two threads of one core share its arithmetic.
"""

import argparse
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

import ray
import torch
from rich.console import Console
from two_hosts import contents

from vmrtool.cli.extractor_options import find_source
from vmrtool.demo.archive import render_archive
from vmrtool.indexing.choice import Choice
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.ray_extractor import on_ray


def main() -> None:
    """Runs it all and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=6, help="videos to render")
    parser.add_argument("--repeats", type=int, default=3, help="times that each is run")
    chosen = parser.parse_args()
    processors = os.cpu_count() or 1
    ways = {"one_thread": 1, "all_threads": processors, "two_workers": 1}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        render_archive(folder / "videos", videos=chosen.videos, seed=7)
        ray_s = start_ray()
        for repeat in range(chosen.repeats):
            for way, threads in ways.items():
                torch.set_num_threads(threads)
                catalog = folder / f"{way}-{repeat}.db"
                seconds[way].append(run(folder / "videos", catalog, by_ray=way == "two_workers"))
                print(f"{way}: {seconds[way][-1]:.1f} s", file=sys.stderr, flush=True)
        first = contents(folder / "one_thread-0.db")
        equal = all(
            contents(folder / f"{way}-{repeat}.db") == first
            for way in ("one_thread", "two_workers")
            for repeat in range(chosen.repeats)
        )
    middle = {way: statistics.median(times) for way, times in seconds.items()}
    told = {
        "processors": processors,
        "videos": chosen.videos,
        "ray_start_s": ray_s,
        "seconds": seconds,
        "two_workers_to_one_thread": middle["one_thread"] / middle["two_workers"],
        "two_workers_to_all_threads": middle["all_threads"] / middle["two_workers"],
        "equal": equal,
    }
    print(json.dumps(told, indent=2))
    sys.exit(not equal)


def start_ray() -> float:
    """Starts a Ray of two processors; returns how long that took."""
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    began = time.monotonic()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=256 << 20,
        log_to_driver=False,
        logging_level="error",
    )
    return time.monotonic() - began


def run(videos: Path, catalog: Path, *, by_ray: bool) -> float:
    """Seconds that indexing takes, the backbone read before."""
    source = find_source(
        *(Choice("blocks"), Choice(), Console(quiet=True)),
        device="cpu",
        batch_size=None,
        compiled=False,
    )
    if by_ray:
        source = on_ray(source, "", gpus=False)
    began = time.monotonic()
    report = index([videos], catalog, lambda: source)
    assert not report.failed, report.failed
    return time.monotonic() - began


if __name__ == "__main__":
    main()
