"""The vector index of an archive: FAISS, inner products, best stretch of a video first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from vmrtool.search.factory import EXACT, Factory

_FIRST_REACH = 1024  # vectors asked for at first; more where they belong to too few videos
_GPU_REACH = 2048  # as many as FAISS's GPU indexes give
_SPARE = 4  # videos that an index of codes is asked for, for each that is wanted
_ROUNDING = 1e-5  # by so much one cosine, computed in two ways, may differ

Vectors = Callable[[int, int], NDArray[np.float32]]
"""Gives the vectors [low, high) of an index, (high - low, d), as they were before any coding."""


@dataclass(frozen=True)
class Part:
    """Some of an archive's vectors under one FAISS index.

    `rows` (n,) has the archive's row of each of the index's vectors, -1 for those that are not
    searched; the rows of a video follow each other. `probes` is into how many inverted lists a
    query looks; None where there are none.
    """

    index: faiss.Index
    factory: Factory
    rows: NDArray[np.int64]
    vectors: Vectors
    probes: int | None = None
    on_gpu: faiss.Index | None = None

    @classmethod
    def exact(cls, vectors: NDArray[np.float32], rows: NDArray[np.int64] | None = None) -> "Part":
        """An exact index, in memory, of vectors (n, d) that are the archive's rows, or `rows`."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        rows = np.arange(len(vectors)) if rows is None else rows
        return cls(index, Factory(EXACT), rows, lambda low, high: vectors[low:high])

    def search(
        self,
        queries: NDArray[np.float32],
        reach: int,
        searched: NDArray[np.bool_] | None,
        effort: int,
        *,
        filtered: bool,
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], bool]]:
        """For each query the scores and numbers of the `reach` best vectors; whether so many.

        `queries` (Q, d) are unit vectors. `searched` (n,) says which vectors to look at, None for
        all; with `filtered` only few may be left. An index that looks at a part of its vectors
        looks at `effort` times as many as it need.
        """
        # Last bits of FAISS's products depend on how many queries there are. They decide nothing
        # where all is compared, but else which lists are looked into.
        together = len(queries) if self.factory.exact else 1
        on_gpu = self.on_gpu if not filtered and effort == 1 and reach <= _GPU_REACH else None
        for start in range(0, len(queries), together):
            some = queries[start : start + together]
            if on_gpu is not None:
                # There nothing can be left out before; the few that are not searched are dropped.
                scores, found = on_gpu.search(some, reach)
            else:
                scores, found = self.index.search(
                    some, reach, params=self._parameters(searched, effort)
                )
            for row in range(len(some)):
                full = bool((found[row] >= 0).all())
                # A file may hold any number.
                known = (found[row] >= 0) & (found[row] < len(self.rows))
                known[known] = self.rows[found[row][known]] >= 0
                yield scores[row][known], found[row][known], full

    def all_seen(self, effort: int) -> bool:
        """Whether a search with so much effort can miss nothing, or little that it could find."""
        if self.probes is not None:
            return self.probes * effort >= (self.factory.lists or 1)
        return not self.factory.text.startswith("HNSW") or effort * _FIRST_REACH >= len(self.rows)

    def _parameters(self, searched: NDArray[np.bool_] | None, effort: int) -> Any:
        library: Any = faiss  # whose stubs do not know what its Python layer accepts
        selector = None
        if searched is not None:
            selector = library.IDSelectorBitmap(np.packbits(searched, bitorder="little"))
        if self.probes is not None:
            probes = min(self.probes * effort, self.factory.lists or 1)
            return library.SearchParametersIVF(sel=selector, nprobe=probes)
        if self.factory.text.startswith("HNSW"):
            return library.SearchParametersHNSW(sel=selector, efSearch=effort * _FIRST_REACH)
        return library.SearchParameters(sel=selector)


