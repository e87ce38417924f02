import math

import pytest
import torch

from vmrtool.grounding.losses import grounding_loss
from vmrtool.grounding.network import GroundingOutput


def output(p_start, p_end, p_in, mask) -> GroundingOutput:
    """Output whose probabilities are the given ones."""
    inside = None if p_in is None else torch.logit(torch.tensor(p_in))
    return GroundingOutput(
        torch.tensor(p_start).log(), torch.tensor(p_end).log(), inside, torch.tensor(mask)
    )


FULL = [[True, True, True]]


def test_one_moment_is_the_negative_log_likelihood(make_targets) -> None:
    result = output([[0.5, 0.25, 0.25]], [[0.1, 0.2, 0.7]], [[0.8, 0.8, 0.4]], FULL)
    losses = grounding_loss(result, make_targets([[(0, 1)]], 3))
    assert losses["start_end"].item() == pytest.approx(-math.log(0.5) - math.log(0.2), rel=1e-5)
    segment = -(math.log(0.8) + math.log(0.8) + math.log(0.6)) / 3
    assert losses["segment"].item() == pytest.approx(segment, rel=1e-5)


def test_several_moments_share_the_likelihood(make_targets) -> None:
    result = output([[0.5, 0.25, 0.25]], [[0.1, 0.2, 0.7]], [[0.8, 0.8, 0.4]], FULL)
    losses = grounding_loss(result, make_targets([[(0, 0), (1, 2)]], 3))
    expected = -math.log(0.5 * 0.1 + 0.25 * 0.7)
    assert losses["start_end"].item() == pytest.approx(expected, rel=1e-5)


def test_without_segmentation_there_is_one_part(make_targets) -> None:
    result = output([[0.5, 0.25, 0.25]], [[0.1, 0.2, 0.7]], None, FULL)
    assert list(grounding_loss(result, make_targets([[(0, 1)]], 3))) == ["start_end"]


def test_a_row_without_a_moment_counts_for_segmentation_only(make_targets) -> None:
    start, end = [0.5, 0.25, 0.25], [0.1, 0.2, 0.7]
    result = output([start, start], [end, end], [[0.8, 0.8, 0.4], [0.3, 0.2, 0.1]], FULL * 2)
    losses = grounding_loss(result, make_targets([[(0, 1)], []], 3))
    assert losses["start_end"].item() == pytest.approx(-math.log(0.5 * 0.2), rel=1e-5)
    first = -(math.log(0.8) + math.log(0.8) + math.log(0.6)) / 3
    second = -(math.log(0.7) + math.log(0.8) + math.log(0.9)) / 3
    assert losses["segment"].item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_a_batch_of_mismatched_pairs_only(make_targets) -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    result = GroundingOutput(logits, logits, logits, torch.tensor(FULL * 2))
    losses = grounding_loss(result, make_targets([[], []], 3))
    torch.stack(list(losses.values())).sum().backward()
    assert losses["start_end"] == 0
    assert losses["segment"].item() == pytest.approx(math.log(2))
    assert torch.isfinite(logits.grad).all()


def test_each_pair_weighs_the_same_whatever_its_length(make_targets) -> None:
    """Segmentation is averaged over a row's real snippets first; junk at padding has no say."""
    inside = [[0.5, 0.5, 0.5], [0.9, 0.001, 0.999]]
    mask = [[True, True, True], [True, False, False]]
    start = [[0.5, 0.25, 0.25], [0.6, 0.3, 0.1]]
    losses = grounding_loss(
        output(start, start, inside, mask), make_targets([[(0, 2)], [(0, 0)]], 3)
    )
    assert losses["segment"].item() == pytest.approx(-(math.log(0.5) + math.log(0.9)) / 2, rel=1e-5)
    # The second row's only real snippet has probability 1, so only the first row costs.
    assert losses["start_end"].item() == pytest.approx(-math.log(0.5 * 0.25) / 2, rel=1e-5)


def test_gradients_stay_finite_when_a_moment_is_all_but_impossible(make_targets) -> None:
    logits = torch.tensor([[400.0, -400.0, 0.0]], requires_grad=True)
    result = GroundingOutput(logits, logits, logits, torch.tensor([[True, True, False]]))
    losses = grounding_loss(result, make_targets([[(1, 1)]], 3))
    torch.stack(list(losses.values())).sum().backward()
    assert losses["start_end"].item() == pytest.approx(1600.0)
    assert torch.isfinite(logits.grad).all()
