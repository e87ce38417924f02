"""The vector index of an archive: FAISS, exact inner products, best stretch of a video first."""

import faiss
import numpy as np
from numpy.typing import NDArray

_FIRST_REACH = 1024  # vectors asked for at first; more where they belong to too few videos


class VectorIndex:
    """Unit vectors of an archive's stretches, each belonging to a window of a video.

    It is made in memory from the stored vectors, which takes as long as reading a file of it
    would, and so it is never out of date.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        video_of: NDArray[np.int64],
        window_of: NDArray[np.int64],
    ) -> None:
        """Vectors (V, d) with the number of their video and of their window in it, (V,) each.

        Videos are numbered from 0 in the order of their vectors, without gaps.
        """
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        self._video_of = video_of
        self._window_of = window_of
        self._bounds = np.searchsorted(video_of, np.arange(video_of[-1] + 2))

    def shortlist(
        self, query: NDArray[np.float32], videos: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[int]:
        """The numbers of the `videos` videos with the best stretches for a query, best first.

        `query` is a unit vector (d,); `allowed` (videos of the archive,) leaves out the others
        before any is counted.
        """
        selected = None if allowed is None else allowed[self._video_of]
        total = self._index.ntotal if selected is None else int(selected.sum())
        selector = None
        if selected is not None:
            bits = np.packbits(selected, bitorder="little")
            # FAISS's stubs do not know what its Python layer accepts.
            chosen = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
            selector = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        reach = min(total, max(_FIRST_REACH, videos))
        while True:
            if reach == 0:
                return []
            _, found = self._index.search(query[None], reach, params=selector)
            # A video's first hit is its best stretch.
            distinct, place = np.unique(self._video_of[found[0]], return_index=True)
            if len(distinct) >= videos or reach == total:
                return [int(video) for video in distinct[np.argsort(place)][:videos]]
            reach = min(total, 8 * reach)

    def likeness(self, query: NDArray[np.float32], video: int) -> float:
        """The cosine of a video's best stretch with a query, which orders the shortlist."""
        low, high = int(self._bounds[video]), int(self._bounds[video + 1])
        return float((self._index.reconstruct_n(low, high - low) @ query).max())

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
        return np.arange(low, high), self._index.reconstruct_n(low, high - low) @ query

    def window_of(self, vector: int) -> int:
        """The number of a vector's window in its video."""
        return int(self._window_of[vector])
