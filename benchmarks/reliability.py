"""Kills, broken files, fuzzed readers and a soak: what is lost, what crashes, what grows.

    python benchmarks/reliability.py --part kill --kills 50 [--seed 0]
    python benchmarks/reliability.py --part broken --files 500 [--seed 0]
    python benchmarks/reliability.py --part readers --files 500 [--seed 0]
    python benchmarks/reliability.py --part soak --minutes 60

Every part prints what it found and ends with exit code 1 where a promise of docs/reliability.md
does not hold. Runs are children forked from this process, which has everything imported and nothing
computed, so that kills do not hit the start-up. Real videos below $VMRTOOL_TEST_DATA are broken
too, where it is set. POSIX only.
"""

import argparse
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
from broken_files import break_files, break_readers, write_clip

from vmrtool.catalog import Catalog
from vmrtool.indexing.choice import Choice, find_extractor
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.report import Decoded, Event, Opened
from vmrtool.search.engine import open_searcher

QUERIES = ("the red circle moves left", "the yellow square bounces", "a green pyramid grows")
STAGES = ("decoding", "extraction", "writing", "cache")
Tell = Callable[[str], None]


def index_and_search(folder: Path, catalog: Path, tell: Tell = lambda stage: None) -> None:
    """One whole run: indexes for `blocks`, then makes the vectors, telling each stage it enters."""
    import torch

    torch.set_num_threads(1)
    saved = Catalog.save_video

    def save(self: Catalog, *arguments: Any) -> bool:
        tell("writing")
        return saved(self, *arguments)

    def on_event(event: Event) -> None:
        if isinstance(event, Opened):
            tell("decoding")
        elif isinstance(event, Decoded):
            tell("extraction")

    Catalog.save_video = save  # type: ignore[method-assign]
    try:
        index([folder], catalog, lambda: blocks(catalog), workers=2, on_event=on_event)
        with open_searcher(catalog, "blocks", "cpu", on_vectors=lambda done, of: tell("cache")):
            pass
    finally:
        Catalog.save_video = saved  # type: ignore[method-assign]


def blocks(catalog: Path, timeout_s: float | None = None) -> Any:
    """The extractor of the model `blocks`, on the processor."""
    from vmrtool.grounding.checkpoint import load_model

    return find_extractor(
        Choice(model="blocks"),
        Choice.remembered(catalog),
        device="cpu",
        batch_size=None,
        read_spec=lambda path: load_model(path).extractor,
        tell=lambda line: None,
        timeout_s=timeout_s,
    )


def everything(path: Path) -> dict[str, Any]:
    """All that a catalog holds, row ids aside, and what searches find in it."""
    with closing(sqlite3.connect(path)) as db:
        held: dict[str, Any] = {
            "integrity": db.execute("PRAGMA integrity_check").fetchall(),
            "foreign keys": db.execute("PRAGMA foreign_key_check").fetchall(),
            "videos": db.execute(
                "SELECT r.path, v.path, size, mtime_ns, content_hash, duration_s, width, height, "
                "state FROM videos AS v JOIN roots AS r ON r.id = root_id ORDER BY 1, 2"
            ).fetchall(),
            "features": db.execute(
                "SELECT content_hash, chunk, n, dim, data, seen, cells FROM features ORDER BY 1, 2"
            ).fetchall(),
            "vectors": db.execute(
                "SELECT content_hash, first, w.n, v.n, dim, data, spans FROM windows AS w "
                "JOIN vectors AS v ON v.window_id = w.id ORDER BY 1, 2"
            ).fetchall(),
            "failures": db.execute("SELECT path, stage, error FROM failures ORDER BY 1").fetchall(),
        }
    assert held["integrity"] == [("ok",)], held["integrity"]
    assert held["foreign keys"] == [], held["foreign keys"]
    with open_searcher(path, "blocks", "cpu") as searcher:
        held["answers"] = [
            [(m.video, m.start, m.end, m.score) for m in searcher.search(query).moments]
            for query in QUERIES
        ]
    return held


