"""An archive ready to be searched: its windows, their vectors, and how to reach their features.

Nothing here knows of files or catalogs: videos are named by their content.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmrtool.catalog.rows import StoredWindow
from vmrtool.search.grounding import NMS_IOU, WindowFeatures, encode_queries, ground_windows
from vmrtool.search.index import Part, VectorIndex
from vmrtool.search.labels import Model
from vmrtool.search.merging import Candidate, merge
from vmrtool.search.pooling import Load, pool_contents
from vmrtool.search.table import Table, tabulate
from vmrtool.search.windows import Window


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
        table, vectors = tabulate(windows)
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
        """An archive of features (N, Dv) and cells (N, 2) in seconds that are in memory."""

        def load(content: str, first: int, n: int) -> WindowFeatures:
            features, cells = videos[content]
            return WindowFeatures(features[first : first + n], cells[first : first + n], first)

        counts = [(content, len(features)) for content, (features, _) in videos.items()]
        pooled = pool_contents(model, counts, load)
        return cls.of_windows((window for windows in pooled for window in windows), load)

    def shortlist(
        self,
        model: Model,
        query: str,
        shortlist: int,
        only: Collection[str] | None = None,
    ) -> list[tuple[str, float]]:
        """The contents that `find` would look into, best first, with the cosines they stand by."""
        if self._index is None:
            return []
        vector = encode_queries(model, [query]).vectors[0].float().cpu().numpy()
        return [
            (self.contents[video], self._index.likeness(vector, video))
            for video in self._index.shortlist(vector, shortlist, self._allowed(only))
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
        if self._index is None:
            return Findings({}, 0)
        asked = encode_queries(model, [query])
        vector = asked.vectors[0].float().cpu().numpy()
        looked_into: list[tuple[int, list[Window]]] = []
        for video in self._index.shortlist(vector, shortlist, self._allowed(only)):
            chosen = self._index.best_windows(vector, video, windows_per_video)
            looked_into.append((video, [self._table.tiles[video][number] for number in chosen]))
        loaded = [
            self._load(self.contents[video], *window)
            for video, windows in looked_into
            for window in windows
        ]
        found = iter(
            ground_windows(model, loaded, asked, [(number, 0) for number in range(len(loaded))])
        )
        moments = {}
        for video, windows in looked_into:
            moments[self.contents[video]] = merge(
                windows, [next(found) for _ in windows], top=per_video, nms_iou=NMS_IOU
            )
        return Findings(moments, len(loaded))

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
            moments[content] = merge([(0, 0)], [found], top=per_video, nms_iou=NMS_IOU)
        return Findings(moments, 0)
