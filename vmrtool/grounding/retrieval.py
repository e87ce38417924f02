"""The retrieval head: one vector for a stretch of video, one for a query, compared by cosine.

The paper looks inside one given video and has no such head; an archive needs it to choose which
videos to look into.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmrtool.grounding.attention import masked_mean
from vmrtool.grounding.pooling import stretch_means


class RetrievalHead(nn.Module):
    """Pools, projects and normalises v_hat (without positions) and q_hat."""

    def __init__(self, width: int, width_out: int, *, detach: bool) -> None:
        """detach: learn from the network's hidden values without changing them."""
        super().__init__()
        self.detach = detach
        self.video = _projection(width, width_out)
        self.query = _projection(width, width_out)

    def stretch_vectors(self, content: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
        """Unit vectors of stretches.

        content (B, N, D); mask (B, N) bool; spans int64 (P, 2) or (B, P, 2), (first, last) inside
        -> (B, P, d).
        """
        pooled = stretch_means(content.detach() if self.detach else content, mask, spans)
        return F.normalize(self.video(pooled), dim=-1)

    def query_vector(self, q_hat: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors (B, d) of queries q_hat (B, L, D), mask (B, L) bool."""
        pooled = masked_mean(q_hat.detach() if self.detach else q_hat, mask)
        return F.normalize(self.query(pooled), dim=-1)


def _projection(width: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width_out))


def separate_seed() -> int:
    """A seed that follows the run's own without drawing from it.

    The head's initial values come from a generator of their own, so that adding or widening the
    head leaves every other initial value, and with it the paper's figures, as they are.
    """
    return (torch.initial_seed() + 1) % 2**63
