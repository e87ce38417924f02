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


def test_fit_finds_the_direction_that_wins_and_a_calibrated_scale() -> None:
    # In every choice one of 20 rows is right, drawn by the softmax of these weights.
    true = torch.tensor([4.0, 0.5, 0.8])
    spread, centre = torch.tensor([0.3, 2.0, 1.5]), torch.tensor([0.2, -4.0, 0.0])
    columns = torch.randn(600, 20, 3) * spread + centre
    winner = torch.multinomial((columns @ true).softmax(dim=1), 1)
    right = torch.zeros(600, 20, dtype=torch.bool).scatter(1, winner, True).flatten().tolist()
    rows = [tuple(row) for row in columns.flatten(0, 1).tolist()]
    choices = torch.arange(12000).reshape(600, 20).tolist()
    fitted = fit_ranking(rows, right, choices, ridge=0.0)
    assert fitted.grounding / fitted.similarity == pytest.approx(0.5 / 4.0, abs=0.03)
    assert fitted.presence / fitted.similarity == pytest.approx(0.8 / 4.0, abs=0.04)
    scores = torch.tensor([fitted.score(*row) for row in rows])
    assert scores.mean().item() == pytest.approx(1 / 20, abs=1e-4)


def test_close_rivals_decide_not_the_many_easy_ones() -> None:
    # Similarity tells the archive's wrong rows at a glance; among rivals only the span does.
    rows = [(0.8, -1.0, 0.0), (0.8, -3.0, 0.0), *[(0.0, -1.0, 0.0)] * 50] * 30
    right = [True, False, *[False] * 50] * 30
    everything = [list(range(52 * k, 52 * k + 52)) for k in range(30)]
    rivals = [[52 * k, 52 * k + 1] for k in range(30)]
    fitted = fit_ranking(rows, right, everything + rivals)
    assert fitted.score(*rows[0]) > fitted.score(*rows[1]) > fitted.score(*rows[2])
    assert fitted.score(*rows[0]) > 0.9


def test_fit_of_separable_data_and_without_segmentation() -> None:
    rows = [(s / 10, -3.0, None) for s in range(-10, 10)]
    fitted = fit_ranking(rows, [s > 0 for s, _, _ in rows], [list(range(20))])
    assert fitted.presence == 0.0 and math.isfinite(fitted.bias)
    assert fitted.score(0.9, -3.0, None) > 0.95 > 0.05 > fitted.score(-0.9, -3.0, None)


def test_choices_that_decide_nothing_are_left_aside() -> None:
    # Empty, only right rows, only wrong ones: the fit is that of the one choice between both.
    rows = [(0.9, -1.0, 0.0), (0.1, -1.0, 0.0), (0.5, -1.0, 0.0), (0.7, -2.0, 0.0)]
    right = [True, False, False, True]
    alone = fit_ranking(rows, right, [[0, 1]])
    assert alone.similarity > 0
    assert fit_ranking(rows, right, [[], [0, 3], [0, 1], [2, 1], [2]]) == alone


@pytest.mark.parametrize("right", [[True, True], [False, False], [True, False]])
def test_fit_needs_right_and_wrong(right: list[bool]) -> None:
    choices = [[0], [1], []] if len(set(right)) == 2 else [[0, 1]]
    with pytest.raises(ValueError, match="between right and wrong"):
        fit_ranking([(0.1, -1.0, 0.0), (0.2, -2.0, 0.0)], right, choices)
