"""Which videos of a catalog a search is about: by name, by age, by length."""

from dataclasses import dataclass
from datetime import datetime

from vmrtool.catalog.listing import changed_since
from vmrtool.catalog.rows import VideoRow
from vmrtool.catalog.videos import matches
from vmrtool.errors import UsageError


@dataclass(frozen=True)
class VideoFilter:
    """Videos that fit all of what is given; None asks nothing.

    `video`: a glob of path or name. `since`: when the file was last changed, in seconds since 1970,
    or later. `duration`: shortest and longest, in seconds, both included; a video whose length is
    unknown fits none.
    """

    video: str | None = None
    since: float | None = None
    duration: tuple[float, float] | None = None

    def fits(self, row: VideoRow) -> bool:
        """Whether the search is about this video."""
        if self.video is not None and not matches(row, self.video):
            return False
        if self.since is not None and row.mtime_ns < self.since * 1e9:
            return False
        if self.duration is None:
            return True
        shortest, longest = self.duration
        return row.duration_s is not None and shortest <= row.duration_s <= longest

    def __str__(self) -> str:
        """What it asks, as on the command line."""
        asked = [f"'{self.video}'"] if self.video is not None else []
        if self.since is not None:
            asked.append(f"--since {datetime.fromtimestamp(self.since).isoformat(' ', 'seconds')}")
        if self.duration is not None:
            asked.append("--duration {:g}-{:g}".format(*self.duration))
        return ", ".join(asked)


def video_filter(
    video: str | None = None, since: str | None = None, duration: str | None = None
) -> VideoFilter:
    """The filter that a search's words ask for.

    Args:
        video: a glob.
        since: a date or a date and time, ISO 8601, local time unless it has a zone; or an age, 7d.
        duration: "MIN-MAX" in seconds; either may be left out.

    Raises:
        UsageError: since is no time, or duration no range.
    """
    return VideoFilter(
        video,
        None if since is None else changed_since(since),
        None if duration is None else _range(duration),
    )


def _range(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        shortest, longest = float(low or 0), float(high or "inf")
        if not dash or not (low or high) or not 0 <= shortest <= longest:
            raise ValueError(text)
    except ValueError as error:
        raise UsageError(
            f"duration is {text!r}, which is no range of seconds",
            remedy="for example 30-120, 30- for longer ones, or -120 for shorter ones",
        ) from error
    return shortest, longest
