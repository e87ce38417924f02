"""Seconds as people read them."""

import pytest

from vmrtool.report.times import clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0:00:00.0"),
        (75.25, "0:01:15.3"),
        (59.95, "0:01:00.0"),
        (59.949, "0:00:59.9"),
        (3725.04, "1:02:05.0"),
        (36_000.0, "10:00:00.0"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
