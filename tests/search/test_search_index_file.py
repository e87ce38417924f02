"""The index beside the catalog: it follows the catalog, and losing it loses nothing."""

import fcntl
import itertools
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_catalog import random_videos, write_catalog, write_model
from typer.testing import CliRunner

import vmrtool
from vmrtool.catalog import Catalog, upkeep
from vmrtool.cli import app
from vmrtool.errors import UsageError
from vmrtool.search import cache, index_file
from vmrtool.search.result import SearchResult
from vmrtool.search.shards import open_archive

QUERY = "a person opens the door"
VIDEOS = random_videos(14)
NAMES = sorted(VIDEOS)
EXACT_ENOUGH = [("Flat", None), ("IVF4,Flat", 4), ("SQ8", None), ("HNSW8", None), ("IVF4,SQ8", 4)]
"""Indexes that, asked so, find on so few vectors what an exact one finds."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture
def db(tmp_path: Path, run: Path) -> Path:
    return write_catalog(tmp_path / "vmrtool.db", VIDEOS, model=str(run))


@pytest.fixture(autouse=True)
def kept_from_the_first_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KEPT_FROM", 0)


@contextmanager
def thresholds(beside: float, gone: float) -> Iterator[None]:
    """Shares at which the file is written anew, whatever the number of vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "BESIDE_LEAST", 0)
        patch.setattr(cache, "BESIDE", beside)
        patch.setattr(cache, "GONE", gone)
        yield


def answer(db: Path, factory: str | None = None, nprobe: int | None = None, **more) -> SearchResult:
    with open_archive(db, device="cpu", index_factory=factory, nprobe=nprobe) as archive:
        assert archive.notes == ()
        return timeless(archive.search(QUERY, **{"top": 100, "shortlist": 5, **more}))


def timeless(result: SearchResult) -> SearchResult:
    return replace(result, elapsed_ms=0.0)


def index_of(db: Path) -> Path:
    (path,) = upkeep.index_files(db)
    return path


@pytest.mark.parametrize(("factory", "nprobe"), EXACT_ENOUGH)
def test_it_answers_as_an_index_in_memory_does_also_with_a_filter(
    db: Path, factory: str, nprobe: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = [{}, {"video": "clip1*"}, {"video": "clip[2-9].mp4", "shortlist": 2}]
    with monkeypatch.context() as patch:
        patch.setattr(cache, "KEPT_FROM", 10**9)
        expected = [answer(db, **asked) for asked in filters]
        assert upkeep.index_files(db) == []
    made = [answer(db, factory, nprobe, **asked) for asked in filters]
    stamp = index_of(db).stat().st_mtime_ns
    mapped = [answer(db, factory, nprobe, **asked) for asked in filters]
    assert made == mapped == expected
    assert index_of(db).stat().st_mtime_ns == stamp
    assert {m.path.name for m in mapped[1].moments} <= {n for n in NAMES if n.startswith("clip1")}


def test_an_index_of_few_lists_finds_something_of_a_single_video(db: Path) -> None:
    for name in NAMES[:5]:
        found = answer(db, "IVF8,Flat", 1, video=name)
        assert {moment.path.name for moment in found.moments} == {name}


def change(db: Path, name: str) -> None:
    """The file `name` has another content than before."""
    features, cells = VIDEOS[name]
    other = (features[::-1] * np.float16(0.5)).copy()
    write_catalog(db, {name: (other, cells)})
    with Catalog.open(db, readonly=False) as catalog:
        catalog.collect_garbage()


def remove(db: Path, name: str) -> None:
    with Catalog.open(db, readonly=False) as catalog:
        upkeep.remove(catalog, [row for row in catalog.videos() if row.path.name == name])


def vanish(db: Path, name: str) -> None:
    """The file is not there, for now."""
    with Catalog.open(db, readonly=False) as catalog:
        catalog.mark_missing([row for row in catalog.videos() if row.path.name == name])


STEPS = {
    "add": lambda db, name: write_catalog(db, {name: VIDEOS[name]}),
    "change": change,
    "remove": remove,
    "vanish": vanish,
    "search": lambda db, name: None,
}


@settings(
    deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from(NAMES)), max_size=4),
    st.sampled_from(EXACT_ENOUGH[:2]),
    st.sampled_from([(0.0, 0.0), (0.2, 0.2), (9.0, 9.0)]),
)
def test_whatever_happened_to_the_catalog_the_answer_is_that_of_an_index_made_afresh(
    run: Path,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, str]],
    index: tuple[str, int | None],
    shares: tuple[float, float],
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    db = write_catalog(
        folder / "vmrtool.db", {name: VIDEOS[name] for name in NAMES[:8]}, model=str(run)
    )
    with thresholds(*shares):
        answer(db, *index)
        for step, name in steps:
            STEPS[step](db, name)
            with open_archive(db, index_factory=index[0], nprobe=index[1]) as archive:
                through = timeless(archive.search(QUERY, top=100, shortlist=5))
                filtered = timeless(archive.search(QUERY, top=100, shortlist=2, video="clip1*"))
        if not steps:
            return
        for left in upkeep.index_files(db):
            left.unlink()
        with open_archive(db, index_factory=index[0], nprobe=index[1]) as archive:
            assert timeless(archive.search(QUERY, top=100, shortlist=5)) == through
            assert timeless(archive.search(QUERY, top=100, shortlist=2, video="clip1*")) == filtered


