"""Rate and time left of a run."""

from pathlib import Path

import pytest

from vmrtool.catalog.rows import FailureRow
from vmrtool.indexing.progress import Progress
from vmrtool.indexing.report import Decoded, Opened, Settled, Started


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_follows_from_lengths_known_and_sizes_of_the_rest() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.follow(Started(videos=5, unchanged=1, failed=1, todo_bytes=3000))
    assert (progress.done, progress.failed, progress.rate, progress.left_s) == (2, 1, None, None)
    a, b, c = Path("a"), Path("b"), Path("c")
    progress.follow(Opened(a, size=1000, claimed_s=50.0))
    clock.now += 10
    assert progress.left_s is None
    progress.follow(Decoded(20.0))
    # 50 s in 1000 bytes, so 150 s in all; 130 s are left at 2 s a second.
    assert (progress.rate, progress.left_s) == (2.0, 65.0)
    progress.follow(Decoded(30.0))
    progress.follow(Settled(a, 1000, "indexed"))
    clock.now += 15
    assert (progress.rate, progress.left_s) == (2.0, 50.0)
    progress.follow(Settled(b, 1000, "copies"))  # takes no time
    assert progress.left_s == 25.0
    failure = FailureRow(c, "decode", "it broke", None, 1, "")
    progress.follow(Opened(c, size=1000, claimed_s=500.0))
    assert progress.left_s == pytest.approx(250.0)
    progress.follow(Settled(c, 1000, "failed", failure))
    assert (progress.done, progress.failed, progress.left_s) == (5, 2, 0.0)


def test_a_length_that_is_not_claimed_is_taken_from_the_size() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.follow(Started(videos=2, unchanged=0, failed=0, todo_bytes=200))
    progress.follow(Opened(Path("a"), size=100, claimed_s=None))
    progress.follow(Decoded(1.0))
    clock.now += 1
    assert progress.left_s is None
    progress.follow(Opened(Path("b"), size=100, claimed_s=10.0))
    assert progress.left_s == 19.0
