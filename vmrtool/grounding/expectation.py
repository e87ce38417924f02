"""How well each span may be expected to fit, when start and end are known as probabilities only."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLDS = (0.5, 0.7)


def expected_fit(weights: Tensor, thresholds: tuple[float, ...] = THRESHOLDS) -> Tensor:
    """Probability that a span's IoU with the true one reaches a threshold, mean over thresholds.

    The likeliest start and the likeliest end need not belong together: where moments either begin
    with the video or end with it, the two make the whole video, which fits neither. This asks of
    every span how much of the probability lies on spans like it.

    weights (B, N, N), 0 or more: of spans from snippet i to snippet j, both inside, zero where i is
    after j or either is no snippet; not all zero -> float64 (B, N, N), for i <= j; the rest means
    nothing. IoU counts snippets, which are of one length but for the last.

    True spans that fit are, for each true first snippet, an interval of true last ones: a
    difference of two sums over a row. Which sums, depends on N alone; all rows add them up at once.
    """
    n = weights.shape[-1]
    p = weights.double() / weights.double().sum(dim=(1, 2), keepdim=True)
    below = F.pad(p.cumsum(dim=2), (1, 0))  # (B, N, N + 1): true ends before j
    sums = below.flatten(1).T.contiguous()  # a row a place: places are what is picked
    fit = torch.zeros((), dtype=p.dtype, device=p.device)
    for threshold in thresholds:
        places, begins, signs = _fitting(n, threshold, p.device)
        fit = fit + F.embedding_bag(places, sums, begins, mode="sum", per_sample_weights=signs)
    first, last = torch.triu_indices(n, n, device=p.device)  # of the spans that are asked about
    spread = torch.zeros_like(p)
    spread[:, first, last] = fit.T / len(thresholds)
    return spread


@lru_cache(maxsize=16)
def _fitting(n: int, threshold: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The sums that make up the fit of every span i <= j of N snippets, spans in rows of i.

    Returns places (K,) in the flattened (N, N + 1) sums, where each span's places begin (S,), and
    signs (K,), float64: -1 for the sum before an interval, 1 for the sum through it.
    """
    first, last = np.triu_indices(n)
    length = last - first + 1
    # A true end at `last` fits best. With it, a true moment is at most so long, and at least.
    lowest = np.maximum(0, last + 1 - np.floor(length / threshold + 1e-9)).astype(np.int64)
    highest = last + 1 - np.ceil(threshold * length - 1e-9).astype(np.int64)
    counts = highest - lowest + 1
    begins = np.cumsum(counts) - counts
    span = np.repeat(np.arange(len(first)), counts)
    true_first = np.arange(len(span)) - (begins - lowest)[span]
    i, j = first[span], last[span]
    start = np.maximum(i, true_first)  # of what the two share
    begin = np.minimum(i, true_first)  # of what they cover together
    joined = j - begin + 1  # with a true end at `last` or before it
    shared = j - start + 1  # with a true end at `last` or after it
    low = np.ceil(start - 1 + threshold * joined - 1e-9)
    high = np.minimum(np.floor(shared / threshold + begin - 1 + 1e-9), n - 1) + 1
    places = np.stack([low, high], axis=1) + (true_first * (n + 1))[:, None]
    signs = np.tile([-1.0, 1.0], len(span))
    # What is kept is used in inference mode and outside of it: made as plain tensors.
    with torch.inference_mode(False):
        return (
            torch.from_numpy(places.ravel().astype(np.int64)).to(device),
            torch.from_numpy(2 * begins).to(device),
            torch.from_numpy(signs).to(device),
        )