@settings(
    deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(NAMES[:7]), st.sampled_from(NAMES[:7]), st.sampled_from(EXACT_ENOUGH[:2]))
def test_neither_the_order_of_indexing_nor_a_video_removed_shows_in_the_others(
    run: Path,
    tmp_path_factory: pytest.TempPathFactory,
    order: list[str],
    gone: str,
    index: tuple[str, int | None],
) -> None:
    def everything(db: Path) -> SearchResult:
        return answer(db, *index, shortlist=50)

    folder = tmp_path_factory.mktemp("order")
    first = write_catalog(folder / "vmrtool.db", {n: VIDEOS[n] for n in order[:4]}, model=str(run))
    everything(first)
    write_catalog(first, {n: VIDEOS[n] for n in order[4:]})
    found = everything(first)
    for path in (first, *upkeep.index_files(first)):
        path.unlink()
    again = write_catalog(first, {n: VIDEOS[n] for n in NAMES[:7]}, model=str(run))
    assert everything(again) == found
    remove(again, gone)
    kept = [replace(m, rank=0) for m in found.moments if m.path.name != gone]
    assert [replace(m, rank=0) for m in everything(again).moments] == kept


def test_a_few_new_videos_do_not_rewrite_the_file_and_many_do(db: Path) -> None:
    for name in NAMES[:4]:
        remove(db, name)
    answer(db, "IVF4,Flat", 4)
    path = index_of(db)
    before = path.read_bytes()
    STEPS["add"](db, NAMES[0])
    with open_archive(db, index_factory="IVF4,Flat") as archive:
        assert "newer than the index" in archive.index
    assert path.read_bytes() == before
    with thresholds(0.01, 0.25):
        STEPS["add"](db, NAMES[1])
        said: list[str] = []
        with open_archive(db, index_factory="IVF4,Flat", on_index=said.append) as archive:
            assert "newer than the index" not in archive.index
    assert said and "adding" in said[0]
    assert len(path.read_bytes()) > len(before)


def test_an_index_that_has_doubled_is_trained_anew(db: Path, run: Path, tmp_path: Path) -> None:
    small = write_catalog(tmp_path / "small.db", {n: VIDEOS[n] for n in NAMES[:4]}, model=str(run))
    said: list[str] = []
    with thresholds(0.1, 0.25):
        answer(small, "IVF4,Flat", 4)
        write_catalog(small, VIDEOS)
        with open_archive(small, index_factory="IVF4,Flat", on_index=said.append):
            pass
    assert [step.split()[0] for step in said] == ["making"]


def damaged(kind: str, data: bytes) -> bytes:
    rng = np.random.default_rng(0)
    match kind:
        case "cut":
            return data[: len(data) // 2]
        case "empty":
            return b""
        case "foreign":
            return rng.bytes(10_000)
        case "start":
            return rng.bytes(64) + data[64:]
        case "tables":
            at = len(data) - 600
            return data[:at] + rng.bytes(64) + data[at + 64 :]
        case _:
            return data + b"more"


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        *(("Flat", kind) for kind in ("cut", "empty", "foreign", "start", "tables", "longer")),
        *(("IVF4,SQ8", kind) for kind in ("cut", "start", "tables")),
        ("HNSW8", "start"),
    ],
)
def test_a_damaged_file_is_made_anew(db: Path, factory: str, kind: str) -> None:
    expected = answer(db, factory, shortlist=3)
    path = index_of(db)
    whole = path.read_bytes()
    path.write_bytes(damaged(kind, whole))
    with open_archive(db, index_factory=factory) as archive:
        assert timeless(archive.search(QUERY, top=100, shortlist=3)) == expected
        (note,) = archive.notes
    assert path.name in note and "made anew" in note and "\n" not in note
    assert path.read_bytes() == whole
    assert answer(db, factory, shortlist=3) == expected


def test_the_index_of_another_catalog_is_not_taken_for_ones_own(
    db: Path, run: Path, tmp_path: Path
) -> None:
    expected = answer(db, "Flat")
    other = write_catalog(tmp_path / "other.db", random_videos(9, 3), model=str(run))
    answer(other, "Flat")
    index_of(other).replace(index_of(db))
    with open_archive(db, index_factory="Flat") as archive:
        assert timeless(archive.search(QUERY, top=100, shortlist=5)) == expected
        assert "something else" in archive.notes[0]


