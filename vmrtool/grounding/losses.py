"""Training targets and losses: start/end, moment segmentation, and the contrastive term."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vmrtool.grounding.network import GroundingOutput


@dataclass(frozen=True)
class Targets:
    """The truth of a batch, in snippets.

    moments int64 (B, M, 2), (first, last) inside; moment_mask bool (B, M), False = none there. A
    row without a moment is a pair whose video does not show what the query says.
    segment float32 (B, N): 1 for snippets inside any moment.
    """

    moments: Tensor
    moment_mask: Tensor
    segment: Tensor

    def to(self, device: torch.device | str) -> "Targets":
        """The same on another device."""
        return Targets(
            self.moments.to(device), self.moment_mask.to(device), self.segment.to(device)
        )


def grounding_loss(output: GroundingOutput, targets: Targets) -> dict[str, Tensor]:
    """The paper's losses, each a scalar; training adds them with equal weights.

    "start_end": mean over rows with a moment of -log sum_m P_start(first_m) P_end(last_m), which
    for one moment is the negative log-likelihood of eq. 14's start and end.
    "segment" (absent where the variant has no segmentation): binary cross-entropy of eq. 15, mean
    over each row's real snippets, then over all rows, those without a moment too.
    """
    parts = {"start_end": _start_end_loss(output, targets)}
    if output.segment_logits is not None:
        each = F.binary_cross_entropy_with_logits(
            output.segment_logits.float(), targets.segment, reduction="none"
        )
        real = output.mask.float()
        parts["segment"] = ((each * real).sum(dim=1) / real.sum(dim=1)).mean()
    return parts


def _start_end_loss(output: GroundingOutput, targets: Targets) -> Tensor:
    log_start, log_end = output.log_probabilities()
    rows = targets.moment_mask.any(dim=1)
    if not bool(rows.any()):
        return output.start_logits.float().sum() * 0.0
    moments = targets.moments[rows]
    joint = log_start[rows].gather(1, moments[:, :, 0]) + log_end[rows].gather(1, moments[:, :, 1])
    joint = joint.masked_fill(~targets.moment_mask[rows], float("-inf"))
    return -joint.logsumexp(dim=1).mean()


def contrastive_loss(
    queries: Tensor,
    candidates: Tensor,
    positive: Tensor,
    ignored: Tensor,
    temperature: float = 0.07,
) -> Tensor:
    """Symmetric contrastive loss between query and stretch vectors -> scalar.

    queries (Q, d) and candidates (C, d), unit vectors; positive (Q, C) bool, the pairs that belong
    together; ignored (Q, C) bool, pairs that are neither right nor wrong (a positive one is never
    ignored). With x = cosine / temperature, a row with a positive costs
    -log(sum_positive e^x / sum_not_ignored e^x); likewise a column; the means of both are averaged.
    """
    similarity = queries.float() @ candidates.float().T / temperature
    one_way = _contrast(similarity, positive, ignored)
    return (one_way + _contrast(similarity.T, positive.T, ignored.T)) / 2


def _contrast(similarity: Tensor, positive: Tensor, ignored: Tensor) -> Tensor:
    rows = positive.any(dim=1)
    if not bool(rows.any()):
        return similarity.sum() * 0.0
    similarity, positive, ignored = similarity[rows], positive[rows], ignored[rows]
    nothing = float("-inf")
    right = similarity.masked_fill(~positive, nothing).logsumexp(dim=1)
    every = similarity.masked_fill(ignored & ~positive, nothing).logsumexp(dim=1)
    return (every - right).mean()
