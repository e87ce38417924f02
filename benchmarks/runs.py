"""Runs in children forked from this process, which has everything imported and nothing computed.

So kills do not hit the start-up, and a child that dies takes nothing along.
"""

import os
import pickle
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from vmrtool.catalog import Catalog
from vmrtool.features.backbones import Backbone
from vmrtool.indexing.choice import Choice, find_extractor
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.report import Event, Opened
from vmrtool.search import cache, index_file
from vmrtool.search.engine import Searcher
from vmrtool.search.shards import open_archive

QUERIES = ("the red circle moves left", "the yellow square bounces", "a green pyramid grows")
Tell = Callable[[str], None]


@contextmanager
def telling(tell: Tell, owner: Any, name: str, stage: str, after: str) -> Iterator[None]:
    """Has a function tell the stage that it is, and the one that follows it."""
    saved = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        tell(stage)
        try:
            return saved(*arguments, **options)
        finally:
            tell(after)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, saved)


def index_videos(folder: Path, catalog: Path, tell: Tell = lambda stage: None) -> None:
    """Indexes for `blocks`, telling each stage it enters."""
    import torch

    torch.set_num_threads(1)

    def on_event(event: Event) -> None:
        if isinstance(event, Opened):
            tell("decoding")

    with (
        telling(tell, Backbone, "advance", "extraction", after="decoding"),
        telling(tell, Catalog, "save_video", "writing", after="decoding"),
    ):
        index([folder], catalog, lambda: blocks(catalog), workers=2, on_event=on_event)


def search(catalog: Path, tell: Tell = lambda stage: None) -> list[Any]:
    """Opens a catalog, which makes what search keeps, and asks; telling each stage it enters."""
    import torch

    torch.set_num_threads(1)
    # So few vectors would not be kept in an index of their own.
    cache.KEPT_FROM = cache.BESIDE_LEAST = 0
    tell("opening")
    with (
        telling(tell, Catalog, "save_vectors", "storing", after="vectors"),
        telling(tell, index_file, "write", "index file", after="opening"),
        telling(tell, os, "fsync", "index file", after="index file"),
        open_archive(
            catalog, "blocks", "cpu", on_vectors=lambda done, of: tell("vectors")
        ) as searcher,
    ):
        tell("asking")
        return answers(searcher)


def answers(searcher: Searcher) -> list[Any]:
    """What searches find, in plain values."""
    return [
        [(m.video, m.start, m.end, m.score) for m in searcher.search(query).moments]
        for query in QUERIES
    ]


def blocks(catalog: Path) -> Any:
    """The extractor of the model `blocks`, on the processor."""
    from vmrtool.grounding.checkpoint import load_model

    return find_extractor(
        Choice(model="blocks"),
        Choice.remembered(catalog),
        device="cpu",
        batch_size=None,
        read_spec=lambda path: load_model(path).extractor,
        tell=lambda line: None,
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
                "SELECT content_hash, chunk, n, dim, data, seen, cells, digest FROM features "
                "ORDER BY 1, 2"
            ).fetchall(),
            "vectors": db.execute(
                "SELECT content_hash, first, w.n, v.n, dim, data, spans, digest FROM windows AS w "
                "JOIN vectors AS v ON v.window_id = w.id ORDER BY 1, 2"
            ).fetchall(),
            "failures": db.execute("SELECT path, stage, error FROM failures ORDER BY 1").fetchall(),
        }
    assert held["integrity"] == [("ok",)], held["integrity"]
    assert held["foreign keys"] == [], held["foreign keys"]
    held["answers"] = search(path)
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
