"""Frames of a video on a regular grid of ticks, each the picture a player shows at that time."""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from av.error import FFmpegError
from av.format import Flags
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from vmrtool.errors import MediaError
from vmrtool.media.clock import USUAL_FRAME_S, PlayerClock, too_sparse
from vmrtool.media.container import (
    claimed_duration,
    decoded_frames,
    describe,
    open_video,
    start_of,
)
from vmrtool.media.geometry import Framing, Orientation, displayed_size

# Some streams (packed B-frames in AVI) give the right pictures in the right order with their
# timestamps swapped; sorting this many neighbouring timestamps puts them right.
_DISORDER = 4
# Timestamps are exact to half a unit of their time base (1 ms in Matroska): a frame this little
# after a tick was meant for it. AVI's units are whole frames, hence the cap.
_MAX_SLACK_S = 1e-3
_MIN_SLACK_S = 1e-6
# Pictures may be due a little before the key frame that comes first in the file.
_SEEK_MARGIN_S = 0.5


class FrameReader:
    """The pictures of one video at the ticks k / fps of the player's clock, network-sized.

    Each tick has the frame on display at that time; before the first frame it is the first.
    What a damaged file still gives is kept. Use it once, as a context manager:

        with FrameReader(path, fps=24, framing=Framing(("short", 256), (224, 224))) as reader:
            for picture in reader:  # uint8 (H, W, 3), RGB; shared between ticks, do not write
                ...

    `claimed_s` is how long the container says it is, None where it does not.

    Attributes, final once the iteration is over:
        frames_decoded: frames that came out of the decoder.
        ticks: pictures yielded.
        first_time_s: when the first frame is due.
        duration_s: when the last frame ends.
        truncated: what was lost and where, or None.

    Raises:
        MediaError: stage 'open' on construction; 'decode' where not one frame decodes, or where
            the timestamps make few frames last too long.
    """

    def __init__(self, path: Path, *, fps: float, framing: Framing, begin: float = 0.0) -> None:
        """Ticks are at `begin` + k / fps; where the file can seek, what lies before is skipped."""
        self.path = path
        self._begin = begin
        self.frames_decoded = 0
        self.ticks = 0
        self.first_time_s = 0.0
        self.duration_s = 0.0
        self.truncated: str | None = None
        self._fps = fps
        self._framing = framing
        self._scaler, self._painter = VideoReformatter(), VideoReformatter()
        self._layout: tuple[int, int] | None = None
        self._orientation = Orientation()
        self._target = (0, 0)
        self._damage: list[tuple[float, str]] = []
        self._files = ExitStack()
        self._container, self._stream = self._files.enter_context(open_video(path))
        self._size = self._container.size

        stream, container = self._stream, self._container
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        time_base = float(stream.time_base)
        self._slack = max(_MIN_SLACK_S, min(time_base / 2, _MAX_SLACK_S))
        self._joined = bool(container.format.flags & Flags.ts_discont.value)
        self.claimed_s = claimed_duration(container)
        self._clock = PlayerClock(
            time_base=time_base,
            start_s=start_of(container),
            frame_s=float(1 / rate) if rate else USUAL_FRAME_S,
            claimed_s=self.claimed_s,
            joined=self._joined,
        )
        if begin > 0:
            self._skip_to(begin)

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        held: Any = None
        for frame, time in self._timed_frames():
            if held is None:
                self.first_time_s = time
            else:
                self._check_pace(time)
                yield from self._show(held, until=time)
            held = frame
        if held is None:
            reason = self._damage[0][1] if self._damage else "it holds none"
            raise MediaError(
                f"{self.path}: not one frame can be decoded: {reason}",
                stage="decode",
                remedy="Check that the file plays, or leave it out with --exclude.",
            )
        # A lone frame may be due before the container says that it starts.
        self.duration_s = self._clock.end or 1 / self._fps
        self._check_pace(self.duration_s)
        # A clip shorter than a tick still shows its picture.
        yield from self._show(
            held, until=max(self.duration_s, 0.0 if self._begin else 1 / self._fps)
        )
        self.truncated = self._loss()

    def _skip_to(self, time: float) -> None:
        """Goes to a key frame before `time`, where the file's own times can be believed."""
        container, stream, start = self._container, self._stream, start_of(self._container)
        if start is None or self._joined or claimed_duration(container) is None:
            return
        offset = int((max(0.0, time - _SEEK_MARGIN_S) + start) / stream.time_base)
        with suppress(FFmpegError, OSError):
            container.seek(offset, stream=stream)
            packet = next(container.demux(stream), None)
            pts = None if packet is None else packet.pts
            if pts is not None and float(pts * stream.time_base) - start <= time:
                container.seek(offset, stream=stream)
                return
        # Some indexes lead past the time that was asked for: such a file is read from its start.
        with suppress(FFmpegError, OSError):
            container.seek(int(start * 1e6))

    def _check_pace(self, until: float) -> None:
        shown = until - self.first_time_s
        if too_sparse(self.frames_decoded, shown, self._size):
            raise MediaError(
                f"{self.path}: its timestamps make its first {self.frames_decoded} pictures last "
                f"{shown / 3600:.1f} hours",
                stage="decode",
                remedy="Write its times anew, for instance with ffmpeg -r 25 -i IN OUT, or leave "
                "it out with --exclude.",
            )

    def _show(self, frame: Any, until: float) -> Iterator[NDArray[np.uint8]]:
        """The picture of `frame`, once for each tick left before `until` seconds."""
        end = math.ceil((until - self._begin - self._slack) * self._fps)
        if end > self.ticks:
            picture = self._picture(frame)
            while self.ticks < end:
                self.ticks += 1
                yield picture

    def _timed_frames(self) -> Iterator[tuple[Any, float]]:
        """Decoded frames with their times, which never step back."""
        frames: deque[Any] = deque()
        times: list[float] = []
        latest = -math.inf

        def first() -> tuple[Any, float]:
            nonlocal latest
            latest = max(latest, heapq.heappop(times))
            return frames.popleft(), latest

        for frame in decoded_frames(self._container, self._stream, self._note_damage):
            self.frames_decoded += 1
            frames.append(frame)
            heapq.heappush(times, self._clock.read(frame.pts, frame.duration))
            if len(frames) > _DISORDER:
                yield first()
        while frames:
            yield first()

    def _picture(self, frame: Any) -> NDArray[np.uint8]:
        """The frame as displayed, resized and cropped: uint8 (H, W, 3)."""
        if self._layout != (frame.width, frame.height):  # at the start, or changed in mid-stream
            self._layout = (frame.width, frame.height)
            self._orientation = Orientation.of(frame)
            aspect = float(self._stream.sample_aspect_ratio or 1)
            size = self._framing.scaled(*displayed_size(*self._layout, aspect, self._orientation))
            self._target = (size[1], size[0]) if self._orientation.transpose else size
        width, height = self._target
        try:
            # Scaling as YUV and painting RGB at the final size takes a third of the time of both
            # in one step, which leaves libav's fast paths.
            if not frame.format.is_rgb:
                frame = self._scaler.reformat(
                    frame,
                    width=width,
                    height=height,
                    format="yuv420p",
                    interpolation=Interpolation.BILINEAR,
                    threads=1,
                )
            painted = self._painter.reformat(
                frame,
                width=width,
                height=height,
                format="rgb24",
                interpolation=Interpolation.BILINEAR,
                threads=1,
            )
        except (FFmpegError, ValueError) as error:
            raise MediaError(
                f"{self.path}: pictures of format {frame.format.name} cannot be converted: "
                f"{describe(error)}",
                stage="decode",
            ) from error
        plane = painted.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            :height, : width * 3
        ]
        picture = rows.reshape(height, width, 3)
        return self._framing.cut(self._orientation.apply(picture))

    def _note_damage(self, error: Exception) -> None:
        self._damage.append((self._clock.end, describe(error)))

    def _loss(self) -> str | None:
        """What the file holds and did not give, in words."""
        end, claimed = self.duration_s, self._claimed_end()
        short = claimed is not None and claimed - end > max(0.5, 0.01 * claimed)
        cut = f"ends at {end:.2f} s of {claimed:.2f} s" if short else f"ends at {end:.2f} s"
        if not self._damage:
            return f"{cut}: the file is cut short" if short else None
        at, reason = self._damage[0]
        if len(self._damage) == 1 and at >= end:
            return f"{cut}: {reason}"
        places = ", ".join(f"{at:.2f} s" for at, _ in self._damage[:3])
        more = f" and {len(self._damage) - 3} more" if len(self._damage) > 3 else ""
        return f"{cut}, damaged at {places}{more}: {reason}"

    def _claimed_end(self) -> float | None:
        """When the pictures should end by the container's word, on the player's clock."""
        stream, container = self._stream, self._container
        start = start_of(container)
        if start is None or self._joined:
            # Joined recordings have durations that are differences of timestamps which leap.
            return None
        if stream.duration:
            return float((stream.duration + (stream.start_time or 0)) * stream.time_base) - start
        return None if container.streams.audio else claimed_duration(container)
