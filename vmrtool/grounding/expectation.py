"""How well each span may be expected to fit, when start and end are known as probabilities only."""

import torch
from torch import Tensor

THRESHOLDS = (0.5, 0.7)


def expected_fit(weights: Tensor, thresholds: tuple[float, ...] = THRESHOLDS) -> Tensor:
    """Probability that a span's IoU with the true one reaches a threshold, mean over thresholds.

    The likeliest start and the likeliest end need not belong together: where moments either begin
    with the video or end with it, the two make the whole video, which fits neither. This asks of
    every span how much of the probability lies on spans like it.

    weights (B, N, N), 0 or more: of spans from snippet i to snippet j, both inside, zero where i is
    after j or either is no snippet; not all zero -> float64 (B, N, N), for i <= j; the rest means
    nothing. IoU counts snippets, which are of one length but for the last.
    """
    n = weights.shape[-1]
    p = weights.double() / weights.double().sum(dim=(1, 2), keepdim=True)
    below = torch.nn.functional.pad(p.cumsum(dim=2), (1, 0))  # (B, N, N + 1): ends before j
    first, last = torch.triu_indices(n, n, device=p.device)  # of the spans that are asked about
    fit = p.new_zeros(len(p), len(first))
    for true_first in range(n):
        start = first.clamp(min=true_first)  # of what the two share
        begin = first.clamp(max=true_first)  # of what they cover together
        shared = (last - start + 1).double()  # with a true end at `last` or after it
        joined = (last - begin + 1).double()  # with a true end at `last` or before it
        # A true end at `last` fits best: where it does not reach a threshold, none does.
        near = (shared >= min(thresholds) * joined - 1e-9).nonzero().squeeze(1)
        start, begin, shared, joined = (x[near] for x in (start, begin, shared, joined))
        row = below[:, true_first]
        for threshold in thresholds:
            # True ends that reach the threshold are an interval around `last`.
            low = torch.ceil(start - 1 + threshold * joined - 1e-9)
            high = torch.floor(shared / threshold + begin - 1 + 1e-9).clamp(max=n - 1)
            some = low <= last[near]
            low = torch.where(some, low, 0).long()
            high = torch.where(some, high + 1, 0).long()
            fit[:, near] += row[:, high] - row[:, low]
    spread = torch.zeros_like(p)
    spread[:, first, last] = fit / len(thresholds)
    return spread