class VectorIndex:
    """Unit vectors of an archive's stretches, each belonging to a window of a video."""

    def __init__(
        self, parts: Sequence[Part], bounds: NDArray[np.int64], window_of: NDArray[np.int32]
    ) -> None:
        """Takes the parts that hold the vectors, each video's in one of them.

        Video v's vectors are the rows [bounds[v], bounds[v + 1]), in the order of their windows,
        whose numbers in the video are `window_of` (V,).
        """
        self._parts = parts
        self._bounds = bounds
        self._video_of = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        self._window_of = window_of
        self._part_of = np.full(len(self._video_of), -1, np.int8)
        self._number_of = np.zeros(len(self._video_of), np.int64)
        self._searched = [part.rows >= 0 for part in parts]
        for number, part in enumerate(parts):
            searched = np.flatnonzero(self._searched[number])
            self._part_of[part.rows[searched]] = number
            self._number_of[part.rows[searched]] = searched

    @property
    def on_gpu(self) -> bool:
        """Whether searches without a filter are made on a GPU."""
        return any(part.on_gpu is not None for part in self._parts)

    def shortlist(
        self, query: NDArray[np.float32], videos: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[int]:
        """The numbers of the `videos` videos with the best stretches for a query, best first.

        `query` is a unit vector (d,); `allowed` (videos of the archive,) leaves out the others
        before any is counted. Which are found may depend on the index; their order, and who comes
        first of equals, does not.
        """
        return self.shortlists(query[None], videos, allowed)[0]

    def shortlists(
        self, queries: NDArray[np.float32], videos: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[list[int]]:
        """`shortlist` of each of several queries (Q, d), which does not depend on the others."""
        count = len(self._bounds) - 1
        eligible = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        of_query = [eligible] * len(queries)
        if len(eligible) > videos:
            found = [self._candidates(k, queries, videos, allowed) for k in range(len(self._parts))]
            of_query = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        shortlists = []
        for query, candidates in zip(queries, of_query, strict=True):
            ranked = sorted((-self.likeness(query, int(video)), int(video)) for video in candidates)
            shortlists.append([video for _, video in ranked[:videos]])
        return shortlists

    def _candidates(
        self,
        number: int,
        queries: NDArray[np.float32],
        videos: int,
        allowed: NDArray[np.bool_] | None,
    ) -> list[NDArray[np.int64]]:
        """Videos of one part among which each query's best are, as far as the index finds them."""
        part, searched = self._parts[number], self._searched[number]
        if allowed is not None:
            searched = searched.copy()
            searched[searched] = allowed[self._video_of[part.rows[searched]]]
        total = int(searched.sum())
        chosen = None if total == len(searched) else searched
        wanted = videos if part.factory.exact else _SPARE * videos
        candidates = [np.zeros(0, np.int64) for _ in queries]
        first_reach = min(total, max(_FIRST_REACH, wanted))
        # Queries that have to be asked yet, by reach and effort.
        waiting = {(first_reach, 1): list(range(len(queries)))} if total else {}
        while waiting:
            (reach, effort), asked = waiting.popitem()
            filtered = allowed is not None or reach == total
            found_for = part.search(queries[asked], reach, chosen, effort, filtered=filtered)
            for query, (scores, found, full) in zip(asked, found_for, strict=True):
                # A video's first hit is its best stretch.
                distinct, place = np.unique(self._video_of[part.rows[found]], return_index=True)
                done = len(found) == total or (
                    part.all_seen(effort) and (reach == total or not full)
                )
                bar = -np.inf
                if len(distinct) >= wanted:
                    bar = scores[np.sort(place)[wanted - 1]] - _ROUNDING
                    done = done or not full or bool(scores[-1] < bar)
                if done:
                    candidates[query] = distinct[~(scores[place] < bar)]
                elif full and reach < total:
                    waiting.setdefault((min(total, 8 * reach), effort), []).append(query)
                else:
                    waiting.setdefault((reach, 4 * effort), []).append(query)
        return candidates

    def likeness(self, query: NDArray[np.float32], video: int) -> float:
        """The cosine of a video's best stretch with a query, which orders the shortlist."""
        return float(self.stretches(query, video)[1].max())

    def best_windows(self, query: NDArray[np.float32], video: int, most: int) -> list[int]:
        """The numbers of a video's windows whose best stretches fit the query best, in time order.

        At most `most` are given; of equal ones the earlier.
        """
        rows, cosines = self.stretches(query, video)
        windows = self._window_of[rows]
        starts = np.flatnonzero(np.diff(windows, prepend=-1))
        best = np.maximum.reduceat(cosines, starts)
        order = np.argsort(-best, kind="stable")[:most]
        return sorted(windows[starts[order]].tolist())

    def stretches(
        self, query: NDArray[np.float32], video: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The numbers of a video's vectors, as they were given, and their cosines with a query."""
        low, high = int(self._bounds[video]), int(self._bounds[video + 1])
        first = int(self._number_of[low])
        vectors = self._parts[self._part_of[low]].vectors(first, first + high - low)
        return np.arange(low, high), vectors @ query

    def window_of(self, vector: int) -> int:
        """The number of a vector's window in its video."""
        return int(self._window_of[vector])
