"""The expected fit of spans against a count over all of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.decoding import decode_output, decode_spans
from vmrtool.grounding.expectation import expected_fit
from vmrtool.grounding.network import GroundingOutput


def iou(a: tuple[int, int], b: tuple[int, int]) -> float:
    shared = max(0, min(a[1], b[1]) - max(a[0], b[0]) + 1)
    return shared / (a[1] - a[0] + 1 + b[1] - b[0] + 1 - shared)


@pytest.mark.parametrize("thresholds", [(0.5, 0.7), (0.3,), (1.0,)])
def test_it_is_what_counting_gives(thresholds: tuple[float, ...]) -> None:
    torch.manual_seed(1)
    n = 9
    weights = torch.rand(2, n, n, dtype=torch.float64).triu()
    weights[1, :, 6:] = 0  # the second row has six snippets only
    weights[1, 6:] = 0
    fit = expected_fit(weights, thresholds)
    spans = [(i, j) for i in range(n) for j in range(i, n)]
    for row in range(2):
        total = float(weights[row].sum())
        for span in spans:
            expected = sum(
                float(weights[row, i, j]) / total / len(thresholds)
                for threshold in thresholds
                for i, j in spans
                if iou(span, (i, j)) >= threshold - 1e-9
            )
            assert float(fit[row][span]) == pytest.approx(expected, abs=1e-9), span


def all_ious(n: int) -> torch.Tensor:
    """IoU of every span of n snippets with every other (n, n, n, n): first, last, first, last."""
    at = torch.arange(n, dtype=torch.float64)
    i, j, a, b = at[:, None, None, None], at[:, None, None], at[:, None], at
    shared = (torch.minimum(j, b) - torch.maximum(i, a) + 1).clamp(min=0)
    return shared / (j - i + 1 + b - a + 1 - shared)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 28), st.sampled_from([(0.5, 0.7), (0.3, 0.9)]), st.integers(0, 2**32 - 1))
def test_it_is_the_sum_over_all_pairs_of_spans_whatever_the_weights(
    n: int, thresholds: tuple[float, ...], seed: int
) -> None:
    torch.manual_seed(seed)
    # Weights of networks lie many powers of ten apart.
    weights = torch.exp(12 * torch.randn(3, n, n, dtype=torch.float64)).triu()
    p = weights / weights.sum(dim=(1, 2), keepdim=True)
    ious = all_ious(n)
    like = sum((ious >= threshold - 1e-9).double() for threshold in thresholds) / len(thresholds)
    expected = torch.einsum("ijab,kab->kij", like, p).triu()
    assert torch.allclose(expected_fit(weights, thresholds).triu(), expected, rtol=0, atol=1e-13)


def test_every_row_is_what_it_is_alone() -> None:
    torch.manual_seed(2)
    weights = torch.rand(5, 40, 40).triu() ** 6
    together = expected_fit(weights)
    alone = torch.cat([expected_fit(row[None]) for row in weights])
    assert torch.allclose(together, alone, rtol=0, atol=1e-14)


def test_ious_that_are_a_threshold_but_for_rounding_reach_it() -> None:
    n = 50
    for threshold, span, true in ((0.3, (0, 29), (21, 29)), (0.3, (0, 49), (0, 14))):
        weights = torch.zeros(1, n, n)
        weights[0, true[0], true[1]] = 1.0
        assert float(expected_fit(weights, (threshold,))[0][span]) == 1.0


def two_ways(n: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The moment begins with the video or ends with it: start, end, mask and cells."""
    p_start, p_end = torch.full((1, n), 0.01), torch.full((1, n), 0.01)
    p_start[0, 0], p_start[0, n - 5] = 0.5, 0.4
    p_end[0, 4], p_end[0, n - 1] = 0.4, 0.5
    edges = torch.arange(n + 1, dtype=torch.float64)
    return (
        p_start,
        p_end,
        torch.ones(1, n, dtype=torch.bool),
        torch.stack([edges[:-1], edges[1:]], 1),
    )


def on_one_side(first: int, last: int) -> str:
    """Which of the two ways a span tells of."""
    if first == 0 and last < 6:
        return "begins"
    return "ends" if last == 11 and first > 5 else "neither"


def test_likely_starts_and_ends_that_do_not_belong_together_are_not_joined() -> None:
    (by_product,) = decode_spans(*two_ways(), top=1)
    assert (by_product[0].first, by_product[0].last) == (0, 11)
    inside = torch.zeros(1, 12)
    inside[0, 4:8] = -1.0  # nothing of what was asked for in the middle
    found = decode_spans(*two_ways(), top=2, inside=inside, expected=True)[0]
    assert sorted(on_one_side(span.first, span.last) for span in found) == ["begins", "ends"]
    assert 1.0 >= found[0].probability >= found[1].probability > 0


def test_padding_is_never_part_of_a_span() -> None:
    p_start, p_end, mask, cells = two_ways()
    mask[0, 8:] = False
    p_start, p_end = (torch.where(mask, p, 0.0) for p in (p_start, p_end))
    short = [tensor[:, :8] for tensor in (p_start, p_end, mask)]
    inside = torch.randn(1, 12)
    padded = decode_spans(p_start, p_end, mask, cells, inside=inside, expected=True)
    exact = decode_spans(*short, cells[:8], inside=inside[:, :8], expected=True)
    assert [(s.first, s.last) for s in padded[0]] == [(s.first, s.last) for s in exact[0]]
    assert all(span.last < 8 for span in padded[0])


def test_the_settings_say_how_an_output_is_decoded() -> None:
    p_start, p_end, mask, cells = two_ways()
    segment = torch.zeros(1, 12)
    segment[0, 4:8] = -10.0
    output = GroundingOutput(p_start.log(), p_end.log(), segment, mask)

    def best(**settings: object) -> str:
        config = GroundingConfig(video_dim=4, vocabulary_size=3, **settings)  # type: ignore[arg-type]
        (found,) = decode_output(output, cells, config, top=1, nms_iou=0.5)
        return on_one_side(found[0].first, found[0].last)

    assert best() == "neither"
    assert best(decoding="expected", decoding_segment=0.1) != "neither"
