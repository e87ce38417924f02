"""Windows over a video's ticks: which frames each sees, and which stretch of time it stands for."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Frame = TypeVar("Frame")


@dataclass(frozen=True)
class Tiling:
    """The N windows of one video.

    Attributes:
        starts: int64 (N,), the first tick of each.
        seen: float64 (N, 2), seconds of the frames its feature depends on, within the video.
        cells: float64 (N, 2), the stretch it stands for: its centre plus and minus half a
            stride, the first from 0 and the last to the end, so that they tile the video.
    """

    starts: NDArray[np.int64]
    seen: NDArray[np.float64]
    cells: NDArray[np.float64]


def check_stride(stride: int, frames: int) -> None:
    """Raises ValueError where windows of `frames` every `stride` would leave frames unseen."""
    if not 1 <= stride <= frames:
        raise ValueError(f"stride {stride} is not from 1 to {frames}, the frames of a window")


def count_windows(n_frames: int, *, frames: int, stride: int) -> int:
    """How many windows cover `n_frames`: the last may reach past the end, none starts there."""
    return 1 + max(0, -(-(n_frames - frames) // stride))


def tile(
    n_frames: int,
    *,
    fps: float,
    frames: int = 64,
    stride: int = 16,
    duration_s: float,
    around: tuple[int, int] = (0, 0),
) -> Tiling:
    """The windows of a video of `n_frames` ticks at `fps` that ends at `duration_s`.

    Window i covers the ticks from i * stride on, `frames` of them; what reaches past the end is
    padded with the last frame, so a tail or a clip shorter than a window is kept. `around` is how
    many ticks before and after a window its feature sees as well.

    Raises:
        ValueError: the stride leaves frames unseen, or the duration does not fit the frames.
    """
    check_stride(stride, frames)
    if n_frames < 1 or not (n_frames - 1) / fps < duration_s:
        raise ValueError(f"{n_frames} frames at {fps}/s do not make {duration_s} s of video")
    n = count_windows(n_frames, frames=frames, stride=stride)
    starts = np.arange(n, dtype=np.int64) * stride
    first, end = starts - around[0], starts + frames + around[1]
    seen = np.stack([np.maximum(first / fps, 0.0), np.minimum(end / fps, duration_s)], axis=1)
    seen[-1, 1] = duration_s
    borders = (starts[1:] + (frames - stride) / 2) / fps
    edges = np.concatenate([[0.0], borders, [duration_s]])
    return Tiling(starts, seen, np.stack([edges[:-1], edges[1:]], axis=1))


class WindowCutter(Generic[Frame]):
    """Cuts a stream of frames into the windows of `tile`, holding one window's frames.

    Overlapping windows share their frames; nothing is copied.
    """

    def __init__(self, frames: int, stride: int) -> None:
        check_stride(stride, frames)
        self._frames, self._stride = frames, stride
        self._ring: deque[Frame] = deque(maxlen=frames)
        self._seen = 0
        self._cut = 0

    def push(self, frame: Frame) -> Iterator[tuple[Frame, ...]]:
        """Takes the next frame; yields the window it completes, if it does."""
        self._ring.append(frame)
        self._seen += 1
        if self._seen == self._cut * self._stride + self._frames:
            self._cut += 1
            yield tuple(self._ring)

    def finish(self) -> Iterator[tuple[Frame, ...]]:
        """Yields the window of the tail, padded with the last frame, if there is a tail."""
        if self._cut < count_windows(self._seen, frames=self._frames, stride=self._stride):
            beyond = self._seen - self._cut * self._stride
            tail = tuple(self._ring)[-beyond:]
            yield tail + (tail[-1],) * (self._frames - len(tail))


class StretchCutter(Generic[Frame]):
    """Cuts a stream of frames into stretches, one after the other, that end with the last window.

    Args:
        length: frames of a stretch; the last may be shorter.
        frames: frames of a window of `tile`.
        stride: frames from one window to the next.
    """

    def __init__(self, length: int, frames: int, stride: int) -> None:
        check_stride(stride, frames)
        self._length, self._frames, self._stride = length, frames, stride
        self._held: list[Frame] = []
        self._seen = 0

    def push(self, frame: Frame) -> Iterator[tuple[Frame, ...]]:
        """Takes the next frame; yields the stretch before it, if that is full."""
        if len(self._held) == self._length:
            yield tuple(self._held)
            self._held.clear()
        self._held.append(frame)
        self._seen += 1

    def finish(self) -> Iterator[tuple[Frame, ...]]:
        """Yields the rest, padded with the last frame to the end of the last window."""
        windows = count_windows(self._seen, frames=self._frames, stride=self._stride)
        total = (windows - 1) * self._stride + self._frames
        rest = self._held + [self._held[-1]] * (total - self._seen)
        for start in range(0, len(rest), self._length):
            yield tuple(rest[start : start + self._length])
