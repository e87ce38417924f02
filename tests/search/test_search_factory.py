"""Which index is chosen and why, and indexes on a GPU."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from search_catalog import random_videos, write_catalog, write_model
from typer.testing import CliRunner

from vmrtool.cli import app
from vmrtool.errors import UsageError
from vmrtool.search import cache, gpu
from vmrtool.search.cache import Wish
from vmrtool.search.engine import Searcher, open_catalog
from vmrtool.search.factory import EXACT_FLOATS, check, choose, parse, train
from vmrtool.search.index import Part

QUERY = "a person opens the door"


def test_the_size_chooses_between_exact_and_lists() -> None:
    bound = EXACT_FLOATS // 128
    assert choose(None, bound, 128).factory.exact
    above = choose(None, bound + 1, 128)
    assert above.factory.text == "IVF8192,SQ8" and "exact" in above.reason
    assert above.factory.least <= bound  # there are always enough to train on
    assert choose(None, 100 * bound, 128).factory.text == "IVF65536,SQ8"
    assert choose(None, bound, 256).factory.text == "IVF8192,SQ8"
    assert (above.factory.probes(None), above.factory.probes(10**6)) == (1024, 8192)


def test_too_few_vectors_to_train_on_are_searched_exactly_and_it_is_said() -> None:
    chosen = choose("IVF64,PQ4", 9_000, 8)  # 39 for each of 256 centroids
    assert chosen.factory.exact and chosen.note is not None
    assert "9,984" in chosen.note and "9,000" in chosen.note
    assert choose("IVF64,PQ4", 9_984, 8).factory.text == "IVF64,PQ4"
    assert choose("HNSW16", 1, 8).note is None


@pytest.mark.parametrize("text", ["Flat", "SQ8", "SQfp16", "HNSW8,SQ8", "IVF8,Flat", "IVF8,PQ2"])
def test_every_known_form_can_be_trained_filled_and_asked_for_some_only(text: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 8)).astype(np.float32)
    factory = parse(text)
    index = train(factory, vectors)
    assert index.is_trained and index.ntotal == 0
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    index.add(vectors)
    part = Part(index, factory, np.arange(300), lambda low, high: vectors[low:high], factory.lists)
    some = rng.random(300) < 0.3
    ((_, found, full),) = part.search(vectors[:1], int(some.sum()), some, 1, filtered=True)
    assert some[found].all() and len(found) > 0.9 * some.sum()
    assert full or text.startswith("HNSW")


def test_training_says_nothing_of_its_own_and_is_the_same_every_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((70_000, 4)).astype(np.float32)
    first, second = (train(parse("IVF16,Flat"), vectors) for _ in range(2))
    assert np.array_equal(
        first.quantizer.reconstruct_n(0, 16), second.quantizer.reconstruct_n(0, 16)
    )
    assert capfd.readouterr() == ("", "")


def test_nprobe_goes_with_lists_only() -> None:
    check("IVF8,Flat", 3)
    check(None, 3)
    for text, nprobe in (("HNSW8", 3), ("IVF8,Flat", 0)):
        with pytest.raises(UsageError, match="nprobe"):
            check(text, nprobe)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return write_catalog(
        tmp_path / "vmrtool.db", random_videos(12), model=str(write_model(tmp_path / "run"))
    )


def open_with_gpu(db: Path, factory: str) -> Searcher:
    """A searcher whose network runs on the processor and whose index is wanted on GPU 0."""
    searcher = open_catalog(db, None, "cpu", lambda done, total: None, wish=Wish(factory))
    searcher._wish = Wish(factory, gpu=0)
    searcher.refresh()
    return searcher


def test_a_gpu_that_is_not_there_is_not_used_and_it_is_said(db: Path) -> None:
    if gpu.count():
        pytest.skip("there is a GPU")
    with open_with_gpu(db, "Flat") as archive:
        assert archive.index.endswith("on the processor: FAISS sees no such GPU")
        assert archive.search(QUERY).moments


class StandIn:
    """Stands where an index on a GPU stands: knows no selectors, and counts what it is asked."""

    def __init__(self, index: Any) -> None:
        self.index, self.asked = index, 0

    def search(self, query: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
        self.asked += 1
        return self.index.search(query, reach)


@pytest.mark.parametrize("factory", ["Flat", "IVF4,SQ8"])
def test_with_a_stand_in_for_the_gpu_unfiltered_searches_go_there_and_filtered_ones_do_not(
    db: Path, factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[StandIn] = []

    def copy(index: Any, device: int, probes: int | None) -> StandIn:
        assert (device, probes) == (0, parse(factory).probes(None))
        if probes is not None:
            index.nprobe = probes
        copies.append(StandIn(index))
        return copies[-1]

    monkeypatch.setattr("vmrtool.search.index._FIRST_REACH", 64)
    with open_catalog(db, None, "cpu", lambda done, total: None, wish=Wish(factory)) as archive:
        expected = archive.search(QUERY, shortlist=1).moments
        filtered = archive.search(QUERY, shortlist=1, video="clip1*").moments
    monkeypatch.setattr(gpu, "count", lambda: 1)
    monkeypatch.setattr(gpu, "copy", copy)
    with open_with_gpu(db, factory) as archive:
        assert archive.index.endswith("on GPU 0")
        assert archive.search(QUERY, shortlist=1).moments == expected
        asked = copies[0].asked
        assert asked > 0
        result = archive.search(QUERY, shortlist=1, video="clip1*")
        assert result.moments == filtered and copies[0].asked == asked
        assert any("on the processor" in note for note in result.notes)


def test_what_a_gpu_refuses_stays_on_the_processor(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("Error in there at x.cpp:1: Error: 'false' failed: no such index")

    monkeypatch.setattr(gpu, "count", lambda: 1)
    monkeypatch.setattr(gpu, "copy", refuse)
    with open_with_gpu(db, "HNSW8") as archive:
        assert "on the processor: the GPU takes no such index" in archive.index
        assert "x.cpp" not in archive.index
        assert archive.search(QUERY).moments


def test_the_choice_is_printed_where_it_was_asked_for_or_matters(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stderr(*words: str) -> str:
        result = CliRunner().invoke(app, [*words[:-1], "search", QUERY, "--catalog", str(db)])
        assert result.exit_code == 0
        return result.stderr

    assert stderr("") == ""
    monkeypatch.setattr(cache, "KEPT_FROM", 0)
    assert stderr("").startswith("shortlist: Flat over ") and "exact up to" in stderr("")
    assert stderr("--quiet", "") == ""
    monkeypatch.setattr("vmrtool.search.factory.EXACT_FLOATS", 8 * 200)
    monkeypatch.setattr("vmrtool.search.factory._PER_CENTROID", 1)
    told = stderr("")
    assert "making the index IVF" in told and "an exact search is slow" in told
