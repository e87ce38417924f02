"""Windows cover a video, their cells tile it, and cutting a stream gives the same windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmrtool.features.windows import WindowCutter, count_windows, tile

FPS = 24.0


@st.composite
def videos(draw: st.DrawFn) -> tuple[int, int, int, float]:
    """Frames of a window, stride, ticks of a video, its duration in seconds."""
    frames = draw(st.integers(1, 70))
    stride = draw(st.integers(1, frames))
    ticks = draw(st.integers(1, 400))
    share = draw(st.floats(0.001, 1.0))
    return frames, stride, ticks, (ticks - 1 + share) / FPS


@settings(deadline=None)
@given(videos())
def test_cells_tile_the_video_and_lie_in_what_is_seen(
    video: tuple[int, int, int, float],
) -> None:
    frames, stride, ticks, duration = video
    tiling = tile(ticks, fps=FPS, frames=frames, stride=stride, duration_s=duration)
    starts, seen, cells = tiling.starts, tiling.seen, tiling.cells
    assert len(starts) == len(seen) == len(cells) >= 1
    assert (starts.dtype, seen.dtype, cells.dtype) == (np.int64, np.float64, np.float64)

    assert cells[0, 0] == 0.0 and cells[-1, 1] == duration
    np.testing.assert_array_equal(cells[1:, 0], cells[:-1, 1])  # no gap, no overlap
    assert (cells[:, 1] > cells[:, 0]).all()

    assert seen.min() >= 0 and seen.max() == duration
    slack = 1e-9
    assert (seen[:, 0] <= cells[:, 0] + slack).all()
    assert (seen[:, 1] >= cells[:, 1] - slack).all()

    covered = {tick for start in starts for tick in range(start, start + frames)}
    assert set(range(ticks)) <= covered
    assert starts[-1] < ticks


@settings(deadline=None)
@given(videos())
def test_a_stream_is_cut_into_the_same_windows(video: tuple[int, int, int, float]) -> None:
    frames, stride, ticks, duration = video
    cutter: WindowCutter[int] = WindowCutter(frames, stride)
    windows = [window for tick in range(ticks) for window in cutter.push(tick)]
    windows += cutter.finish()
    starts = tile(ticks, fps=FPS, frames=frames, stride=stride, duration_s=duration).starts
    assert windows == [
        tuple(min(tick, ticks - 1) for tick in range(start, start + frames)) for start in starts
    ]
    assert len(windows) == count_windows(ticks, frames=frames, stride=stride)


def test_a_worked_example() -> None:
    tiling = tile(100, fps=10.0, frames=64, stride=16, duration_s=9.95)
    assert tiling.starts.tolist() == [0, 16, 32, 48]
    np.testing.assert_allclose(tiling.seen, [[0, 6.4], [1.6, 8.0], [3.2, 9.6], [4.8, 9.95]])
    # Centres 3.2, 4.8, 6.4, 8.0; half a stride is 0.8.
    np.testing.assert_allclose(tiling.cells, [[0, 4], [4, 5.6], [5.6, 7.2], [7.2, 9.95]])


def test_a_short_clip_is_one_window() -> None:
    tiling = tile(3, fps=24.0, duration_s=0.1)
    assert tiling.starts.tolist() == [0]
    assert tiling.seen.tolist() == tiling.cells.tolist() == [[0.0, 0.1]]


@pytest.mark.parametrize("stride", [0, 65, -1])
def test_strides_that_leave_frames_unseen_are_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        tile(100, fps=24.0, frames=64, stride=stride, duration_s=4.1)


@pytest.mark.parametrize(("ticks", "duration"), [(0, 0.0), (24, 0.9)])
def test_durations_that_do_not_fit_are_refused(ticks: int, duration: float) -> None:
    with pytest.raises(ValueError, match="do not make"):
        tile(ticks, fps=24.0, duration_s=duration)
