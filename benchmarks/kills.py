"""Runs that are killed at random moments (SIGKILL), and what one more run makes of what they left.

Which stage a run is killed in goes by what it told last. The next kill is aimed at the stage that
had the fewest, some moments after it is entered.
"""

import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from broken_files import write_clip
from runs import QUERIES, Tell, ended, forked, index_videos, made_by_child, search, telling, whole

from vmrtool.datasets.dataset import split_by_video
from vmrtool.datasets.load import load_parts
from vmrtool.evaluation.within import measure
from vmrtool.training import loop, start
from vmrtool.training.folder import RunFolder
from vmrtool.training.loop import StepReport
from vmrtool.training.settings import make_settings

FINISHED = "finished"
SETTINGS = (
    *("network.dim=32", "network.word_dim=16", "network.retrieval_dim=16"),
    *("training.batch_size=4", "training.epochs=4", "training.crop=0.3", "training.noise=0.1"),
)


class Kills:
    """Kills runs, and counts in which stages."""

    def __init__(self, stages: Sequence[str], rng: random.Random) -> None:
        self.hit: Counter[str] = Counter(dict.fromkeys(stages, 0))
        self.finished = 0
        self._rng = rng

    @property
    def done(self) -> int:
        """Runs killed so far."""
        return sum(self.hit.values())

    def kill(self, work: Callable[[Tell], None]) -> bool:
        """Runs `work` in a child and kills it; False where it was over first."""
        least = min(self.hit.values())
        wanted = self._rng.choice([stage for stage, hits in self.hit.items() if hits == least])
        stage = killed(work, wanted, self._rng.randint(1, 4), 0.02 * self._rng.random() ** 4)
        if stage == FINISHED:
            self.finished += 1
        else:
            self.hit[stage] += 1
        return stage != FINISHED

    def __str__(self) -> str:
        spread = ", ".join(f"{hits} in {stage}" for stage, hits in self.hit.items())
        return f"{self.done} kills ({spread}; {self.finished} runs were over first)"


def killed(work: Callable[[Tell], None], wanted: str, nth: int, delay: float) -> str:
    """Kills a run some seconds after it enters a stage for the nth time; the stage it was in."""
    child, stages = forked(work)
    last, seen = FINISHED, 0
    with stages:
        for line in stages:
            last = line.strip()
            seen += last == wanted
            if seen == nth:
                break
        else:
            if (code := ended(child)) != 0:
                raise AssertionError(f"a run ended with {code}")
            return FINISHED
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        last = (stages.read().splitlines() or [last])[-1]
    return last if ended(child) == -signal.SIGKILL else FINISHED


def names(place: Path) -> list[str]:
    """What lies below a folder, hidden files too; the ids of catalogs are left out of names."""
    found = (path.relative_to(place).as_posix() for path in place.rglob("*"))
    return sorted(re.sub(r"-index-\w+", "-index", name) for name in found)


def kill_index(folder: Path, kills: int, seed: int) -> None:
    """Kills runs that index and then make what search keeps; the catalog must be the clean one."""
    rng = random.Random(seed)
    archive = folder / "archive"
    for number in range(6):
        write_clip(archive / f"{number}.mp4", seed=number, seconds=2 + number % 3)
    (archive / "notes.mp4").write_text("no video")

    def work(catalog: Path) -> Callable[[Tell], None]:
        def run(tell: Tell) -> None:
            index_videos(archive, catalog, tell)
            search(catalog, lambda stage: tell(stage if stage == "asking" else "cache"))

        return run

    compare(
        folder, Kills(("decoding", "extraction", "writing", "cache", "asking"), rng), kills, work
    )


def kill_search(folder: Path, kills: int, seed: int) -> None:
    """Kills searches of a catalog that videos were added to; what they keep must be the clean."""
    rng = random.Random(seed)
    archive, before = folder / "archive", folder / "before"
    before.mkdir()
    for number in range(12):
        if number == 6:
            whole(lambda tell: index_videos(archive, before / "vmrtool.db", tell))
            whole(lambda tell: search(before / "vmrtool.db", tell) and None)
        write_clip(archive / f"{number}.mp4", seed=number, seconds=2 + number % 3)
    whole(lambda tell: index_videos(archive, before / "vmrtool.db", tell))

    def work(catalog: Path) -> Callable[[Tell], None]:
        return lambda tell: search(catalog, tell) and None

    stages = ("opening", "vectors", "storing", "index file", "asking")
    compare(folder, Kills(stages, rng), kills, work, before)


