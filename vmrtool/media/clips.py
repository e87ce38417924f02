"""Cutting a stretch out of a video: its packets copied, or its pictures and sound encoded anew.

Times are on the player's clock of the source. A copy can only begin at a key frame; what is encoded
anew begins with the picture on display at the start and ends at the end. Sound goes with it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from vmrtool.errors import MediaError
from vmrtool.files import whole
from vmrtool.media.container import describe, open_video, start_of
from vmrtool.media.geometry import Orientation

# Containers that a copy can stay in, with libav's names; all else goes into Matroska, which
# takes nearly every codec.
_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_UNITS = Fraction(1, 90_000)  # of time in what is encoded
_CRF = "18"
# By number of channels, those that AAC has.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_MARGIN_S = 5.0  # read on past the end, since sound may be stored a while after its pictures


@dataclass(frozen=True)
class Cut:
    """What a clip holds of its source: seconds on the source's clock."""

    start: float
    end: float


def clip_suffix(source: Path, *, reencode: bool) -> str:
    """The suffix of a clip of `source`: its own where a copy can stay in such a file."""
    if reencode:
        return ".mp4"
    suffix = source.suffix.lower()
    return suffix if suffix in _MUXERS else ".mkv"


def cut_clip(source: Path, target: Path, start: float, end: float, *, reencode: bool) -> Cut:
    """Cuts [start, end) out of a video into `target`, which is written whole or not at all.

    Args:
        source: the video.
        target: with the suffix that `clip_suffix` gives.
        start: in seconds on the player's clock, not below 0.
        end: in seconds, after the start; what lies past the video's end is not there.
        reencode: H.264 and AAC in MP4, exact to the frame and sample, instead of a copy from the
            last key frame at or before the start.

    Returns:
        What is in the clip. A copy begins at its key frame and ends with its last frame.

    Raises:
        MediaError: the source cannot be read, has nothing there, or its streams do not go into
            such a file.
        OSError: the clip cannot be written.
    """
    with open_video(source) as (container, stream), whole(target) as place:
        try:
            muxer = _MUXERS[target.suffix.lower()]
            options = {"movflags": "faststart"} if muxer in ("mp4", "mov") else {}
            with av.open(place.absolute(), "w", format=muxer, options=options) as out:
                make = _encode if reencode else _copy
                return make(container, stream, out, start, end)
        except (FFmpegError, ValueError) as error:
            remedy = None if reencode else "Try --reencode."
            raise MediaError(
                f"{source}: cannot be cut: {describe(error)}", stage="decode", remedy=remedy
            ) from error
        except _NothingThereError as error:
            raise MediaError(
                f"{source}: no pictures from {start:.2f} to {end:.2f} s", stage="decode"
            ) from error


class _NothingThereError(Exception):
    """The stretch holds no picture."""


# Copying ---------------------------------------------------------------------------------------


