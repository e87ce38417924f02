"""Ways of searching an archive side by side: shortlists, poolings, and the two bounds."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.samples import Window
from vmrtool.evaluation.corpus import PER_VIDEO, archive_of, score_rankings, truths_everywhere
from vmrtool.evaluation.rows import Row
from vmrtool.search.archive import Findings
from vmrtool.search.labels import Model

SHORTLISTS = (10, 20, 50, 100)
_DEFAULT = 50  # the shortlist of a search that says nothing

Search = Callable[[str], Findings]


def count_ways(model: Model) -> int:
    """How many searches `compare_searches` puts each query to."""
    own = 2 + len(SHORTLISTS)
    return own + 2 if model.pooling else own


def compare_searches(
    model: Model,
    dataset: Dataset,
    *,
    queries: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """The figures of `score_corpus` by way of searching, and milliseconds a query.

    The upper line is the exhaustive search, every window grounded; the lower similarity alone,
    whose answer is the pooled stretch itself. Between them lie shortlists of several sizes, and
    the same of windows that have one mean vector each instead of stretches of several lengths,
    with the head that was trained on stretches. A model of mean vectors has its own lines alone.

    Args:
        model: the grounding model, or the zero-shot one.
        dataset: the archive, and its queries.
        queries: ask only so many, evenly spaced among all; None for all.
        progress: is told how many more queries are answered.

    Returns:
        A row a way: `search`, `pooling` ("stretches" or "mean"), `shortlist` (videos; None where
        all are grounded), `pairs`, `ms`, and the figures, each with mean and std.
    """
    count = len(dataset) if queries is None else min(queries, len(dataset))
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
    # Occurrences are looked up in the whole data set: other queries tell where an event happens.
    everywhere = truths_everywhere(dataset)
    truths = [everywhere[index] for index in chosen]
    asked = [dataset.samples[index].query for index in chosen]
    rows = []
    poolings = [("stretches", model)] if model.pooling else []
    for pooling, pooled in (*poolings, ("mean", replace(model, pooling=()))):
        own = pooled.pooling == model.pooling
        rows += _by_size(pooling, pooled, dataset, asked, truths, progress, complete=own)
    return rows


def _by_size(
    pooling: str,
    model: Model,
    dataset: Dataset,
    asked: Sequence[str],
    truths: Sequence[dict[int, tuple[Window, ...]]],
    progress: Callable[[int], None],
    *,
    complete: bool,
) -> list[dict[str, Any]]:
    """The ways of searching with the vectors of one model; only some of them unless `complete`.

    In a function of its own, so that one archive has gone when the next is made.
    """
    archive = archive_of(model, dataset)
    find = partial(archive.find, model, per_video=PER_VIDEO)
    widest = max(SHORTLISTS)
    alike = partial(archive.alike, model, shortlist=widest, per_video=PER_VIDEO)
    ways: list[tuple[str, int | None, Search]] = [("similarity alone", widest, alike)]
    sizes = SHORTLISTS if complete else (_DEFAULT,)
    ways += [(f"shortlist {size}", size, partial(find, shortlist=size)) for size in sizes]
    if complete:
        every = partial(find, shortlist=len(dataset.videos), windows_per_video=2**31)
        ways.append(("exhaustive", None, every))
    rows = []
    for name, size, search in ways:
        search(asked[0])  # what is done once is not counted
        milliseconds: list[float] = []
        found = _timed(search, asked, milliseconds)
        figures = score_rankings(found, truths, progress=progress)
        rows.append(
            {
                "search": name,
                "pooling": pooling,
                "shortlist": size,
                "pairs": len(asked),
                "ms": float(np.median(milliseconds)),
                **Row(name, (figures,)).summary(),
            }
        )
    return rows


def _timed(search: Search, asked: Sequence[str], milliseconds: list[float]) -> Iterator[Findings]:
    """What is found for each query; how long each took is added to `milliseconds`."""
    for query in asked:
        began = time.perf_counter()
        found = search(query)
        milliseconds.append(1000.0 * (time.perf_counter() - began))
        yield found
