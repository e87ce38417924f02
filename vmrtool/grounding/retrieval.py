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
    """Pools, projects and normalises what stands for snippets and for words.

    That is v_hat (without positions) and q_hat, or features and word vectors as they come in.
    """

    def __init__(
        self, video_width: int, query_width: int, width_out: int, *, linear: bool, detach: bool
    ) -> None:
        """linear: project by one linear map each; detach: learn without changing what is read."""
        super().__init__()
        self.detach = detach
        self.video = _projection(video_width, width_out, linear)
        self.query = _projection(query_width, width_out, linear)

    def stretch_vectors(self, content: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
        """Unit vectors of stretches.

        content (B, N, D); mask (B, N) bool; spans int64 (P, 2) or (B, P, 2), (first, last) inside
        -> (B, P, d).
        """
        pooled = stretch_means(content.detach() if self.detach else content, mask, spans)
        return F.normalize(self.video(pooled), dim=-1)

    def query_vector(self, content: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors (B, d) of queries: content (B, L, D), mask (B, L) bool."""
        pooled = masked_mean(content.detach() if self.detach else content, mask)
        return F.normalize(self.query(pooled), dim=-1)

    def contrast(self, video: Tensor, mask: Tensor, query: Tensor, query_mask: Tensor) -> Tensor:
        """How much more like the query each snippet is than the window's mean snippet.

        video (B, N, D), mask (B, N) bool; query (B, L, D'), query_mask (B, L) bool -> cosines
        (B, N), centred over real snippets, 0 at padding.
        """
        snippets = F.normalize(self.video(video.detach() if self.detach else video), dim=-1)
        vector = self.query_vector(query, query_mask)
        cosines = torch.einsum("bnd,bd->bn", snippets, vector)
        return (cosines - masked_mean(cosines[:, :, None], mask)) * mask


def _projection(width: int, width_out: int, linear: bool) -> nn.Module:
    if linear:
        return nn.Linear(width, width_out)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width_out))


def separate_seed() -> int:
    """A seed that follows the run's own without drawing from it.

    The head's initial values come from a generator of their own, so that adding or widening the
    head leaves every other initial value, and with it the paper's figures, as they are.
    """
    return (torch.initial_seed() + 1) % 2**63