def test_where_nothing_can_be_written_the_search_goes_on(db: Path) -> None:
    expected = answer(db, "Flat")
    path = index_of(db)
    path.unlink()
    path.mkdir()  # no file can take its place
    with open_archive(db, index_factory="IVF4,Flat", nprobe=4) as archive:
        assert archive.notes == ()  # another index has another place
    with open_archive(db, index_factory="Flat") as archive:
        assert timeless(archive.search(QUERY, top=100, shortlist=5)) == expected
        assert "cannot be kept" in archive.notes[-1] and "every search" in archive.notes[-1]


def test_a_full_disk_costs_the_file_and_not_the_search(db: Path) -> None:
    expected = answer(db, "Flat")
    assert index_of(db).stat().st_size > 40_000 > 2**15  # SQLite itself needs so much
    index_of(db).unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with open_archive(db, index_factory="Flat") as archive:
            assert timeless(archive.search(QUERY, top=100, shortlist=5)) == expected
            (note,) = archive.notes
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be kept" in note and "too large" in note
    assert list(db.parent.glob(f".{db.name}*")) == upkeep.index_files(db) == []


KILLED = """
import os, signal, sys
from vmrtool.search import cache, index_file
from vmrtool.search.shards import open_archive
cache.KEPT_FROM = 0
index_file.os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
open_archive(sys.argv[1], index_factory="Flat")
"""


def test_a_search_killed_while_it_writes_leaves_nothing_that_stays(db: Path) -> None:
    expected = answer(db, "Flat")
    index_of(db).unlink()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(db)], capture_output=True)
    assert killed.returncode == -9
    (left,) = db.parent.glob(f".{db.name}-index-*")
    assert upkeep.index_files(db) == [] and left.stat().st_size > 0
    with left.open("rb") as file:  # as if it were still at it
        fcntl.flock(file, fcntl.LOCK_EX)
        assert answer(db, "Flat") == expected
        assert left.exists()
    index_of(db).unlink()
    assert answer(db, "Flat") == expected
    assert not left.exists()


def test_two_that_write_at_once_both_answer_and_leave_one_whole_file(db: Path) -> None:
    expected = answer(db, "IVF4,Flat", 4)
    index_of(db).unlink()
    writing = index_file._tables

    def meanwhile(*arguments):
        """Another search writes the same file before this one has."""
        index_file._tables = writing
        assert answer(db, "IVF4,Flat", 4) == expected
        return writing(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_file, "_tables", meanwhile)
        patch.setattr(index_file.os, "getpid", itertools.count().__next__)
        assert answer(db, "IVF4,Flat", 4) == expected
    assert answer(db, "IVF4,Flat", 4) == expected
    assert index_of(db).is_file()


def test_catalogs_searched_together_each_keep_their_own(db: Path, run: Path) -> None:
    parts = [
        write_catalog(
            db.parent / f"part{k}.db", {n: VIDEOS[n] for n in NAMES[k::2]}, model=str(run)
        )
        for k in range(2)
    ]
    expected = answer(db, "Flat").moments
    for _ in range(2):
        with vmrtool.open(parts, index_factory="IVF4,Flat", nprobe=4) as archive:
            assert archive.search(QUERY, top=100, shortlist=5).moments == expected
            assert "part0.db: IVF4,Flat" in archive.index
        assert all(index_of(part).is_file() for part in parts)


def test_info_counts_the_file_and_vacuum_drops_it(db: Path) -> None:
    answer(db, "Flat")
    path = index_of(db)
    told = CliRunner().invoke(app, ["catalog", "info", "--catalog", str(db)])
    assert json.loads(told.stdout)["indexes"] == [{"path": str(path), "bytes": path.stat().st_size}]
    done = CliRunner().invoke(app, ["catalog", "vacuum", "--catalog", str(db), "--json"])
    assert json.loads(done.stdout)["indexes_removed"] == [str(path)]
    assert not path.exists()


def test_a_wrong_index_is_refused_with_the_way_on(db: Path) -> None:
    for text in ("IVF4096", "PQ8", "LSH", "ivf4,flat", "IVF0,Flat", "nonsense", "OPQ4,IVF4,PQ4"):
        with pytest.raises(UsageError, match=r"cannot be used|out of range") as refused:
            open_archive(db, index_factory=text)
        assert "IVF4096,SQ8" in str(refused.value.remedy)
    with pytest.raises(UsageError, match="8 numbers cannot be cut into 3") as refused:
        open_archive(db, index_factory="IVF4,PQ3")
    assert "PQ1, PQ2, PQ4, PQ8" in str(refused.value.remedy)
    with pytest.raises(UsageError, match="nprobe"):
        open_archive(db, index_factory="Flat", nprobe=3)
    result = CliRunner().invoke(
        app, ["search", QUERY, "--catalog", str(db), "--index-factory", "IVF4096;PQ64"]
    )
    assert result.exit_code == 2 and len(result.stderr.splitlines()) <= 3


def test_nprobe_without_lists_is_noted(db: Path) -> None:
    with open_archive(db, device="cpu", nprobe=3) as archive:
        assert any("nprobe does nothing" in note for note in archive.notes)
    with open_archive(db, device="cpu", index_factory="IVF4,Flat", nprobe=3) as archive:
        assert not any("nprobe" in note for note in archive.notes)
