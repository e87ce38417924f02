"""Decoding ahead: worker threads that turn videos into windows while the network computes."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from vmrtool.errors import MediaError
from vmrtool.features.windows import Tiling, WindowCutter, tile
from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing

Picture = NDArray[np.uint8]
_POLL_S = 0.1


@dataclass(frozen=True)
class Window:
    """The next window of a video: its pictures, uint8 (H, W, 3) each, shared with others."""

    video: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class End:
    """All windows of a video have come."""

    video: int
    path: Path
    tiling: Tiling
    duration_s: float
    truncated: str | None


@dataclass(frozen=True)
class Failure:
    """A video could not be decoded; windows of it that came are void."""

    video: int
    path: Path
    error: MediaError


Event = Window | End | Failure


class DecodeAhead:
    """Decodes videos in `workers` threads, at most `ahead` windows before whoever iterates.

    Threads take the next path when they are free; the windows of one video come in order, those
    of different videos mixed. Each thread holds the frames of one window, so memory does not
    depend on how long or how many the videos are. Leaving the `with` block stops them.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        fps: float,
        frames: int,
        stride: int,
        framing: Framing,
        workers: int,
        ahead: int,
    ) -> None:
        self._paths = enumerate(paths)
        self._paths_lock = threading.Lock()
        self._fps, self._frames, self._stride = fps, frames, stride
        self._framing = framing
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
        cutter: WindowCutter[Picture] = WindowCutter(self._frames, self._stride)
        with FrameReader(path, fps=self._fps, framing=self._framing) as reader:
            for picture in reader:
                for window in cutter.push(picture):
                    self._put(Window(video, window))
                if self._stop.is_set():
                    return
        for window in cutter.finish():
            self._put(Window(video, window))
        tiling = tile(
            reader.ticks,
            fps=self._fps,
            frames=self._frames,
            stride=self._stride,
            duration_s=reader.duration_s,
        )
        self._put(End(video, path, tiling, reader.duration_s, reader.truncated))

    def _put(self, event: Event | BaseException | None) -> None:
        """Hands an event over, waiting while too many are waiting, unless all is over."""
        while not self._stop.is_set():
            try:
                self._events.put(event, timeout=_POLL_S)
                return
            except queue.Full:
                continue
