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
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import av
import numpy as np
from broken_files import break_files, break_readers, write_clip
from kills import kill_index, kill_search, kill_train
from runs import QUERIES, Tell, blocks, whole

from vmrtool.indexing.pipeline import index
from vmrtool.search.engine import open_searcher

PATIENCE_S = 120.0  # for decoding one video: real ones take a while on a busy machine
MOST_MB = 1000  # by which memory may grow


def broken(folder: Path, files: int, seed: int) -> None:
    """Indexes broken files; each must be indexed or a failure with stage, error and remedy.

    Files of $VMRTOOL_TEST_DATA/videos are broken too, where it is set.
    """
    archive = folder / "archive"
    data = os.environ.get("VMRTOOL_TEST_DATA")
    kinds = break_files(archive, files, seed, Path(data) / "videos" if data else None)
    catalog = folder / "vmrtool.db"

    def work(tell: Tell) -> None:
        import torch

        torch.set_num_threads(1)
        av.logging.set_level(None)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        done = index(
            [archive], catalog, lambda: blocks(catalog, PATIENCE_S), workers=2, timeout_s=PATIENCE_S
        )
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        told = {**done.to_dict(), "grown_mb": grown / 1024}
        (folder / "report.json").write_text(json.dumps(told))

    began = time.monotonic()
    whole(work)
    report = json.loads((folder / "report.json").read_text())
    with closing(sqlite3.connect(catalog)) as db:
        states = dict(db.execute("SELECT path, state FROM videos").fetchall())
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    unsettled = [name for name in kinds if states.get(name) not in ("indexed", "failed")]
    bare = [row["path"] for row in report["failed"] if not (row["stage"] and row["error"])]
    # What nothing here has foreseen is told by its Python name.
    defects = [row for row in report["failed"] if "Error: " in row["error"]]
    silent = Counter(row["error"] for row in report["failed"] if not row["remedy"])
    for row in defects:
        print(f"unforeseen: {Path(row['path']).name}: {row['error']}")
    outcomes = Counter((kind, states.get(name)) for name, kind in kinds.items())
    for kind in sorted(set(kinds.values())):
        print(
            f"{kind:14} {outcomes[kind, 'indexed']:4} indexed {outcomes[kind, 'failed']:4} failed"
        )
    print(
        f"{len(kinds)} files: {sum(s == 'indexed' for s in states.values())} indexed, "
        f"{len(report['failed'])} failed with a reason, {len(unsettled)} unsettled; memory grew "
        f"by {report['grown_mb']:.0f} MB, {time.monotonic() - began:.0f} s"
    )
    if silent:
        print(f"without a remedy: {dict(silent.most_common(5))}")
    if unsettled or bare or defects or silent or report["grown_mb"] > MOST_MB:
        raise AssertionError(f"unsettled {unsettled[:5]}, without a reason {bare[:5]}")


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
        with open_searcher(catalog, "blocks", "cpu") as searcher:
            found = searcher.search(QUERIES[0], top=1000, per_video=1)
        assert {Path(moment.video).name for moment in found.moments} == names
        figures.append((_resident_mb(), len(os.listdir("/proc/self/fd"))))  # noqa: PTH208
    third = max(1, len(figures) // 3)
    early, late = figures[third - 1 : 2 * third], figures[-third:]
    grown = np.mean([mb for mb, _ in late]) - np.mean([mb for mb, _ in early])
    handles = late[-1][1] - early[0][1]
    print(
        f"{rounds} rounds, {len(names)} videos at the end: memory {late[-1][0]:.0f} MB, "
        f"{grown:+.1f} MB from the second to the last third; handles {late[-1][1]} ({handles:+d})"
    )
    assert handles <= 0, "handles are left open"


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
