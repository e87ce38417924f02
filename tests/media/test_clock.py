"""Times on the player's clock from good and bad timestamps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmrtool.media.clock import MAX_HOLD_S, PlayerClock, too_sparse


def clock(**changes: object) -> PlayerClock:
    settings = {
        "time_base": 0.001,
        "start_s": 0.0,
        "frame_s": 0.04,
        "claimed_s": None,
        "joined": False,
    }
    return PlayerClock(**(settings | changes))  # type: ignore[arg-type]


def times(of: PlayerClock, *stamps: tuple[int | None, int | None] | int | None) -> list[float]:
    pairs = [stamp if isinstance(stamp, tuple) else (stamp, None) for stamp in stamps]
    return [of.read(pts, duration) for pts, duration in pairs]


def test_times_are_pts_minus_the_containers_start() -> None:
    assert times(clock(start_s=1.5), 1500, 1540, 2000) == pytest.approx([0, 0.04, 0.5])


def test_without_a_start_the_first_frame_is_it() -> None:
    assert times(clock(start_s=None), 5000, 5040) == pytest.approx([0, 0.04])


def test_missing_timestamps_follow_on() -> None:
    assert times(clock(), None, None, (None, 100), None) == pytest.approx([0, 0.04, 0.08, 0.18])


def test_the_end_is_the_last_frames_own_or_a_usual_length_on() -> None:
    own, usual = clock(), clock()
    times(own, 0, (40, 500))
    times(usual, 0, 40)
    assert own.end == pytest.approx(0.54)
    assert usual.end == pytest.approx(0.08)


def test_a_step_back_starts_a_new_count() -> None:
    assert times(clock(), 60_000, 60_040, 0, 40)[2:] == pytest.approx([0.08, 0.12])


def test_small_disorder_is_left_for_the_reader_to_sort() -> None:
    assert times(clock(), 40, 120, 80) == pytest.approx([0.04, 0.12, 0.08])


def test_a_leap_is_taken_out_unless_the_claimed_duration_covers_it() -> None:
    assert times(clock(), 0, 3_600_000)[1] == pytest.approx(0.04)
    assert times(clock(claimed_s=3600.04), 0, 3_600_000)[1] == pytest.approx(3600)
    assert times(clock(claimed_s=1e6, joined=True), 0, 3_600_000)[1] == pytest.approx(0.04)
    assert times(clock(), 0, 9000)[1] == pytest.approx(9)


def test_no_picture_is_held_for_a_year_whatever_the_container_says() -> None:
    year = clock(claimed_s=3.2e7)
    assert times(year, 0, 31_536_000_000)[1] == pytest.approx(0.04)
    assert times(clock(claimed_s=3.2e7), 0, (40, 31_536_000_000), None)[2] == pytest.approx(0.08)


def test_a_last_frame_of_hours_is_not_believed() -> None:
    broken = clock(claimed_s=10.0)
    times(broken, 0, (40, 10_000_000))
    assert broken.end == pytest.approx(0.08)


def test_a_usual_length_of_months_is_not_believed() -> None:
    # A rate of one picture in 55 days: an AVI whose header was damaged.
    broken = clock(time_base=4.75e6, frame_s=4.75e6, claimed_s=2.1e8)
    assert times(broken, 0, 1, 2, None) == pytest.approx([0, 0.04, 0.08, 0.12])
    assert broken.end == pytest.approx(0.16)


@pytest.mark.parametrize(
    ("frames", "hours", "size", "sparse"),
    [
        (6, 0.9, 8_000, False),  # short enough to be looked at
        (6, 1.1, 8_000, True),
        (60, 2, 2_000_000, False),  # slides of a lecture
        (12, 30, 2**30, True),
        (100_000, 200, 2**30, False),  # a picture every seven seconds
    ],
)
def test_how_long_few_pictures_may_last(frames: int, hours: float, size: int, sparse: bool) -> None:
    assert too_sparse(frames, hours * 3600, size) == sparse


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.integers(-(2**40), 2**40), st.none() | st.integers(0, 2**33)),
        min_size=1,
        max_size=40,
    ),
    st.booleans(),
)
def test_no_timestamps_make_a_video_endless(
    stamps: list[tuple[int | None, int | None]], joined: bool
) -> None:
    wild = clock(joined=joined)
    read = times(wild, *stamps)
    # A frame adds at most a believable gap and a believable length of its own.
    assert wild.end <= len(stamps) * 2 * MAX_HOLD_S
    assert max(read) <= wild.end
