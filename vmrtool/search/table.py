"""Tables of an archive's stretches: which vectors there are, and what each of them stands for."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from vmrtool.catalog.rows import StoredWindow
from vmrtool.search.windows import Window, owner


def by_time(window: StoredWindow) -> tuple[str, int]:
    """The order of windows: by the names of their contents, then by time."""
    return window.content_hash, window.first


@dataclass(frozen=True)
class Table:
    """Stretches of some contents, one after another, in the order of the contents and of time.

    `contents` are content hashes and `tiles` their windows; content k's stretches are the rows
    [bounds[k], bounds[k + 1]). Of each row, `window_of` (V,) is the number of its window in its
    content, and `spans` (V, 2) its first and last snippet, counted from the window's first.
    """

    contents: list[str]
    tiles: list[list[Window]]
    bounds: NDArray[np.int64]
    window_of: NDArray[np.int32]
    spans: NDArray[np.int32]

    def __len__(self) -> int:
        """How many stretches there are."""
        return int(self.bounds[-1])

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many stretches each content has."""
        return np.diff(self.bounds)

    def take(self, chosen: NDArray[np.int64]) -> tuple["Table", NDArray[np.int64]]:
        """The table of some contents, by number in the new order, and its rows' former numbers."""
        counts = self.counts[chosen]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        rows = np.repeat(self.bounds[:-1][chosen] - bounds[:-1], counts) + np.arange(bounds[-1])
        table = Table(
            [self.contents[k] for k in chosen],
            [self.tiles[k] for k in chosen],
            bounds,
            self.window_of[rows],
            self.spans[rows],
        )
        return table, rows

    def join(self, other: "Table") -> "Table":
        """This table's contents, then the other's."""
        return Table(
            self.contents + other.contents,
            self.tiles + other.tiles,
            np.concatenate([self.bounds, other.bounds[1:] + len(self)]),
            np.concatenate([self.window_of, other.window_of]),
            np.concatenate([self.spans, other.spans]),
        )


def tabulate(
    windows: Iterable[StoredWindow], most: int, dim: int
) -> tuple[Table, NDArray[np.float32]]:
    """The table of windows, given in `by_time`'s order, and their vectors (V, d).

    Windows overlap; a stretch is kept once, from the window that answers for it. They are read one
    after another and need not fit in memory together: room is made once for the `most` vectors of
    `dim` numbers that there may be, and only what is filled is taken.
    """
    contents: list[str] = []
    tiles_of: list[list[Window]] = []
    counts: list[int] = []
    vectors = np.empty((most, dim), np.float32)
    filled = 0
    window_of: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    spans: list[NDArray[np.int32]] = [np.zeros((0, 2), np.int32)]
    for content, group in groupby(windows, key=lambda w: w.content_hash):
        stored = list(group)
        tiles = [(window.first, window.n) for window in stored]
        before = filled
        contents.append(content)
        tiles_of.append(tiles)
        for number, window in enumerate(stored):
            own = owner(tiles, window.spans + window.first) == number
            count = int(own.sum())
            vectors[filled : filled + count] = window.vectors[own]
            filled += count
            spans.append(window.spans[own])
            window_of.append(np.full(count, number, np.int32))
        counts.append(filled - before)
    table = Table(
        contents,
        tiles_of,
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        np.concatenate(window_of),
        np.concatenate(spans),
    )
    return table, vectors[:filled]
