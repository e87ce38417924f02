"""How far a run is, how fast it goes, and how long it will take."""

import time
from collections.abc import Callable
from pathlib import Path

from vmrtool.indexing.report import Decoded, Event, Opened, Settled, Started


class Progress:
    """Follows a run by its events.

    Time left is what remains of the video, in seconds, at the rate so far. Lengths of videos whose
    turn has not come are not known; they are taken from their sizes, at as many seconds a byte as
    the videos have that were opened. Attributes: `videos`, `done` and `failed` count, `seconds` is
    the length of the video computed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never step back."""
        self.videos = self.done = self.failed = 0
        self.seconds = 0.0
        self._clock = clock
        self._since: float | None = None
        self._unopened_bytes = 0
        self._opened: dict[Path, tuple[int, float]] = {}
        self._known_bytes = 0
        self._known_seconds = 0.0

    def follow(self, event: Event) -> None:
        """Takes in what has happened."""
        if isinstance(event, Started):
            self.videos = event.videos
            self.done = event.unchanged + event.failed
            self.failed = event.failed
            self._unopened_bytes = event.todo_bytes
        elif isinstance(event, Opened):
            self._since = self._clock() if self._since is None else self._since
            if event.claimed_s is not None:
                self._opened[event.path] = (event.size, event.claimed_s)
                self._unopened_bytes -= event.size
                self._known_bytes += event.size
                self._known_seconds += event.claimed_s
        elif isinstance(event, Decoded):
            self.seconds += event.seconds
        elif isinstance(event, Settled):
            self.done += 1
            self.failed += event.outcome == "failed"
            size, claimed = self._opened.pop(event.path, (0, 0.0))
            if event.outcome == "failed":
                # None of it is to come any more, whatever it claimed.
                self._known_bytes -= size
                self._known_seconds -= claimed
            if not size:
                self._unopened_bytes -= event.size

    @property
    def rate(self) -> float | None:
        """Seconds of video computed a second; None before there were any."""
        elapsed = 0.0 if self._since is None else self._clock() - self._since
        return self.seconds / elapsed if elapsed > 0 and self.seconds > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds until the run is done; None where nothing is known yet."""
        if self.done >= self.videos:
            return 0.0
        if self.rate is None or self._known_bytes <= 0:
            return None
        a_byte = self._known_seconds / self._known_bytes
        total = self._known_seconds + max(0, self._unopened_bytes) * a_byte
        return max(0.0, total - self.seconds) / self.rate
