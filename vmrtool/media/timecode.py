"""Timecode: how editors number frames, and which numbers a video's frames have.

At 29.97 frames a second there are two ways. Non-drop numbers every frame, and falls 3.6 s behind
the clock in an hour. Drop-frame skips numbers (not frames): 00 and 01 (at 59.94: 00 to 03) at the
beginning of every minute but each tenth, and so keeps with the clock.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vmrtool.errors import MediaError
from vmrtool.media.container import open_video, start_of

_STANDARD = tuple(
    Fraction(base * 1000, 1001) if slow else Fraction(base)
    for base in (24, 25, 30, 48, 50, 60)
    for slow in (True, False)
    if not (slow and base in (25, 50))
)
_CLOSE = 0.0005  # of a rate to a standard one; 23.976 and 24 are 0.001 apart
_MOST = 60  # frames a second that timecode counts; faster videos are counted every other frame


@dataclass(frozen=True)
class TimecodeSource:
    """How one video's frames are numbered.

    Attributes:
        rate: numbers a second.
        drop: whether they are drop-frame.
        first: the count of the video's first frame, from its timecode track; 0 without one.
        offset_s: when the first frame shows, on the player's clock.
        sound: whether the file has sound.
    """

    rate: Fraction
    drop: bool
    first: int = 0
    offset_s: float = 0.0
    sound: bool = False

    @property
    def base(self) -> int:
        """Numbers from one second to the next: 30 at 29.97."""
        return round(self.rate)

    def at(self, seconds: float) -> int:
        """The count of the frame nearest to a time on the player's clock."""
        return self.first + max(0, round((seconds - self.offset_s) * self.rate))


def timecode_source(path: Path) -> TimecodeSource:
    """How the frames of the video at `path` are numbered.

    A timecode track settles where numbers begin and whether they are drop-frame. Without one they
    begin at 0, and are drop-frame at 29.97 and 59.94, so that they keep with the clock.

    Raises:
        MediaError: it cannot be opened, or does not say its frame rate.
    """
    with open_video(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise MediaError(f"{path}: it does not say its frame rate", stage="open")
        counted = counted_rate(Fraction(rate))
        told = _tag(container)
        drops = counted.denominator != 1 and round(counted) % 30 == 0
        drop = drops and (told is None or ";" in told)
        offset = 0.0
        begins = start_of(container)
        if begins is not None and stream.start_time is not None:
            offset = max(0.0, float(stream.start_time * stream.time_base) - begins)
        first = 0 if told is None else frame_count(told, round(counted), drop=drop)
        return TimecodeSource(counted, drop, first, offset, bool(container.streams.audio))


def counted_rate(rate: Fraction) -> Fraction:
    """The rate that timecode counts at: the standard one it is, else the nearest whole number."""
    while rate > _MOST * (1 + Fraction(_CLOSE)):
        rate /= 2
    for standard in _STANDARD:
        if abs(float(rate / standard) - 1) < _CLOSE:
            return standard
    return Fraction(max(1, round(rate)))


def timecode(count: int, base: int, *, drop: bool) -> str:
    """Frame `count` as hh:mm:ss:ff, or hh:mm:ss;ff in drop-frame; a day wraps around."""
    if drop:
        skipped = base // 15
        ten_minutes = base * 600 - 9 * skipped
        tens, rest = divmod(count, ten_minutes)
        minutes = max(0, (rest - skipped) // (base * 60 - skipped))
        count += skipped * (9 * tens + minutes)
    whole, frame = divmod(count, base)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    mark = ";" if drop else ":"
    return f"{hours % 24:02d}:{minute:02d}:{second:02d}{mark}{frame:02d}"


def frame_count(text: str, base: int, *, drop: bool) -> int:
    """The count of the frame that a timecode names; the inverse of `timecode`."""
    hours, minutes, seconds, frames = (int(part) for part in text.replace(";", ":").split(":"))
    minutes += hours * 60
    skipped = base // 15 * (minutes - minutes // 10) if drop else 0
    return (minutes * 60 + seconds) * base + frames - skipped


def _tag(container: Any) -> str | None:
    """The first frame's timecode as the file has it: `hh:mm:ss:ff`, `;` or `.` where it drops."""
    tags = [container.metadata, *(stream.metadata for stream in container.streams)]
    for tag in tags:
        text = str(tag.get("timecode", "")).replace(".", ";")
        parts = text.replace(";", ":").split(":")
        if len(parts) == 4 and all(part.isdecimal() for part in parts):
            return text
    return None
