"""An archive ready to be searched: its windows, their vectors, and how to reach their features.

Nothing here knows of files or catalogs: videos are named by their content.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vmrtool.catalog.rows import StoredWindow
from vmrtool.search.grounding import (
    AnyWindow,
    EncodedWindow,
    Queries,
    WindowFeatures,
    encode_queries,
    ground_windows,
)
from vmrtool.search.index import Part, VectorIndex
from vmrtool.search.labels import Model
from vmrtool.search.merging import Candidate, merge
from vmrtool.search.pooling import Load, pool_contents
from vmrtool.search.table import Table, by_time, tabulate

SEARCH_NMS_IOU = 0.1  # of moments of a video that overlap more, a search keeps the best
_AT_ONCE = 64  # windows in memory while queries are answered


@dataclass(frozen=True)
class Findings:
    """What was found in an archive: for each content of the shortlist its moments, best first."""

    moments: dict[str, list[Candidate]]
    windows_grounded: int


class Archive:
    """The contents of an archive in the order of their names, which nothing else depends on."""

    def __init__(self, table: Table, index: VectorIndex | None, load: Load) -> None:
        """Takes its stretches, their index (None where there are none), and the way to features."""
        self._load = load
        self._table = table
        self._index = index
        self.contents = table.contents

    @classmethod
    def of_windows(cls, windows: Iterable[StoredWindow], load: Load) -> "Archive":
        """An archive of windows with their vectors, which are indexed exactly and in memory."""
        ordered = sorted(windows, key=by_time)
        dim = ordered[0].vectors.shape[1] if ordered else 0
        table, vectors = tabulate(ordered, sum(len(window.vectors) for window in ordered), dim)
        index = None
        if len(table):
            index = VectorIndex([Part.exact(vectors)], table.bounds, table.window_of)
        return cls(table, index, load)

    @property
    def on_gpu(self) -> bool:
        """Whether shortlists of all contents are made on a GPU."""
        return self._index is not None and self._index.on_gpu

    @classmethod
    def in_memory(
        cls,
        model: Model,
        videos: Mapping[str, tuple[NDArray[np.floating], NDArray[np.float64]]],
    ) -> "Archive":
        """An archive of features (N, Dv) and cells (N, 2) in seconds that are in memory.

        Windows are encoded once, and kept so; what is found is the same to the last bit as where
        each query encodes them.
        """
        encoded: dict[tuple[str, int], EncodedWindow] = {}

        def read(content: str, first: int, n: int) -> WindowFeatures:
            features, cells = videos[content]
            return WindowFeatures(features[first : first + n], cells[first : first + n], first)

        def load(content: str, first: int, n: int) -> AnyWindow:
            kept = encoded.get((content, first))
            return read(content, first, n) if kept is None else kept

        windows = []
        counts = [(content, len(features)) for content, (features, _) in videos.items()]
        for of_content in pool_contents(model, counts, read, keep=True):
            for window in of_content:
                if (made := window.encoding) is not None:
                    place = window.content_hash, window.first
                    encoded[place] = EncodedWindow(made.data, made.cells, window.first)
                windows.append(replace(window, encoding=None))
        return cls.of_windows(windows, load)

    def shortlists(
        self,
        model: Model,
        queries: Sequence[str],
        shortlist: int,
        only: Collection[str] | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The contents that `find_many` would look into for each query, best first, with the
        cosines they stand by.
        """
        index = self._index
        if index is None or not queries:
            return [[] for _ in queries]
        vectors = encode_queries(model, queries).vectors.float().cpu().numpy()
        shortlists = index.shortlists(vectors, shortlist, self._allowed(only))
        return [
            [(self.contents[video], index.likeness(vector, video)) for video in videos]
            for vector, videos in zip(vectors, shortlists, strict=True)
        ]

    def _allowed(self, only: Collection[str] | None) -> NDArray[np.bool_] | None:
        return None if only is None else np.array([name in only for name in self.contents])

    def find(
        self,
        model: Model,
        query: str,
        *,
        shortlist: int = 50,
        windows_per_video: int = 4,
        per_video: int = 3,
        only: Collection[str] | None = None,
    ) -> Findings:
        """The moments of the archive that may show what a query says.

        Args:
            model: the grounding model whose vectors the archive holds.
            query: a sentence.
            shortlist: into how many contents to look.
            windows_per_video: into how many windows of each, those most like the query.
            per_video: how many moments of each to give.
            only: the contents to search in; None for all.
        """
        (findings,) = self.find_many(
            model,
            [query],
            shortlist=shortlist,
            windows_per_video=windows_per_video,
            per_video=per_video,
            only=only,
        )
        return findings

    def find_many(
        self,
        model: Model,
        queries: Sequence[str],
        *,
        shortlist: int = 50,
        windows_per_video: int = 4,
        per_video: int = 3,
        only: Collection[str] | None = None,
        among: Sequence[Collection[str]] | None = None,
    ) -> list[Findings]:
        """`find` for each of several queries, whose findings do not depend on the others.

        Vectors are compared with all queries at once, and a window that several look into is read
        and encoded once. `among` has for each query the contents to look into, in place of a
        shortlist; they need not be in this archive.
        """
        if self._index is None or not queries:
            return [Findings({}, 0) for _ in queries]
        asked = encode_queries(model, queries)
        vectors = asked.vectors.float().cpu().numpy()
        if among is None:
            shortlists = self._index.shortlists(vectors, shortlist, self._allowed(only))
        else:
            number_of = {
                content: video
                for video, content in enumerate(self.contents)
                if only is None or content in only
            }
            shortlists = [
                sorted(number_of[c] for c in chosen if c in number_of) for chosen in among
            ]
        looked_into = [
            {video: self._index.best_windows(vector, video, windows_per_video) for video in videos}
            for vector, videos in zip(vectors, shortlists, strict=True)
        ]
        found = self._ground(model, asked, looked_into)
        answers = []
        for query, videos in enumerate(looked_into):
            moments = {
                self.contents[video]: merge(
                    [self._table.tiles[video][number] for number in numbers],
                    [found[video, number, query] for number in numbers],
                    top=per_video,
                    nms_iou=SEARCH_NMS_IOU,
                )
                for video, numbers in videos.items()
            }
            answers.append(Findings(moments, sum(map(len, videos.values()))))
        return answers

    def _ground(
        self, model: Model, asked: Queries, looked_into: Sequence[Mapping[int, Sequence[int]]]
    ) -> dict[tuple[int, int, int], list[Candidate]]:
        """What is found by video, number of the window in it, and query.

        `looked_into` has for each query the numbers of the windows of each video. Few windows are
        in memory at once, however many there are.
        """
        queries_of: dict[tuple[int, int], list[int]] = {}
        for query, videos in enumerate(looked_into):
            for video, numbers in videos.items():
                for number in numbers:
                    queries_of.setdefault((video, number), []).append(query)
        places = sorted(queries_of)
        found = {}
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            windows = [
                self._load(self.contents[video], *self._table.tiles[video][number])
                for video, number in some
            ]
            pairs = [(at, query) for at, place in enumerate(some) for query in queries_of[place]]
            candidates = ground_windows(model, windows, asked, pairs, nms_iou=SEARCH_NMS_IOU)
            for (at, query), of_pair in zip(pairs, candidates, strict=True):
                found[*some[at], query] = of_pair
        return found

    def alike(
        self, model: Model, query: str, *, shortlist: int = 50, per_video: int = 3
    ) -> Findings:
        """What similarity alone finds: the pooled stretches most like the query, none grounded.

        The moments are stretches as they were pooled, their score the cosine, brought to [0, 1].
        """
        if self._index is None:
            return Findings({}, 0)
        vector = encode_queries(model, [query]).vectors[0].float().cpu().numpy()
        moments = {}
        for video in self._index.shortlist(vector, shortlist):
            content, tiles = self.contents[video], self._table.tiles[video]
            rows, cosines = self._index.stretches(vector, video)
            # Of many stretches few are wanted; the best hundred leave enough that do not overlap.
            best = np.argsort(-cosines, kind="stable")[:100]
            found = []
            for row, cosine in zip(rows[best], cosines[best], strict=True):
                first, n = tiles[self._index.window_of(int(row))]
                low, high = (int(place) for place in self._table.spans[row])
                cells = self._load(content, first, n).cells
                found.append(
                    Candidate(
                        *(first + low, first + high, float(cells[low, 0]), float(cells[high, 1])),
                        similarity=float(cosine),
                        grounding=0.0,
                        presence=None,
                        score=(1.0 + float(cosine)) / 2,
                    )
                )
            moments[content] = merge([(0, 0)], [found], top=per_video, nms_iou=SEARCH_NMS_IOU)
        return Findings(moments, 0)
