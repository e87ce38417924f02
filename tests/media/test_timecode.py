"""Timecode, drop-frame above all: known values, and every count comes back."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmrtool.media.timecode import TimecodeSource, counted_rate, frame_count, timecode

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("count", "base", "drop", "text"),
    [
        (0, 30, True, "00:00:00;00"),
        (1799, 30, True, "00:00:59;29"),
        (1800, 30, True, "00:01:00;02"),
        (17981, 30, True, "00:09:59;29"),
        (17982, 30, True, "00:10:00;00"),
        (107892, 30, True, "01:00:00;00"),
        (3600, 60, True, "00:01:00;04"),
        (215784, 60, True, "01:00:00;00"),
        (1800, 30, False, "00:01:00:00"),
        (86399, 24, False, "00:59:59:23"),
        (24 * 3600 * 25 + 1, 25, False, "00:00:00:01"),
    ],
)
def test_known_timecodes(count: int, base: int, drop: bool, text: str) -> None:
    assert timecode(count, base, drop=drop) == text
    assert frame_count(text, base, drop=drop) == count % (24 * 3600 * base)


@given(st.integers(0, 2_589_407), st.sampled_from([(30, True), (60, True), (24, False)]))
def test_every_count_comes_back(count: int, kind: tuple[int, bool]) -> None:
    base, drop = kind
    count %= 24 * 3600 * base - (2592 * (base // 30) if drop else 0)
    assert frame_count(timecode(count, base, drop=drop), base, drop=drop) == count


def test_drop_frame_keeps_with_the_clock() -> None:
    source = TimecodeSource(NTSC, drop=True)
    assert timecode(source.at(3600.0), 30, drop=True) == "01:00:00;00"
    late = TimecodeSource(NTSC, drop=False)
    assert timecode(late.at(3600.0), 30, drop=False) == "00:59:56:12"


@pytest.mark.parametrize(
    ("rate", "counted"),
    [
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (Fraction(2997, 100), NTSC),
        (Fraction(24), Fraction(24)),
        (Fraction(120000, 1001), Fraction(60000, 1001)),
        (Fraction(1519, 100), Fraction(15)),
        (Fraction(1, 5), Fraction(1)),
    ],
)
def test_rates(rate: Fraction, counted: Fraction) -> None:
    assert counted_rate(rate) == counted
