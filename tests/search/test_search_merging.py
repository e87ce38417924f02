"""Moments of overlapping windows become one list, on cases small enough to check by hand."""

from vmrtool.search.merging import Candidate, merge


def moment(first: int, last: int, score: float, grounding: float = 0.5) -> Candidate:
    return Candidate(first, last, float(first), float(last + 1), 0.9, grounding, 1.0, score)


def spans(kept: list[Candidate]) -> list[tuple[int, int]]:
    return [(candidate.first, candidate.last) for candidate in kept]


ONE = [(0, 100)]
TWO = [(0, 100), (50, 100)]  # snippets 0..99 and 50..149
THREE = [(0, 100), (50, 100), (100, 100)]


def test_of_two_moments_that_overlap_by_more_than_half_the_better_stays() -> None:
    found = [[moment(0, 9, 0.4), moment(2, 11, 0.8), moment(5, 14, 0.3)]]
    # IoU with (2, 11): of (0, 9) it is 8/12, of (5, 14) it is 7/13.
    assert spans(merge(ONE, found, top=5, nms_iou=0.5)) == [(2, 11)]
    assert spans(merge(ONE, found, top=5, nms_iou=0.6)) == [(2, 11), (5, 14)]


def test_top_counts_and_equal_scores_go_by_time() -> None:
    found = [[moment(30, 35, 0.5), moment(10, 15, 0.5), moment(50, 55, 0.9)]]
    assert spans(merge(ONE, found, top=2, nms_iou=0.5)) == [(50, 55), (10, 15)]
    assert merge([], [], top=2, nms_iou=0.5) == []


def test_order_names_what_ranks() -> None:
    found = [[moment(10, 15, 0.9, grounding=0.1), moment(50, 55, 0.2, grounding=0.8)]]
    assert spans(merge(ONE, found, top=2, nms_iou=0.5)) == [(10, 15), (50, 55)]
    by_span = merge(ONE, found, top=2, nms_iou=0.5, order="grounding")
    assert spans(by_span) == [(50, 55), (10, 15)]


def test_a_moment_seen_by_two_windows_is_given_once() -> None:
    found = [[moment(60, 70, 0.8)], [moment(60, 71, 0.7)]]
    assert spans(merge(TWO, found, top=5, nms_iou=0.5)) == [(60, 70)]


def test_a_piece_cut_by_the_border_gives_way_to_the_window_that_sees_it_whole() -> None:
    # The piece scores higher and overlaps the whole by less than half: NMS would keep both.
    piece, whole, other = moment(95, 99, 0.9), moment(95, 120, 0.8), moment(20, 30, 0.95)
    kept = merge(TWO, [[other, piece], [whole]], top=5, nms_iou=0.5)
    assert spans(kept) == [(20, 30), (95, 120)]


def test_a_piece_is_all_there_is_where_the_next_window_was_not_looked_at() -> None:
    found = [[moment(95, 99, 0.9)]]
    assert spans(merge(ONE, found, top=5, nms_iou=0.5)) == [(95, 99)]


def test_a_moment_longer_than_the_overlap_is_put_together() -> None:
    found = [[moment(20, 99, 0.9)], [moment(50, 130, 0.6)]]
    (joined,) = merge(TWO, found, top=5, nms_iou=0.5)
    assert (joined.first, joined.last) == (20, 130)
    assert (joined.start, joined.end) == (20.0, 131.0)
    assert joined.score == 0.6  # no better than the worse of its pieces


def test_joining_goes_on_through_windows_that_the_moment_fills() -> None:
    found = [[moment(20, 99, 0.9)], [moment(50, 149, 0.8)], [moment(100, 180, 0.7)]]
    assert spans(merge(THREE, found, top=5, nms_iou=0.5)) == [(20, 180)]


def test_only_best_moments_are_joined_and_only_across_one_seam() -> None:
    # The second window's best lies elsewhere: what begins with it is a guess, not a piece.
    found = [[moment(20, 99, 0.9)], [moment(110, 120, 0.8), moment(50, 70, 0.1)]]
    assert (20, 120) not in spans(merge(TWO, found, top=5, nms_iou=0.5))
    # Windows that do not meet have nothing to join.
    apart = [(0, 100), (100, 100)]
    found = [[moment(20, 99, 0.9)], [moment(100, 130, 0.8)]]
    assert spans(merge(apart, found, top=5, nms_iou=0.5)) == [(20, 99), (100, 130)]
