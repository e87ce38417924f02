import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmrtool.datasets.labels import even_cells, inside, snippet_span, snippet_spans, span_iou

# Cells as the extractor makes them: the first and the last one reach the video's ends.
CELLS = np.array([[0.0, 1.5], [1.5, 2.0], [2.0, 2.5], [2.5, 3.0], [3.0, 4.6]])


def test_a_snippet_is_inside_by_its_centre_or_by_half_its_cell() -> None:
    # Centres: 0.75, 1.75, 2.25, 2.75, 3.8. The first cell is covered for 0.5 of its 1.5 s only,
    # the last for 0.9 of 1.6 s, which is more than half though its centre is past the end.
    assert inside(CELLS, (1.0, 3.79)).tolist() == [False, True, True, True, False]
    assert inside(CELLS, (1.0, 3.9)).tolist() == [False, True, True, True, True]
    assert inside(CELLS, (0.75, 1.6)).tolist() == [True, False, False, False, False]


def test_exactly_half_a_cell_counts() -> None:
    assert inside(CELLS, (1.75, 2.25)).tolist() == [False, True, True, False, False]


def test_the_shortest_moment_gets_the_snippet_it_overlaps_most() -> None:
    assert snippet_span(CELLS, (3.1, 3.2)) == (4, 4)
    assert snippet_span(CELLS, (1.95, 2.15)) == (2, 2)


def test_a_moment_past_the_videos_end_gets_the_last_snippet() -> None:
    assert snippet_span(CELLS, (7.0, 9.0)) == (4, 4)


def test_moments_with_the_same_snippets_are_one() -> None:
    assert snippet_spans(CELLS, [(3.0, 4.6), (1.5, 2.0), (1.52, 2.01)]) == [(1, 1), (4, 4)]


@given(
    st.integers(1, 40),
    st.floats(0, 100, allow_nan=False),
    st.floats(0.01, 100, allow_nan=False),
)
def test_members_are_neighbours_and_never_none(n: int, start: float, length: float) -> None:
    cells = even_cells(n, 50.0)
    members = np.flatnonzero(inside(cells, (start, start + length)))
    assert len(members) >= 1
    assert (np.diff(members) == 1).all()


@given(st.integers(4, 60), st.data())
def test_the_labelled_span_is_near_the_moment(n: int, data: st.DataObject) -> None:
    # Each end is off by at most half a cell wherever the moment is longer than a cell.
    cells = even_cells(n, float(n))
    start = data.draw(st.floats(0, n - 2))
    end = data.draw(st.floats(start + 1.0, n))
    first, last = snippet_span(cells, (start, end))
    assert abs(cells[first, 0] - start) <= 0.5 + 1e-9
    assert abs(cells[last, 1] - end) <= 0.5 + 1e-9


def test_span_iou() -> None:
    iou = span_iou(
        np.array([[0.0, 4.0], [2.0, 2.0]]), np.array([[2.0, 6.0], [4.0, 5.0], [2.0, 2.0]])
    )
    assert iou == pytest.approx(np.array([[1 / 3, 0, 0], [0, 0, 0]]))
