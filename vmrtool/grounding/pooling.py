"""Stretches of snippets that stand for a window in the archive's index, and their means."""

from collections.abc import Sequence

import torch
from torch import Tensor

LENGTHS = (4, 8, 16, 32)


def stretches(n_snippets: int, lengths: Sequence[int] = LENGTHS) -> Tensor:
    """Stretches that cover a window of `n_snippets` at several lengths -> int64 (P, 2).

    Rows are (first, last), both inside. Each length below `n_snippets` covers the window with half
    overlap, the last stretch pulled back to end with the window; the whole window comes last.
    A query describes a part of a video, which the mean over all of it would drown.
    """
    rows: list[tuple[int, int]] = []
    for length in sorted(set(lengths)):
        if 0 < length < n_snippets:
            step = max(1, length // 2)
            firsts = [*range(0, n_snippets - length, step), n_snippets - length]
            rows.extend((first, first + length - 1) for first in firsts)
    return torch.tensor([*rows, (0, n_snippets - 1)], dtype=torch.int64)


def stretch_means(x: Tensor, mask: Tensor, spans: Tensor) -> Tensor:
    """Means of x over stretches.

    x (B, N, W); mask (B, N) bool; spans int64 (P, 2) for all rows or (B, P, 2), (first, last)
    inside -> (B, P, W). A stretch without a real snippet (such as (0, -1)) gives 0.
    """
    spans = spans.to(x.device).expand(x.shape[0], -1, -1)
    steps = torch.arange(x.shape[1], device=x.device)
    inside = (steps >= spans[:, :, :1]) & (steps <= spans[:, :, 1:]) & mask[:, None]
    weights = inside.to(x.dtype)
    return weights @ x / weights.sum(dim=-1, keepdim=True).clamp(min=1)
