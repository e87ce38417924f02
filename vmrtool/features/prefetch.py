"""Decoding ahead: worker threads that turn videos into clips while the network computes."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmrtool.errors import MediaError
from vmrtool.features.windows import Tiling
from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing

Picture = NDArray[np.uint8]
_POLL_S = 0.1


@dataclass(frozen=True)
class Clip:
    """The next clip of a video: its frames, uint8 (T, H, W, 3), and whether it is the last."""

    video: int
    frames: Tensor
    last: bool


@dataclass(frozen=True)
class End:
    """All clips of a video have come."""

    video: int
    path: Path
    tiling: Tiling
    duration_s: float
    truncated: str | None


@dataclass(frozen=True)
class Failure:
    """A video could not be decoded; clips of it that came are void."""

    video: int
    path: Path
    error: MediaError


Event = Clip | End | Failure


class Cutter(Protocol):
    """Cuts one video's frames into clips."""

    def push(self, frame: Picture) -> Iterator[tuple[Picture, ...]]:
        """Takes the next frame; yields the clips it completes."""

    def finish(self) -> Iterator[tuple[Picture, ...]]:
        """Yields what is left once there are no more."""


@dataclass(frozen=True)
class Plan:
    """How videos become clips.

    Attributes:
        fps: frames a second.
        framing: resize and crop of every frame.
        cutter: makes what cuts one video.
        tiling: the windows of a video of so many frames and seconds.
        pinned: whether clips lie where a GPU can fetch them by itself.
    """

    fps: float
    framing: Framing
    cutter: Callable[[], Cutter]
    tiling: Callable[[int, float], Tiling]
    pinned: bool = False


class DecodeAhead:
    """Decodes videos in `workers` threads, at most `ahead` clips before whoever iterates.

    Threads take the next path when they are free; the clips of one video come in order, those of
    different videos mixed. Each thread holds the frames of one clip and what it has cut, so memory
    does not depend on how long or how many the videos are. Leaving the `with` block stops them.
    """

    def __init__(self, paths: Iterable[Path], plan: Plan, *, workers: int, ahead: int) -> None:
        self._paths = enumerate(paths)
        self._paths_lock = threading.Lock()
        self._plan = plan
        self._events: queue.Queue[Event | BaseException | None] = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"decode-{i}", daemon=True)
            for i in range(workers)
        ]

    def __enter__(self) -> "DecodeAhead":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Event]:
        running = len(self._threads)
        while running:
            event = self._events.get()
            if event is None:
                running -= 1
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with self._paths_lock:
                    video, path = next(self._paths)
            except StopIteration:
                break
            except BaseException as error:  # the caller's iterable failed: it is told
                self._put(error)
                break
            try:
                self._decode(video, path)
            except MediaError as error:
                self._put(Failure(video, path, error))
            except Exception as error:  # whatever it is, it is this video's alone
                wrapped = MediaError(f"{path}: {type(error).__name__}: {error}", stage="decode")
                wrapped.__cause__ = error
                self._put(Failure(video, path, wrapped))
        self._put(None)

    def _decode(self, video: int, path: Path) -> None:
        plan = self._plan
        cutter = plan.cutter()
        with FrameReader(path, fps=plan.fps, framing=plan.framing) as reader:
            for picture in reader:
                for pictures in cutter.push(picture):
                    self._put(Clip(video, self._stacked(pictures), last=False))
                if self._stop.is_set():
                    return
        rest = list(cutter.finish())
        for number, pictures in enumerate(rest, start=1):
            self._put(Clip(video, self._stacked(pictures), last=number == len(rest)))
        tiling = plan.tiling(reader.ticks, reader.duration_s)
        self._put(End(video, path, tiling, reader.duration_s, reader.truncated))

    def _stacked(self, pictures: tuple[Picture, ...]) -> Tensor:
        """Pictures as one tensor (T, H, W, 3)."""
        shape = (len(pictures), *pictures[0].shape)
        frames = torch.empty(shape, dtype=torch.uint8, pin_memory=self._plan.pinned)
        np.stack(pictures, out=frames.numpy())
        return frames

    def _put(self, event: Event | BaseException | None) -> None:
        """Hands an event over, waiting while too many are waiting, unless all is over."""
        while not self._stop.is_set():
            try:
                self._events.put(event, timeout=_POLL_S)
                return
            except queue.Full:
                continue
