"""What every data set is made of: a sentence, a video and the moments the sentence describes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Window = tuple[float, float]

# What is found amiss in annotations, and what is done about it.
SWAPPED = "moments with start after end, swapped"
PAST_END = "moments that end past the video's length"
DROPPED = "moments that end before they start, dropped"
EMPTY = "moments of no length, dropped"
LEFT_OUT = "queries without a moment, left out"

_DONE = {
    PAST_END: "cut to the video for training; scores use them as published, unless --truth clipped"
}


def fix_lines(fixes: Mapping[str, int]) -> list[str]:
    """What is amiss, how often, and what is done about it where the name does not say it."""
    return [
        f"{kind}: {count:,}" + (f" ({_DONE[kind]})" if kind in _DONE else "")
        for kind, count in fixes.items()
    ]


@dataclass(frozen=True)
class Sample:
    """One query of a data set.

    `windows` are the true moments in seconds exactly as published, except that a reversed pair
    has been swapped. `duration` is the video's length in seconds. `event` is the canonical name
    of what happens, where the data set gives one; queries of one event describe the same thing.
    `video` is the video file's absolute path, where the data set names it.
    """

    qid: int | str
    vid: str
    query: str
    windows: tuple[Window, ...]
    duration: float
    event: str | None = None
    video: Path | None = None


@dataclass(frozen=True)
class Annotations:
    """The samples of one annotation file and what had to be mended to read them.

    `fixes` counts each kind of repair or oddity by a plain-words name, so that it can be told
    once and never happens silently.
    """

    name: str
    samples: tuple[Sample, ...]
    fixes: dict[str, int] = field(default_factory=dict)

    @property
    def vids(self) -> tuple[str, ...]:
        """The videos in order of first mention."""
        return tuple(dict.fromkeys(sample.vid for sample in self.samples))


def clip_windows(windows: Iterable[Window], duration: float) -> tuple[Window, ...]:
    """The part of each moment inside [0, duration]; a moment wholly outside is left out."""
    cut = ((max(0.0, start), min(end, duration)) for start, end in windows)
    return tuple((start, end) for start, end in cut if end > start)
