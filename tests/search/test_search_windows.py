"""Windows cover every snippet, overlap, and agree on which of them answers for what."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmrtool.search.windows import owner, tile_windows


def test_a_short_video_is_one_window() -> None:
    assert tile_windows(0) == []
    assert tile_windows(1) == [(0, 1)]
    assert tile_windows(128) == [(0, 128)]


def test_a_long_video_is_tiled_by_full_windows_half_a_window_apart() -> None:
    assert tile_windows(129) == [(0, 128), (1, 128)]
    assert tile_windows(256) == [(0, 128), (64, 128), (128, 128)]
    assert tile_windows(20, size=8, overlap=2) == [(0, 8), (6, 8), (12, 8)]
    assert len(tile_windows(54_000)) == 843  # ten hours at 1.5 snippets a second


def test_an_overlap_that_never_moves_on_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        tile_windows(10, size=4, overlap=4)


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(2, 128), st.data())
def test_windows_cover_all_and_overlap_enough(n: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    windows = tile_windows(n, size, overlap)
    assert windows[0][0] == 0
    assert sum(windows[-1]) == n
    assert all(length == min(size, n) for _, length in windows)
    for (first, length), (following, _) in pairwise(windows):
        assert first < following <= first + length - overlap


@settings(deadline=None)
@given(st.integers(2, 600), st.data())
def test_a_moment_no_longer_than_the_overlap_lies_whole_in_its_owner_alone(
    n: int, data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, min(n, 64)))
    first = data.draw(st.integers(0, n - length))
    windows = tile_windows(n)
    moment = np.array([(first, first + length - 1)])
    (whose,) = owner(windows, moment)
    start, size = windows[whose]
    assert start <= moment[0, 0] and moment[0, 1] < start + size
    # What another window sees of it, whole or cut, is never that window's own.
    for index, (start, size) in enumerate(windows):
        low, high = max(moment[0, 0], start), min(moment[0, 1], start + size - 1)
        if index != whose and low <= high:
            assert owner(windows, np.array([(low, high)])) != index
