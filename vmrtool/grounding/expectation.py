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
    fit = torch.zeros_like(p)
    steps = torch.arange(n, device=p.device)
    first, last = steps[:, None], steps[None, :]  # of the span that is asked about
    for true_first in range(n):
        start = first.clamp(min=true_first)  # of what the two share
        begin = first.clamp(max=true_first)  # of what they cover together
        shared = last - start + 1  # with a true end at `last` or after it
        for threshold in thresholds:
            # True ends that reach the threshold are an interval around `last`.
            low = torch.ceil(start - 1 + threshold * (last - begin + 1) - 1e-9)
            high = torch.floor(shared / threshold + begin - 1 + 1e-9).clamp(max=n - 1)
            some = (low <= last) & (shared > 0)
            low = torch.where(some, low, 0).long().flatten()
            high = torch.where(some, high + 1, 0).long().flatten()
            row = below[:, true_first]
            fit += (row[:, high] - row[:, low]).view_as(fit)
    return fit / len(thresholds)
