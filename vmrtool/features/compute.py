"""Clips to features on one or several devices: batches of windows, or passes over whole videos.

On a GPU frames are copied while it computes, and features are fetched while it goes on.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmrtool.errors import UsageError
from vmrtool.features.backbones import Backbone
from vmrtool.features.dense import TrunkStream
from vmrtool.features.i3d import STEP
from vmrtool.features.prefetch import Clip

Rows = NDArray[np.float16]
Result = tuple[int, Rows]
"""Features (k, dim) of a video's next k windows, and which video."""


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Says what to do where a device's memory is too small."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(
            "the device's memory is too small for a batch", remedy="Use a smaller --batch-size."
        ) from error


class Engine(Protocol):
    """Makes features of clips. Those of one video come in order."""

    def push(self, clip: Clip) -> Iterator[Result]:
        """Takes a clip; yields what is done."""

    def flush(self) -> Iterator[Result]:
        """Yields what is left once no clip follows."""

    def drop(self, video: int) -> None:
        """Leaves a video; features of it may still come."""


class Lane:
    """The way to one device and back."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._device = backbone.device
        gpu = backbone.device.type == "cuda"
        self._copies = torch.cuda.Stream(self._device) if gpu else None

    def load(self, clips: Sequence[Tensor], rows: int) -> Tensor:
        """Frames uint8 (T, H, W, 3) each, as uint8 (rows, T, H, W, 3) there, padded with zeros."""
        if self._copies is None:
            return self._gathered(clips, rows)
        with torch.cuda.stream(self._copies):
            batch = self._gathered(clips, rows)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._copies)
        batch.record_stream(current)
        return batch

    def _gathered(self, clips: Sequence[Tensor], rows: int) -> Tensor:
        shape = (rows, *clips[0].shape)
        batch = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        for row, clip in zip(batch, clips, strict=False):
            row.copy_(clip, non_blocking=True)
        return batch

    def fetch(self, values: Tensor) -> "Fetched":
        """Features on their way back, as float16."""
        values = values.half()
        if self._copies is None:
            return Fetched(values, None)
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self._device))
        return Fetched(host, done)


@dataclass(frozen=True)
class Fetched:
    """Features that are here once the device is `done`."""

    values: Tensor
    done: torch.cuda.Event | None

    def numpy(self) -> Rows:
        """The features, waited for."""
        if self.done is not None:
            self.done.synchronize()
        return self.values.numpy()


class _InFlight:
    """Work given to devices whose results have not been taken: as many as devices, at most."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._most = len(lanes) if lanes[0].backbone.device.type == "cuda" else 0
        self._works: deque[tuple[list[tuple[int, slice]], Fetched]] = deque()

    def add(self, parts: list[tuple[int, slice]], fetched: Fetched) -> None:
        self._works.append((parts, fetched))

    def done(self, all_of_it: bool = False) -> Iterator[Result]:
        while len(self._works) > (0 if all_of_it else self._most):
            parts, fetched = self._works.popleft()
            rows = fetched.numpy()
            for video, where in parts:
                yield video, rows[where]


class WindowEngine:
    """Every clip is a window; batches of one size are filled across videos."""

    def __init__(self, backbones: Sequence[Backbone], batch_size: int) -> None:
        self._lanes = [Lane(backbone) for backbone in backbones]
        self._batch_size = batch_size
        self._waiting: list[Clip] = []
        self._in_flight = _InFlight(self._lanes)
        self._batches = 0

    def push(self, clip: Clip) -> Iterator[Result]:
        """Takes a window; yields what is done."""
        self._waiting.append(clip)
        if len(self._waiting) == self._batch_size:
            self._start()
        yield from self._in_flight.done()

    def flush(self) -> Iterator[Result]:
        """Yields what is left once no window follows."""
        if self._waiting:
            self._start()
        yield from self._in_flight.done(all_of_it=True)

    def drop(self, video: int) -> None:
        """Leaves a video's waiting windows out."""
        self._waiting = [clip for clip in self._waiting if clip.video != video]

    def _start(self) -> None:
        """Gives the waiting windows to the next device, as a batch of full size."""
        lane = self._lanes[self._batches % len(self._lanes)]
        self._batches += 1
        clips, self._waiting = self._waiting, []
        with _memory_errors():
            frames = lane.load([clip.frames for clip in clips], self._batch_size)
            features = lane.backbone(lane.backbone.clips(frames))
            fetched = lane.fetch(features[: len(clips)])
        parts = [(clip.video, slice(row, row + 1)) for row, clip in enumerate(clips)]
        self._in_flight.add(parts, fetched)


@dataclass
class _Pass:
    """A pass over one video: where the trunk is, and its steps that windows to come need."""

    lane: Lane
    stream: TrunkStream
    steps: Tensor | None = None


class StreamEngine:
    """Clips are stretches of a video, one after the other; windows are pooled from the trunk's
    steps. A video stays on one device.
    """

    def __init__(self, backbones: Sequence[Backbone], stride: int) -> None:
        self._lanes = [Lane(backbone) for backbone in backbones]
        self._window = backbones[0].info.preprocessing.frames // STEP
        self._stride = stride // STEP
        self._passes: dict[int, _Pass] = {}
        self._in_flight = _InFlight(self._lanes)

    def push(self, clip: Clip) -> Iterator[Result]:
        """Takes a stretch; yields what is done."""
        one = self._passes.get(clip.video)
        if one is None:
            lane = self._lanes[clip.video % len(self._lanes)]
            one = self._passes[clip.video] = _Pass(lane, lane.backbone.stream())
        backbone = one.lane.backbone
        with _memory_errors():
            clips = backbone.clips(one.lane.load([clip.frames], 1))
            steps = backbone.advance(one.stream, clips, clip.last)
            if one.steps is not None:
                steps = torch.cat([one.steps, steps])
            if len(steps) >= self._window:
                windows = steps.unfold(0, self._window, self._stride)  # (N, dim, steps)
                fetched = one.lane.fetch(backbone.pool(windows))
                self._in_flight.add([(clip.video, slice(len(windows)))], fetched)
                steps = steps[len(windows) * self._stride :]
        one.steps = steps if len(steps) else None
        if clip.last:
            del self._passes[clip.video]
        yield from self._in_flight.done()

    def flush(self) -> Iterator[Result]:
        """Yields what is left once no stretch follows."""
        yield from self._in_flight.done(all_of_it=True)

    def drop(self, video: int) -> None:
        """Leaves a video."""
        self._passes.pop(video, None)
