"""Ways of searching an archive side by side: shortlists, poolings, and the two bounds."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Way:
    """A way of searching: its name, how windows are pooled, into how many videos it looks.

    pooling is "stretches" or "mean"; shortlist is None where every window is grounded.
    """

    name: str
    pooling: str
    shortlist: int | None
    find: Callable[[str], Findings]


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
    for pooled in poolings_of(model):
        # The ways hold an archive, which has gone when the next is made.
        rows += [
            _row(way, asked, truths, progress)
            for way in ways_of(pooled, dataset, complete=pooled.pooling == model.pooling)
        ]
    return rows


def poolings_of(model: Model) -> list[Model]:
    """The model as it pools windows, and as one of mean vectors where that is another."""
    return [model, replace(model, pooling=())] if model.pooling else [model]


def ways_of(model: Model, dataset: Dataset, *, complete: bool) -> list[Way]:
    """The ways of searching a data set's videos with a model's own pooling.

    `complete`: with several shortlists, and the exhaustive search; else with the usual one alone.
    """
    archive = archive_of(model, dataset)
    pooling = "stretches" if model.pooling else "mean"
    find = partial(archive.find, model, per_video=PER_VIDEO)
    widest = max(SHORTLISTS)
    alike = partial(archive.alike, model, shortlist=widest, per_video=PER_VIDEO)
    ways = [Way("similarity alone", pooling, widest, alike)]
    ways += [
        Way(f"shortlist {size}", pooling, size, partial(find, shortlist=size))
        for size in (SHORTLISTS if complete else (_DEFAULT,))
    ]
    if complete:
        every = partial(find, shortlist=len(dataset.videos), windows_per_video=2**31)
        ways.append(Way("exhaustive", pooling, None, every))
    return ways


def _row(
    way: Way,
    asked: Sequence[str],
    truths: Sequence[dict[int, tuple[Window, ...]]],
    progress: Callable[[int], None],
) -> dict[str, Any]:
    way.find(asked[0])  # what is done once is not counted
    milliseconds: list[float] = []
    figures = score_rankings(_timed(way, asked, milliseconds), truths, progress=progress)
    return {
        "search": way.name,
        "pooling": way.pooling,
        "shortlist": way.shortlist,
        "pairs": len(asked),
        "ms": float(np.median(milliseconds)),
        **Row(way.name, (figures,)).summary(),
    }


def _timed(way: Way, asked: Sequence[str], milliseconds: list[float]) -> Iterator[Findings]:
    """What is found for each query; how long each took is added to `milliseconds`."""
    for query in asked:
        began = time.perf_counter()
        found = way.find(query)
        milliseconds.append(1000.0 * (time.perf_counter() - began))
        yield found
