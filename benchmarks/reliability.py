"""Kills, broken files, fuzzed readers and a soak: what is lost, what crashes, what grows.

    python benchmarks/reliability.py --part kill --kills 50 [--seed 0]
    python benchmarks/reliability.py --part kill-search --kills 50 [--seed 0]
    python benchmarks/reliability.py --part kill-train --kills 50 [--seed 0]
    python benchmarks/reliability.py --part broken --files 500 [--seed 0]
    python benchmarks/reliability.py --part readers --files 500 [--seed 0]
    python benchmarks/reliability.py --part soak --minutes 60

Every part prints what it found and ends with exit code 1 where a promise of docs/reliability.md
does not hold. Real videos below $VMRTOOL_TEST_DATA are broken too, where it is set. POSIX only.
"""

import argparse
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from broken_files import break_files, break_readers, write_clip
from kills import kill_index, kill_search, kill_train
from runs import QUERIES, blocks

from vmrtool.catalog import Catalog
from vmrtool.catalog.verification import verify
from vmrtool.indexing.pipeline import index
from vmrtool.search.shards import open_archive

PATIENCE_S = 120  # for decoding one video: real ones take a while on a busy machine
MOST_GROWN_MB = 100  # in a soak, from its second third to its last
MOST_MB = 2000  # of memory, the program, torch and the model included


def broken(folder: Path, files: int, seed: int) -> None:
    """Has `vmrtool index` at broken files; each is indexed, or fails with stage, error and remedy.

    Files of $VMRTOOL_TEST_DATA/videos are broken too, where it is set.
    """
    archive, catalog = folder / "archive", folder / "vmrtool.db"
    data = os.environ.get("VMRTOOL_TEST_DATA")
    kinds = break_files(archive, files, seed, Path(data) / "videos" if data else None)
    began = time.monotonic()
    command = [sys.executable, "-m", "vmrtool", "index", str(archive), "--catalog", str(catalog)]
    command += ["--model", "blocks", "--device", "cpu", "--workers", "2", "--json"]
    done = subprocess.run(
        [*command, "--timeout", str(PATIENCE_S)], capture_output=True, text=True, check=False
    )
    took = time.monotonic() - began
    if done.returncode != 1 or "Traceback" in done.stderr:
        raise AssertionError(f"exit code {done.returncode}: {done.stderr[-2000:]}")
    report = json.loads(done.stdout)
    with closing(sqlite3.connect(catalog)) as db:
        states = dict(db.execute("SELECT path, state FROM videos").fetchall())
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Catalog.open(catalog) as opened:
        assert verify(opened).faults == ()
    unsettled = [name for name in kinds if states.get(name) not in ("indexed", "failed")]
    # What nothing here has foreseen is told by its Python name.
    defects = [
        row
        for row in report["failed"]
        if not (row["stage"] and row["error"] and row["remedy"]) or "Error: " in row["error"]
    ]
    for row in defects:
        print(f"{Path(row['path']).name}: {row['stage']}, {row['error']}, {row['remedy']}")
    outcomes = Counter((kind, states.get(name)) for name, kind in kinds.items())
    for kind in sorted(set(kinds.values())):
        print(
            f"{kind:14} {outcomes[kind, 'indexed']:4} indexed {outcomes[kind, 'failed']:4} failed"
        )
    died = sum("the decoder died of it" in row["error"] for row in report["failed"])
    hung = sum("given up" in row["error"] for row in report["failed"])
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{len(kinds)} files: {sum(s == 'indexed' for s in states.values())} indexed, "
        f"{len(report['failed'])} failed with reason and remedy ({died} decoders died, {hung} "
        f"were given up), {len(unsettled)} unsettled; at most {most:.0f} MB of memory, {took:.0f} s"
    )
    if unsettled or defects or most > MOST_MB:
        raise AssertionError(f"unsettled {unsettled[:5]}, {len(defects)} without reason or remedy")


