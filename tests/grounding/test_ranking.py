import math

import pytest
import torch

from vmrtool.grounding.ranking import RankingWeights, fit_ranking


def test_score_by_hand() -> None:
    weights = RankingWeights(bias=-1.0, similarity=2.0, grounding=0.5, presence=0.25)
    x = -1.0 + 2.0 * 0.8 + 0.5 * -3.0 + 0.25 * 4.0
    assert weights.logit(0.8, -3.0, 4.0) == pytest.approx(x)
    assert weights.score(0.8, -3.0, 4.0) == pytest.approx(1 / (1 + math.exp(-x)))
    assert weights.score(0.8, -3.0, None) == pytest.approx(1 / (1 + math.exp(1.0 - x)))


def test_score_stays_in_bounds() -> None:
    weights = RankingWeights(bias=0.0, similarity=1000.0, grounding=1.0, presence=1.0)
    assert weights.score(1.0, -1.0, 0.0) == 1.0
    assert weights.score(-1.0, -1e5, 0.0) == 0.0


def test_defaults_prefer_what_speaks_for_a_moment() -> None:
    weights = RankingWeights()
    good = weights.score(0.7, -1.5, 2.0)
    assert good > 0.5
    for worse in ((0.2, -1.5, 2.0), (0.7, -5.0, 2.0), (0.7, -1.5, -2.0)):
        assert weights.score(*worse) < good
    assert weights.score(0.0, -6.0, -3.0) < 0.05


def test_fit_finds_the_weights_that_made_the_data() -> None:
    true = RankingWeights(bias=-1.0, similarity=4.0, grounding=0.5, presence=0.8)
    columns = torch.randn(8000, 3) * torch.tensor([0.3, 2.0, 1.5]) + torch.tensor([0.2, -4.0, 0.0])
    rows = [tuple(row) for row in columns.tolist()]
    chance = torch.tensor([true.score(*row) for row in rows])
    right = (torch.rand(8000) < chance).tolist()
    fitted = fit_ranking(rows, right)
    assert fitted.similarity == pytest.approx(4.0, abs=0.6)
    assert fitted.grounding == pytest.approx(0.5, abs=0.1)
    assert fitted.presence == pytest.approx(0.8, abs=0.1)
    scores = torch.tensor([fitted.score(*row) for row in rows])
    assert scores.mean().item() == pytest.approx(sum(right) / 8000, abs=1e-4)  # calibrated


def test_fit_of_separable_data_and_without_segmentation() -> None:
    rows = [(s / 10, -3.0, None) for s in range(-10, 10)]
    fitted = fit_ranking(rows, [s > 0 for s, _, _ in rows])
    assert fitted.presence == 0.0 and math.isfinite(fitted.bias)
    assert fitted.score(0.9, -3.0, None) > 0.95 > 0.05 > fitted.score(-0.9, -3.0, None)


@pytest.mark.parametrize("right", [[True, True], [False, False], [True]])
def test_fit_needs_right_and_wrong(right: list[bool]) -> None:
    with pytest.raises(ValueError, match="some right and some wrong"):
        fit_ranking([(0.1, -1.0, 0.0), (0.2, -2.0, 0.0)], right)