def compare(
    folder: Path,
    killing: Kills,
    kills: int,
    work: Callable[[Path], Callable[[Tell], None]],
    before: Path | None = None,
) -> None:
    """Rounds of one to four kills and a finishing run, each beside one that nothing disturbed.

    `before` is a folder with the catalog that each of them starts from; without it there is none.
    """

    def begin(name: str) -> Path:
        place = folder / name
        if before is None:
            place.mkdir()
        else:
            shutil.copytree(before, place)
        return place / "vmrtool.db"

    rng = random.Random(kills)
    clean_at = begin("clean")
    whole(work(clean_at))
    beside, clean = names(clean_at.parent), made_by_child(clean_at)
    rounds = 0
    while killing.done < kills:
        rounds += 1
        catalog = begin(f"round-{rounds}")
        for _ in range(min(rng.randint(1, 4), kills - killing.done)):
            killing.kill(work(catalog))
        whole(work(catalog))
        left, found = names(catalog.parent), made_by_child(catalog)
        different = [name for name in clean if found[name] != clean[name]]
        if different or left != beside:
            raise AssertionError(f"round {rounds}: {different} differ; there lie {left}")
        shutil.rmtree(catalog.parent)
    print(
        f"{killing} and {rounds} finishing runs: every catalog equals the clean one, nothing is "
        "left beside it"
    )


def kill_train(folder: Path, kills: int, seed: int) -> None:
    """Kills training; once resumed to its end, the run's models must be the unbroken one's."""
    rng = random.Random(seed)
    archive, catalog = folder / "archive", folder / "vmrtool.db"
    rows = []
    for number in range(8):
        seconds = 4 + number % 3
        write_clip(archive / f"{number}.mp4", seed=number, seconds=seconds)
        for query in QUERIES:
            first = rng.uniform(0, seconds / 2)
            row = {"vid": str(number), "query": query, "duration": seconds, "qid": len(rows)}
            rows.append({**row, "relevant_windows": [[first, first + seconds / 2]]})
    queries = folder / "queries.jsonl"
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole(lambda tell: index_videos(archive, catalog, tell))

    def work(out: Path) -> Callable[[Tell], None]:
        return lambda tell: train(queries, catalog, out, tell)

    unbroken = folder / "unbroken"
    whole(work(unbroken))
    killing = Kills(("step", "validating", "writing", "ranking"), rng)
    rounds = 0
    while killing.done < kills:
        rounds += 1
        out = folder / f"round-{rounds}"
        for _ in range(min(rng.randint(1, 6), kills - killing.done)):
            if not killing.kill(work(out)):
                break
        whole(work(out))
        different = [
            name
            for name in ("model.safetensors", "last.safetensors", "result.json")
            if (out / name).read_bytes() != (unbroken / name).read_bytes()
        ]
        left = [name for name in names(out) if not name.startswith("tensorboard/")]
        there = [name for name in names(unbroken) if not name.startswith("tensorboard/")]
        if different or left != there or metrics(out) != metrics(unbroken):
            raise AssertionError(f"round {rounds}: {different} differ; there lie {left}")
        shutil.rmtree(out)
    print(
        f"{killing} and {rounds} finishing runs: every model equals the unbroken run's to the last "
        "bit, nothing else is left"
    )


def train(queries: Path, catalog: Path, out: Path, tell: Tell) -> None:
    """`train --resume`, telling each stage it enters."""
    import torch

    torch.set_num_threads(1)
    (dataset,) = load_parts([str(queries)], [catalog], use="train")
    training, validation = split_by_video(dataset, 0.25, seed=0)

    def report(event: Any) -> None:
        if isinstance(event, StepReport):
            tell("step")

    def measured(*arguments: Any) -> Any:
        tell("validating")
        return measure(*arguments)

    with (
        telling(tell, loop, "save_model", "writing", after="writing"),
        telling(tell, RunFolder, "save_state", "writing", after="step"),
        telling(tell, start, "fit_ranking_weights", "ranking", after="writing"),
    ):
        start.train(
            *(training, validation, make_settings({}, list(SETTINGS)), out),
            measure=measured,
            resume=(out / "config.json").exists(),
            report=report,
        )


def metrics(run: Path) -> list[dict[str, Any]]:
    """What a run tells of its epochs, but for the seconds they took."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{**line, "seconds": None} for line in lines]