def readers(folder: Path, files: int, seed: int) -> None:
    """Feeds broken catalogs, checkpoints, vectors, JSONL and HDF5 to their readers."""
    outcomes, defects = break_readers(folder, files, seed)
    for reader in sorted({reader for reader, _ in outcomes}):
        read, refused = outcomes[reader, "read"], outcomes[reader, "refused"]
        print(f"{reader:12} {read:4} read {refused:4} refused with a message")
    for defect in defects:
        print(defect)
    print(f"{sum(outcomes.values())} files: {len(defects)} ended in anything but an own error")
    if defects:
        raise AssertionError(f"{len(defects)} readers ended in a traceback")


def soak(folder: Path, minutes: float, seed: int) -> None:
    """Index, change, search, prune, over a growing archive; memory and handles must be flat."""
    import torch

    torch.set_num_threads(1)
    rng = random.Random(seed)
    archive, catalog = folder / "archive", folder / "vmrtool.db"
    until = time.monotonic() + minutes * 60
    source = blocks(catalog)
    rounds, figures = 0, []
    while time.monotonic() < until or rounds < 3:
        rounds += 1
        write_clip(archive / f"{rounds}.mp4", seed=rounds, seconds=2)
        there = sorted(archive.iterdir())
        if rounds > 2:
            if rounds % 3 == 0:
                rng.choice(there[:-1]).unlink()
            there = sorted(archive.iterdir())
            changed = rng.choice(there)
            write_clip(changed, seed=10_000 + rounds, seconds=2)
            moved = rng.choice(there)
            moved.rename(moved.with_name(f"moved-{rounds}.mp4"))
        report = index([archive], catalog, lambda: source, workers=2, prune=True)
        names = {path.name for path in archive.iterdir()}
        assert report.seen == len(names) and not report.failed and not report.missing, report
        found = all_moments(catalog)
        assert {Path(video).name for video, *_ in found} == names, "a video is not found"
        figures.append((_resident_mb(), len(os.listdir("/proc/self/fd"))))  # noqa: PTH208
    third = max(1, len(figures) // 3)
    early, late = figures[third - 1 : 2 * third], figures[-third:]
    grown = np.mean([mb for mb, _ in late]) - np.mean([mb for mb, _ in early])
    handles = late[-1][1] - early[0][1]
    print(
        f"{rounds} rounds, {len(names)} videos at the end: memory {late[-1][0]:.0f} MB, "
        f"{grown:+.1f} MB from the second to the last third; handles {late[-1][1]} ({handles:+d})"
    )
    index([archive], folder / "fresh.db", lambda: source, workers=2)
    assert all_moments(folder / "fresh.db") == found, "a fresh catalog answers otherwise"
    assert handles <= 0, "handles are left open"
    assert grown < MOST_GROWN_MB, "memory grows"


def all_moments(catalog: Path) -> list[tuple[str, float, float, float]]:
    """The best moment of every video, best first, with its score."""
    with open_archive(catalog, "blocks", "cpu") as searcher:
        found = searcher.search(QUERIES[0], top=10_000, shortlist=10_000, per_video=1)
    return [(moment.video, moment.start, moment.end, moment.score) for moment in found.moments]


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


PARTS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "kill": lambda folder, told: kill_index(folder, told.kills, told.seed),
    "kill-search": lambda folder, told: kill_search(folder, told.kills, told.seed),
    "kill-train": lambda folder, told: kill_train(folder, told.kills, told.seed),
    "broken": lambda folder, told: broken(folder, told.files, told.seed),
    "readers": lambda folder, told: readers(folder, told.files, told.seed),
    "soak": lambda folder, told: soak(folder, told.minutes, told.seed),
}


def main() -> None:
    """Runs one part in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            PARTS[options.part](folder, options)
        except AssertionError as error:
            sys.exit(f"does not hold: {error}")


if __name__ == "__main__":
    main()
