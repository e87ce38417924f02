"""Times on the player's clock: a frame's pts minus the container's start time, made usable."""

# A longer hold of one picture is believed only where the container's duration covers it.
MAX_HOLD_S = 10.0
# Nor is it where it is longer than this: one wrong timestamp would make a clip a year long.
MAX_COVERED_HOLD_S = 3600.0
# Timestamps that step back further start a new count; smaller steps are disorder.
MAX_DISORDER_S = 1.0
# A frame's length where nothing says it, or what says it cannot be.
USUAL_FRAME_S = 1 / 25
# A video whose pictures are held for longer than `MAX_HOLD_S` on average may be an hour long, or as
# long as it has bytes for, and at most a day: slides and surveillance fit, wrong timestamps do not.
_SPARSE_BYTES_A_SECOND = 10
_SPARSE_LEAST_S, _SPARSE_MOST_S = 3600.0, 86_400.0


def too_sparse(frames: int, seconds: float, size: int) -> bool:
    """Whether so many frames cannot last so long in a file of `size` bytes.

    It bounds what a wrong timestamp can cost: every second shown is computed and stored.
    """
    longest = min(max(size / _SPARSE_BYTES_A_SECOND, _SPARSE_LEAST_S), _SPARSE_MOST_S)
    return seconds > longest and seconds > frames * MAX_HOLD_S


class PlayerClock:
    """Turns the timestamps of one stream, in the order its frames come, into seconds.

    Missing timestamps follow on the frame before. A step back, or a leap that nothing explains
    (recordings joined end to end, one wrong timestamp), is taken out, and time runs on.

    Args:
        time_base: seconds of one unit of pts.
        start_s: the container's start time; None where it has none: the first frame's then.
        frame_s: usual length of a frame; one longer than any hold is not believed.
        claimed_s: how long the container says it is, if it does.
        joined: the format allows timestamps to leap, so that no long hold is believed.
    """

    def __init__(
        self,
        *,
        time_base: float,
        start_s: float | None,
        frame_s: float,
        claimed_s: float | None,
        joined: bool,
    ) -> None:
        self._time_base = time_base
        self._offset = None if start_s is None else -start_s
        believed = 0 < frame_s <= MAX_COVERED_HOLD_S
        self._frame_s = self._length = frame_s if believed else USUAL_FRAME_S
        self._claimed = claimed_s
        self._joined = joined
        self._last: float | None = None
        self.end = 0.0
        """When the latest frame so far ends, in seconds."""

    def read(self, pts: int | None, duration: int | None) -> float:
        """The time of the next frame, which has `pts` and lasts `duration` units if known."""
        if pts is None:
            time = self.end
        else:
            raw = pts * self._time_base
            if self._offset is None:
                self._offset = -raw
            time = raw + self._offset
            if self._leaps(time):
                self._offset += self.end - time
                time = self.end
        if self._last is not None and time > self._last:
            self._length = min(time - self._last, self._frame_s)
        length = duration * self._time_base if duration else self._length
        if not self._believable(time, time + length):
            length = self._length
        self._last = time if self._last is None else max(time, self._last)
        self.end = max(self.end, time + length)
        return time

    def _leaps(self, time: float) -> bool:
        if self._last is not None and time < self._last - MAX_DISORDER_S:
            return True
        return not self._believable(self._last or 0.0, time)

    def _believable(self, start: float, end: float) -> bool:
        if end - start <= MAX_HOLD_S:
            return True
        if self._joined or end - start > MAX_COVERED_HOLD_S:
            return False
        return self._claimed is not None and end <= self._claimed + 1.0
