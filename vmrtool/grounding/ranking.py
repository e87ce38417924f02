"""One score for moments of different videos, from what the network says of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch


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
    rows: Sequence[tuple[float, float, float | None]], right: Sequence[bool], *, ridge: float = 1e-3
) -> RankingWeights:
    """Logistic regression of `right` on rows of (similarity, log span probability, presence).

    rows: predicted moments of many queries over a whole validation archive, right: whether each is
    a right answer. Columns are standardised for the fit, `ridge` keeps separable data finite.
    Raises ValueError unless there are both right and wrong rows.
    """
    if len(rows) != len(right) or len(set(right)) < 2:
        raise ValueError("fitting needs a truth for each row, some right and some wrong")
    x = torch.tensor([[s, g, p or 0.0] for s, g, p in rows], dtype=torch.float64)
    y = torch.tensor(right, dtype=torch.float64)
    centre, spread = x.mean(dim=0), x.std(dim=0).clamp(min=1e-9)
    x = torch.cat([torch.ones(len(x), 1, dtype=x.dtype), (x - centre) / spread], dim=1)
    weights = torch.zeros(4, dtype=x.dtype)
    penalty = ridge * len(x) * torch.diag(torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=x.dtype))
    for _ in range(100):  # Newton: converges in about ten
        p = torch.sigmoid(x @ weights)
        gradient = x.T @ (p - y) + penalty @ weights
        curvature = x.T @ (x * (p * (1 - p))[:, None]) + penalty
        step = torch.linalg.solve(curvature + 1e-9 * torch.eye(4, dtype=x.dtype), gradient)
        weights = weights - step
        if step.abs().max() < 1e-9:
            break
    slopes = weights[1:] / spread
    bias = float(weights[0] - slopes @ centre)
    similarity, grounding, presence = slopes.tolist()
    return RankingWeights(bias, similarity, grounding, presence)
