"""Multi-head attention over padded sequences, and the attention map of eq. 8."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionMap(nn.Module):
    """Where each query position looks: softmax(Q K^T / sqrt(d)) over real key positions."""

    def __init__(self, width: int, heads: int) -> None:
        """`heads` must divide `width`."""
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(width, width)
        self.keys = nn.Linear(width, width)

    @torch.no_grad()
    def sharpen(self, gain: float) -> None:
        """Multiplies the weights that make queries and keys, and so scores by gain squared."""
        self.queries.weight.mul_(gain)
        self.keys.weight.mul_(gain)

    def project(self, target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, H, T, d) of target (B, T, W) and keys (B, H, S, d) of source (B, S, W)."""
        return self.split(self.queries(target)), self.split(self.keys(source))

    def split(self, x: Tensor) -> Tensor:
        """(B, S, W) to heads (B, H, S, W / H)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, target: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """Attention of every head.

        target (B, T, W), source (B, S, W), source_mask (B, S) bool, True = real, at least one a row
        -> (B, H, T, S); each row sums to 1 over real source positions and is 0 at padding.
        """
        queries, keys = self.project(target, source)
        scores = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
        return scores.masked_fill(~source_mask[:, None, None], float("-inf")).softmax(dim=-1)

    def rows_of_target(self, target: Tensor) -> Tensor:
        """What a target known beforehand makes of the scores: rows (B, H, T, W).

        Their products with any source (B, S, W) are the scores but for a constant a row, which
        softmax over the source does not see.
        """
        queries = self.split(self.queries(target))
        return queries @ self._by_head(self.keys.weight) * queries.shape[-1] ** -0.5

    def rows_of_source(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """The same of a source known beforehand: rows (B, H, S, W), and constants (B, H, S).

        Their products with any target (B, T, W), plus the constants, are the scores.
        """
        keys = self.split(self.keys(source))
        keys = keys * keys.shape[-1] ** -0.5
        constants = keys @ self.queries.bias.unflatten(0, (self.heads, -1))[:, :, None]
        return keys @ self._by_head(self.queries.weight), constants.squeeze(-1)

    def _by_head(self, weight: Tensor) -> Tensor:
        """(W, W') to heads (H, W / H, W')."""
        return weight.unflatten(0, (self.heads, -1))


class MultiHeadAttention(AttentionMap):
    """MHA(Q = target, K = V = source), eq. 3, 4, 7 and 8; all of one width."""

    def __init__(self, width: int, heads: int) -> None:
        """`heads` must divide `width`."""
        super().__init__(width, heads)
        self.values = nn.Linear(width, width)
        self.joined = nn.Linear(width, width)

    def forward(self, target: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """target (B, T, W), source (B, S, W), source_mask (B, S) bool -> (B, T, W)."""
        queries, keys = self.project(target, source)
        values = self.split(self.values(source))
        heads = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=source_mask[:, None, None]
        )
        return self._join(heads)

    def with_map(
        self, target: Tensor, source: Tensor, source_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same (B, T, W), and the head-averaged attention (B, T, S) that led to it."""
        attention = super().forward(target, source, source_mask)
        heads = attention @ self.split(self.values(source))
        return self._join(heads), attention.mean(dim=1)

    def value_rows(self, source: Tensor) -> Tensor:
        """What source (B, S, W) is a mix of: rows (B, H, S, W).

        Weighted by the attention of all heads and summed, they are what `forward` returns.
        """
        values = self.split(self.values(source))
        return values @ self._by_head(self.joined.weight.t()) + self.joined.bias / self.heads

    def of_means(self, means: Tensor) -> Tensor:
        """What `forward` returns where the attention of each head has averaged the source already.

        means (B, H, T, W) -> (B, T, W).
        """
        heads = means @ self._by_head(self.values.weight).transpose(1, 2)
        return self._join(heads + self.values.bias.unflatten(0, (self.heads, 1, -1)))

    def _join(self, heads: Tensor) -> Tensor:
        joined: Tensor = self.joined(heads.transpose(1, 2).flatten(2))
        return joined


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x (B, S, W) over the real positions of mask (B, S) -> (B, W)."""
    weights = mask.to(x.dtype)
    total = torch.einsum("bs,bsw->bw", weights, x)
    return total / weights.sum(dim=1, keepdim=True)