def forked(work: Callable[[Tell], None]) -> tuple[int, Any]:
    """Starts `work` in a child; its process id, and a pipe with the stages that it tells."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, os.fdopen(read, "r")
    code = 1
    try:
        os.close(read)
        work(lambda stage: os.write(write, f"{stage}\n".encode()) and None)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Waits for a child; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole(work: Callable[[Tell], None]) -> None:
    """Runs `work` in a child to its end."""
    child, stages = forked(work)
    with stages:
        stages.read()
    if (code := ended(child)) != 0:
        raise AssertionError(f"a run ended with {code}")


def made_by_child(path: Path) -> dict[str, Any]:
    """`everything`, computed in a child, since this process must not compute."""
    kept = path.with_suffix(".everything")
    whole(lambda tell: kept.write_bytes(pickle.dumps(everything(path))) and None)
    held: dict[str, Any] = pickle.loads(kept.read_bytes())  # our own child's
    kept.unlink()
    return held


def kill(folder: Path, kills: int, seed: int) -> None:
    """Kills runs at random moments; each time, one finishing run must make the clean catalog."""
    rng = random.Random(seed)
    archive = folder / "archive"
    for number in range(6):
        write_clip(archive / f"{number}.mp4", seed=number, seconds=2 + number % 3)
    (archive / "notes.mp4").write_text("no video")
    (folder / "clean").mkdir()
    clean_at = folder / "clean" / "vmrtool.db"
    whole(lambda tell: index_and_search(archive, clean_at, tell))
    clean = made_by_child(clean_at)
    hit: Counter[str] = Counter()
    finished = rounds = 0
    while sum(hit.values()) < kills:
        rounds += 1
        place = folder / f"round-{rounds}"
        place.mkdir()
        catalog = place / "vmrtool.db"
        for _ in range(min(rng.randint(1, 4), kills - sum(hit.values()))):
            stage = killed(archive, catalog, rng)
            hit[stage] += stage != "finished"
            finished += stage == "finished"
        whole(lambda tell, catalog=catalog: index_and_search(archive, catalog, tell))
        left = sorted(path.name for path in place.iterdir())
        found = made_by_child(catalog)
        different = [name for name in clean if found[name] != clean[name]]
        if different or left != ["vmrtool.db"]:
            raise AssertionError(f"round {rounds}: {different} differ; there lie {left}")
        shutil.rmtree(place)
    del hit["finished"]
    spread = ", ".join(f"{hit[stage]} in {stage}" for stage in STAGES)
    print(
        f"{sum(hit.values())} kills ({spread}; {finished} runs were over first) and {rounds} "
        "finishing runs: every catalog equals the clean one, nothing is left beside it"
    )


def killed(archive: Path, catalog: Path, rng: random.Random) -> str:
    """Kills one run a moment after it enters a stage drawn at random; the stage it was in."""
    wanted, nth, delay = rng.choice(STAGES), rng.randint(1, 3), rng.random() * 0.02
    child, stages = forked(lambda tell: index_and_search(archive, catalog, tell))
    last, seen = "finished", 0
    with stages:
        for line in stages:
            last = line.strip()
            seen += last == wanted
            if seen == nth:
                break
        else:
            ended(child)
            return "finished"
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        last = (stages.read().split() or [last])[-1]
    return last if ended(child) == -signal.SIGKILL else "finished"


def broken(folder: Path, files: int, seed: int) -> None:
    """Indexes broken files; each must be indexed or a failure with stage, error and remedy."""
    archive = folder / "archive"
    data = os.environ.get("VMRTOOL_TEST_DATA")
    kinds = break_files(archive, files, seed, Path(data) / "videos" if data else None)
    catalog = folder / "vmrtool.db"

    def work(tell: Tell) -> None:
        import torch

        torch.set_num_threads(1)
        av.logging.set_level(None)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        done = index([archive], catalog, lambda: blocks(catalog, 60.0), workers=2, timeout_s=60.0)
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
    defects = [
        row for row in report["failed"] if ": " in row["error"] and "Error: " in row["error"]
    ]
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
    if unsettled or bare or defects:
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


def main() -> None:
    """Runs one part in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("kill", "broken", "readers", "soak"), required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            if options.part == "kill":
                kill(folder, options.kills, options.seed)
            elif options.part == "broken":
                broken(folder, options.files, options.seed)
            elif options.part == "readers":
                readers(folder, options.files, options.seed)
            else:
                soak(folder, options.minutes, options.seed)
        except AssertionError as error:
            sys.exit(f"does not hold: {error}")


if __name__ == "__main__":
    main()
