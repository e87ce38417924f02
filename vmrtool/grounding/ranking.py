"""One score for moments of different videos, from what the network says of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class RankingWeights:
    """Weights of a logistic model: how probably a predicted moment is a right answer.

    bias; similarity: of the cosine between query and pooled stretch; grounding: of the span's log
    probability; presence: of the mean segment logit inside the span. The defaults only order
    sensibly; `fit_ranking` gives weights whose score is a probability on the data they saw.
    """

    bias: float = -2.0
    similarity: float = 5.0
    grounding: float = 0.3
    presence: float = 0.5

    def logit(self, similarity: float, log_span: float, presence: float | None) -> float:
        """The score before the sigmoid; presence is None where the network has no segmentation."""
        return (
            self.bias
            + self.similarity * similarity
            + self.grounding * log_span
            + self.presence * (presence or 0.0)
        )

    def score(self, similarity: float, log_span: float, presence: float | None) -> float:
        """Score in [0, 1], comparable across videos and queries."""
        x = self.logit(similarity, log_span, presence)
        return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def fit_ranking(
    rows: Sequence[tuple[float, float, float | None]],
    right: Sequence[bool],
    choices: Sequence[Sequence[int]],
    *,
    ridge: float = 1e-2,
) -> RankingWeights:
    """Weights that put right answers first, on a scale on which the score is a probability.

    First the direction: in the softmax over a choice's rows, the right ones together are to win,
    whichever of them it is. How likely a row taken by itself is right is another matter: most rows
    are wrong for reasons that are easy to see, and a fit to all of them alike gives little weight
    to what tells close rivals apart. Then the scale and the
    bias: logistic regression of `right` on the direction, over all rows.

    Args:
        rows: (similarity, log span probability, presence) of predicted moments of many queries.
        right: whether each is a right answer.
        choices: rows that compete, by number; a row may stand in several choices.
        ridge: keeps the weights of separable data finite; columns are standardised.

    Raises:
        ValueError: no choice has both right and wrong rows.
    """
    x = torch.tensor([[s, g, p or 0.0] for s, g, p in rows], dtype=torch.float64)
    y = torch.tensor(right, dtype=torch.bool)
    # Only a choice with rows of both sides says anything; so neither list below can be empty.
    open_choices = [choice for choice in choices if len({bool(y[row]) for row in choice}) == 2]
    if not open_choices:
        raise ValueError("fitting needs choices between right and wrong rows")
    members = [(number, row) for number, choice in enumerate(open_choices) for row in choice]
    pairs = torch.tensor(members, dtype=torch.int64)
    won = y[pairs[:, 1]]
    spread = x.std(dim=0).clamp(min=1e-9)
    direction = _direction(x / spread, pairs[won], pairs[~won], ridge) / spread
    bias, scale = _calibration(x @ direction, y.double())
    similarity, grounding, presence = (scale * direction).tolist()
    return RankingWeights(bias, similarity, grounding, presence)


def _direction(x: Tensor, winners: Tensor, losers: Tensor, ridge: float) -> Tensor:
    """Weights (3,) by which rows of x (R, 3) win: pairs (choice, row) of winners and losers."""
    weights = torch.zeros(3, dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")
    choices = int(winners[:, 0].max()) + 1

    def together(score: Tensor, members: Tensor) -> Tensor:
        """log of the sum of exp(score) over the members of each choice -> (choices,)."""
        values = score[members[:, 1]]
        highest = torch.full((choices,), -torch.inf, dtype=x.dtype).scatter_reduce(
            0, members[:, 0], values.detach(), "amax"
        )
        exponents = (values - highest[members[:, 0]]).exp()
        sums = torch.zeros(choices, dtype=x.dtype).index_add(0, members[:, 0], exponents)
        return highest + sums.log()

    def loss() -> Tensor:
        optimiser.zero_grad()
        score = x @ weights
        behind = F.softplus(together(score, losers) - together(score, winners))
        value = behind.mean() + ridge * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach()


def _calibration(score: Tensor, y: Tensor) -> tuple[float, float]:
    """Bias and scale by which sigmoid(bias + scale score) is how often y is 1."""
    centre, spread = score.mean(), score.std().clamp(min=1e-9)
    x = torch.stack([torch.ones_like(score), (score - centre) / spread], dim=1)
    weights = torch.zeros(2, dtype=x.dtype)
    penalty = 1e-3 * len(x) * torch.diag(torch.tensor([0.0, 1.0], dtype=x.dtype))
    for _ in range(100):  # Newton: converges in about ten
        p = torch.sigmoid(x @ weights)
        gradient = x.T @ (p - y) + penalty @ weights
        curvature = x.T @ (x * (p * (1 - p))[:, None]) + penalty
        step = torch.linalg.solve(curvature + 1e-9 * torch.eye(2, dtype=x.dtype), gradient)
        weights = weights - step
        if step.abs().max() < 1e-9:
            break
    # A direction that wins choices may still fail over all rows; the order of answers comes first.
    scale = max(float(weights[1] / spread), 1e-6)
    return float(weights[0]) - scale * float(centre), scale
