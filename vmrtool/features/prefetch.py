"""Decoding ahead: worker threads that turn videos into clips while the network computes."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
from vmrtool.media.watch import STALL_S, allowance, too_slow

Picture = NDArray[np.uint8]
_POLL_S = 0.1
_WATCH_S = 1.0
_LEAVE_S = 5.0  # how long the end waits for threads that are in the decoder


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
        timeout_s: seconds that the decoder may spend on one video; None for what its length allows,
            and no more than `STALL_S` on one picture.
    """

    fps: float
    framing: Framing
    cutter: Callable[[], Cutter]
    tiling: Callable[[int, float], Tiling]
    pinned: bool = False
    timeout_s: float | None = None


class _GivenUp(Exception):  # noqa: N818 - no error: what a thread is told that took too long
    """The video was given up while its thread was in the decoder."""


@dataclass
class _Task:
    """A video in the hands of a thread, and how long the decoder has been at it.

    `since` is when the decoder was last called; None while it is not: a thread that waits for room
    in the queue takes no time.
    """

    video: int
    path: Path
    allowed_s: float
    stall_s: float
    since: float | None = None
    spent_s: float = 0.0
    given_up: bool = False
    thread: threading.Thread = field(default_factory=threading.current_thread)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """The decoder is called."""
        self.since = time.monotonic()

    def stop(self) -> None:
        """The decoder has come back.

        Raises:
            _GivenUp: too late.
        """
        with self.lock:
            if self.given_up:
                raise _GivenUp
            if self.since is not None:
                self.spent_s += time.monotonic() - self.since
                self.since = None

    def overdue(self) -> float | None:
        """Gives the video up where the decoder takes too long, and says how long that was."""
        with self.lock:
            if self.since is None or self.given_up:
                return None
            step = time.monotonic() - self.since
            self.given_up = step > self.stall_s or self.spent_s + step > self.allowed_s
            return self.spent_s + step if self.given_up else None


class DecodeAhead:
    """Decodes videos in `workers` threads, at most `ahead` clips before whoever iterates.

    Threads take the next path when they are free; the clips of one video come in order, those of
    different videos mixed. Each thread holds the frames of one clip and what it has cut, so memory
    does not depend on how long or how many the videos are. Leaving the `with` block stops them.

    A decoder that takes too long has its video given up and its thread left behind, which another
    one takes the place of.
    """

    def __init__(self, paths: Iterable[Path], plan: Plan, *, workers: int, ahead: int) -> None:
        self._paths = enumerate(paths)
        self._paths_lock = threading.Lock()
        self._plan = plan
        self._events: queue.Queue[Event | BaseException | None] = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._workers = workers
        self._left: set[threading.Thread] = set()
        self._tasks: list[_Task] = []
        self._tasks_lock = threading.Lock()

    def __enter__(self) -> "DecodeAhead":
        for _ in range(self._workers):
            self._start(self._work)
        self._start(self._watch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        # Threads that draw videos use what the caller closes next: they must end. Those that are
        # in the decoder touch nothing else, and one that hangs there must not hold everything up.
        until = time.monotonic() + _LEAVE_S
        for thread in self._threads:
            while thread.is_alive() and not (
                thread in self._left or (time.monotonic() > until and self._decoding(thread))
            ):
                thread.join(_POLL_S)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True)
        self._threads.append(thread)
        thread.start()

    def __iter__(self) -> Iterator[Event]:
        running = self._workers
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
            task = self._begin(video, path)
            try:
                self._decode(task)
            except _GivenUp:
                return  # another thread is in this one's place
            except MediaError as error:
                if not self._end(task):
                    return
                self._put(Failure(video, path, error))
            except Exception as error:  # whatever it is, it is this video's alone
                if not self._end(task):
                    return
                wrapped = MediaError(
                    f"{path}: {type(error).__name__}: {error}",
                    stage="decode",
                    remedy="Check that the file plays, or leave it out with --exclude.",
                )
                wrapped.__cause__ = error
                self._put(Failure(video, path, wrapped))
        self._put(None)

    def _decode(self, task: _Task) -> None:
        plan, video = self._plan, task.video
        cutter = plan.cutter()
        task.start()
        with FrameReader(task.path, fps=plan.fps, framing=plan.framing) as reader:
            if plan.timeout_s is None:
                task.allowed_s = allowance(reader.claimed_s)
            for picture in reader:
                task.stop()
                for pictures in cutter.push(picture):
                    self._put(Clip(video, self._stacked(pictures), last=False))
                if self._stop.is_set():
                    return
                task.start()
        self._end(task, or_raise=True)
        rest = list(cutter.finish())
        for number, pictures in enumerate(rest, start=1):
            self._put(Clip(video, self._stacked(pictures), last=number == len(rest)))
        tiling = plan.tiling(reader.ticks, reader.duration_s)
        self._put(End(video, task.path, tiling, reader.duration_s, reader.truncated))

    def _begin(self, video: int, path: Path) -> _Task:
        limit = self._plan.timeout_s
        task = _Task(video, path, limit or allowance(None), limit or STALL_S)
        with self._tasks_lock:
            self._tasks.append(task)
        return task

    def _end(self, task: _Task, *, or_raise: bool = False) -> bool:
        """Takes a task off the watch; False, or `_GivenUp`, where it has been given up."""
        self._unwatch(task)
        try:
            task.stop()
        except _GivenUp:
            if or_raise:
                raise
            return False
        return True

    def _unwatch(self, task: _Task) -> None:
        with self._tasks_lock:
            self._tasks = [other for other in self._tasks if other is not task]

    def _decoding(self, thread: threading.Thread) -> bool:
        with self._tasks_lock:
            return any(task.thread is thread and task.since is not None for task in self._tasks)

    def _watch(self) -> None:
        """Gives up what takes too long, until all is over."""
        limit = self._plan.timeout_s
        while not self._stop.wait(_WATCH_S if limit is None else min(_WATCH_S, limit / 4)):
            with self._tasks_lock:
                tasks = list(self._tasks)
            for task in tasks:
                seconds = task.overdue()
                if seconds is not None:
                    self._unwatch(task)
                    self._left.add(task.thread)
                    self._put(Failure(task.video, task.path, too_slow(task.path, seconds)))
                    self._start(self._work)

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
