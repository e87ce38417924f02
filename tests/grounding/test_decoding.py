import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vmrtool.grounding.decoding import Span, decode_spans, span_presence


def brute_force(p_start, p_end, n, cells, top, nms_iou) -> list[Span]:
    """Every span in order of probability, each kept unless a kept one overlaps it too much."""
    spans = [
        Span(cells[i][0], cells[j][1], p_start[i] * p_end[j], i, j)
        for i, j in itertools.combinations_with_replacement(range(n), 2)
    ]
    spans.sort(key=lambda span: (-span.probability, span.first, span.last))
    kept: list[Span] = []
    for span in spans:
        if all(iou(span, other) <= nms_iou for other in kept):
            kept.append(span)
    return kept[:top]


def iou(a: Span, b: Span) -> float:
    shared = max(0.0, min(a.end, b.end) - max(a.start, b.start))
    return shared / (a.end - a.start + b.end - b.start - shared)


# Eighths multiply exactly, so that ties are real ties; cells on a grid of halves likewise.
eighths = st.integers(0, 8).map(lambda k: k / 8)


@st.composite
def rows(draw) -> tuple:
    n, padding = draw(st.integers(1, 7)), draw(st.integers(0, 3))
    widths = draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))
    edges = [0.0, *itertools.accumulate(width / 2 for width in widths)]
    cells = [[edges[k], edges[k + 1]] for k in range(n)] + [[0.0, 0.0]] * padding
    probabilities = st.lists(eighths, min_size=n + padding, max_size=n + padding)
    return n, cells, draw(probabilities), draw(probabilities)


@settings(max_examples=150, deadline=None)
@given(rows(), st.integers(1, 6), st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0]))
def test_equals_brute_force(row, top, nms_iou) -> None:
    n, cells, p_start, p_end = row
    mask = torch.arange(len(cells)) < n
    found = decode_spans(
        torch.tensor([p_start]), torch.tensor([p_end]), mask[None], torch.tensor(cells),
        top=top, nms_iou=nms_iou,
    )  # fmt: skip
    assert found == [brute_force(p_start, p_end, n, cells, top, nms_iou)]


def test_rows_do_not_see_each_other() -> None:
    p_start = torch.rand(3, 6).softmax(1)
    p_end = torch.rand(3, 6).softmax(1)
    mask = torch.arange(6) < torch.tensor([[6], [2], [1]])
    edges = torch.arange(7.0) * torch.tensor([[1.0], [2.0], [0.5]])
    cells = torch.stack([edges[:, :-1], edges[:, 1:]], dim=-1)
    found = decode_spans(p_start, p_end, mask, cells, top=4, nms_iou=0.3)
    for b in range(3):
        alone = decode_spans(
            p_start[b:][:1], p_end[b:][:1], mask[b:][:1], cells[b], top=4, nms_iou=0.3
        )
        assert found[b] == alone[0]
    assert len(found[2]) == 1 and found[2][0].end == 0.5


def test_end_never_precedes_start() -> None:
    one = torch.tensor([[0.05, 0.05, 0.9]])
    cells = torch.tensor([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    best = decode_spans(one, one.flip(1), mask, cells, top=1)[0][0]
    # 0.9 * 0.9 would start at the last snippet and end at the first.
    assert (best.first, best.last) == (0, 0)
    assert best.probability == pytest.approx(0.05 * 0.9)
    assert (best.start, best.end) == (0.0, 1.0)


def test_presence_is_the_mean_logit_inside() -> None:
    assert span_presence(torch.tensor([9.0, 1.0, 2.0, 9.0]), 1, 2) == 1.5