def _copy(container: Any, stream: Any, out: Any, start: float, end: float) -> Cut:
    origin = start_of(container) or 0.0
    sounds = list(container.streams.audio)
    pictures: list[Any] = []
    sound: list[Any] = []
    begin = 0.0
    for packet in _packets_from(container, stream, sounds, start + origin):
        time = _time(packet)
        if packet.stream is not stream:
            if time < end + origin:
                sound.append(packet)
        elif (packet.is_keyframe and time <= start + origin) or not pictures:
            if packet.is_keyframe:
                pictures, begin = [packet], time
        # Pictures shown before their key frame need what comes before it.
        elif time >= begin:
            pictures.append(packet)
        known = packet.pts if packet.dts is None else packet.dts
        over = float(known * packet.time_base) - end - origin
        if pictures and over >= (_MARGIN_S if sounds else 0.0):
            break
    # Behind the last picture that is shown in time, nothing is needed.
    later = []
    while pictures and _time(pictures[-1]) >= end + origin:
        later.append(_time(pictures.pop()))
    if not pictures:
        raise _NothingThereError
    after = max(_time(packet) + _length(packet, stream) for packet in pictures)
    if later:  # some formats do not say how long a picture is shown
        after = max(after, min(later))
    if after <= start + origin:
        raise _NothingThereError
    made = {s.index: out.add_stream_from_template(s) for s in (stream, *sounds)}
    _give_decoding_times(pictures)
    for index in {packet.stream.index for packet in sound}:
        _give_decoding_times([packet for packet in sound if packet.stream.index == index])
    kept = [p for p in sound if begin <= _time(p) + _length(p, p.stream) / 2 and _time(p) < after]
    for packet in sorted([*pictures, *kept], key=lambda p: p.dts * p.time_base):
        shift = round(begin / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = made[packet.stream.index]
        out.mux(packet)
    return Cut(begin - origin, after - origin)


def _packets_from(container: Any, stream: Any, sounds: list[Any], time: float) -> Iterator[Any]:
    """Packets with times, from a key frame at or before `time` in the container's seconds.

    A file that cannot seek there is read from its start.
    """
    for target in (time, max(time - 10.0, 0.0), -math.inf):
        try:
            if target > -math.inf:
                container.seek(int(target / stream.time_base), stream=stream)
            else:
                container.seek(int((start_of(container) or 0.0) * 1e6))
        except (FFmpegError, OSError):
            continue
        packets = _timed(container.demux(stream, *sounds))
        before = []
        for packet in packets:
            before.append(packet)
            if packet.stream is stream:
                break
        if target == -math.inf or (before and _reaches(before[-1], stream, time)):
            yield from before
            yield from packets
            return


def _timed(packets: Iterator[Any]) -> Iterator[Any]:
    """The packets that say when they are due; AVI gives the time of decoding only."""
    for packet in packets:
        if packet.pts is None:
            packet.pts = packet.dts
        if packet.size and packet.pts is not None:
            yield packet


def _give_decoding_times(packets: list[Any]) -> None:
    """Makes the times of decoding of a stream's packets where some are not known.

    Matroska has none, so they begin as unknown; they are then the pictures' own times in order,
    as much earlier as the one that is shown last of those before it needs.
    """
    if all(packet.dts is not None for packet in packets):
        return
    ordered = sorted(packet.pts for packet in packets)
    early = max(due - packet.pts for due, packet in zip(ordered, packets, strict=True))
    for due, packet in zip(ordered, packets, strict=True):
        packet.dts = due - early


def _reaches(packet: Any, stream: Any, time: float) -> bool:
    return packet.stream is stream and packet.is_keyframe and _time(packet) <= time


def _time(packet: Any) -> float:
    return float(packet.pts * packet.time_base)


def _length(packet: Any, stream: Any) -> float:
    if packet.duration:
        return float(packet.duration * packet.time_base)
    rate = getattr(stream, "average_rate", None)
    return float(1 / rate) if rate else 0.0


# Encoding anew ---------------------------------------------------------------------------------


def _encode(container: Any, stream: Any, out: Any, start: float, end: float) -> Cut:
    origin = start_of(container) or 0.0
    sounds = list(container.streams.audio)
    tracks = {s.index: _SoundTrack(out, s, origin + start, origin + end) for s in sounds}
    track = _PictureTrack(out, stream, origin + start, origin + end)
    for packet in _packets_from(container, stream, sounds, start + origin):
        late = _time(packet) - origin - end
        if late > _MARGIN_S or (late > 1.0 and not sounds):
            break
        for frame in packet.decode():
            (track if packet.stream is stream else tracks[packet.stream.index]).add(frame)
    for each in (stream, *sounds):
        for frame in each.decode(None):
            (track if each is stream else tracks[each.index]).add(frame)
    reached = track.finish()
    for each in tracks.values():
        each.finish()
    return Cut(start, reached - origin)


class _PictureTrack:
    """Pictures of [start, end) in the container's seconds, each until the next is due."""

    def __init__(self, out: Any, source: Any, start: float, end: float) -> None:
        self._out, self._source, self._start, self._end = out, source, start, end
        rate = source.average_rate or source.guessed_rate or 25
        self._length = float(1 / rate)
        self._track = out.add_stream("libx264", rate=rate)
        # Pictures in the order they are shown: only then does MP4 keep the last one's length.
        self._track.options = {"crf": _CRF, "preset": "veryfast", "bf": "0"}
        self._held: Any = None
        self._due = self._held_at = 0.0
        self._opened = self._reached = False
        self._lengths: dict[int, int] = {}

    def add(self, frame: Any) -> None:
        if frame.pts is None:
            return
        # Frames that the decoder gives at its end have lost their unit of time.
        time = float(frame.pts * self._source.time_base)
        if time >= self._end:
            self._reached = True
            return
        if time > self._start and self._held is not None:
            self._write(until=time)
        self._held, self._due, self._held_at = frame, time, max(time, self._start)
        if frame.duration:
            self._length = float(frame.duration * self._source.time_base)

    def finish(self) -> float:
        """Writes what is left; returns when the last picture ends."""
        last = self._end
        if self._held is not None:
            last = self._end if self._reached else min(self._end, self._due + self._length)
        if self._held is None or last <= self._start:
            raise _NothingThereError
        self._write(until=last)
        self._mux(None)
        return last

    def _write(self, until: float) -> None:
        frame = _upright(self._held)
        if not self._opened:
            self._opened = True
            self._track.width, self._track.height = frame.width, frame.height
            self._track.pix_fmt = "yuv420p"
            self._track.codec_context.time_base = _UNITS
            aspect = self._source.sample_aspect_ratio
            if aspect:
                turned = Orientation.of(self._held).transpose
                self._track.codec_context.sample_aspect_ratio = 1 / aspect if turned else aspect
        frame = frame.reformat(width=self._track.width, height=self._track.height, format="yuv420p")
        frame.time_base = _UNITS
        frame.pts = round((self._held_at - self._start) / _UNITS)
        self._lengths[frame.pts] = max(1, round((until - self._held_at) / _UNITS))
        frame.pict_type = 0
        self._mux(frame)

    def _mux(self, frame: Any) -> None:
        for packet in self._track.encode(frame):
            # The encoder takes all pictures to be of one length.
            packet.duration = self._lengths.pop(packet.pts, packet.duration)
            self._out.mux(packet)


def _upright(frame: Any) -> Any:
    """The frame as displayed, with an even width and height as H.264 wants them."""
    orientation = Orientation.of(frame)
    if orientation != Orientation():
        picture = np.ascontiguousarray(orientation.apply(frame.to_ndarray(format="rgb24")))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    return frame.reformat(
        width=max(2, frame.width // 2 * 2), height=max(2, frame.height // 2 * 2), format="yuv420p"
    )


class _SoundTrack:
    """Sound of [start, end) in the container's seconds, cut to the sample."""

    def __init__(self, out: Any, source: Any, start: float, end: float) -> None:
        self._out, self._source, self._start, self._end = out, source, start, end
        layout = _LAYOUTS.get(source.channels, "stereo")
        rates = av.Codec("aac", "w").audio_rates or ()
        rate = source.rate if source.rate in rates else 48_000
        self._track = out.add_stream("aac", rate=rate, layout=layout)

    def add(self, frame: Any) -> None:
        if frame.pts is None:
            return
        rate = frame.sample_rate
        time = float(frame.pts * (frame.time_base or self._source.time_base))
        first = max(0, round((self._start - time) * rate))
        after = min(frame.samples, round((self._end - time) * rate))
        if first >= after:
            return
        n = frame.layout.nb_channels
        channels = 1 if frame.format.is_planar else n
        # Raw sound may only say how many channels it has, not which.
        layout = frame.layout.name if "channels" not in frame.layout.name else _LAYOUTS.get(n)
        samples = frame.to_ndarray()[:, first * channels : after * channels]
        if layout is None:
            return
        cut = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format=frame.format.name, layout=layout
        )
        cut.sample_rate, cut.time_base = rate, Fraction(1, rate)
        cut.pts = round((time - self._start) * rate) + first
        self._out.mux(self._track.encode(cut))

    def finish(self) -> None:
        self._out.mux(self._track.encode(None))
