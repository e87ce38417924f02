"""From start and end probabilities to moments: exact search over spans, then temporal NMS."""

from typing import NamedTuple

import torch
from torch import Tensor

from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.expectation import expected_fit
from vmrtool.grounding.network import GroundingOutput


class Span(NamedTuple):
    """One predicted moment of a window.

    start, end: seconds; probability: P_start(first) P_end(last), or the expected fit where spans
    are decoded by that; first, last: its snippets, both inside.
    """

    start: float
    end: float
    probability: float
    first: int
    last: int


def decode_spans(
    p_start: Tensor,
    p_end: Tensor,
    mask: Tensor,
    cells: Tensor,
    *,
    top: int = 5,
    nms_iou: float = 0.5,
    inside: Tensor | None = None,
    expected: bool = False,
) -> list[list[Span]]:
    """The best spans of each row, most probable first, at most `top`.

    p_start, p_end (B, N), eq. 14; mask (B, N) bool; cells (B, N, 2) or (N, 2) seconds: the stretch
    each snippet stands for. Spans are all i <= j over real snippets, with probability
    P_start(i) P_end(j); equal ones are taken by earlier start, then earlier end. A span whose
    temporal IoU with a better one kept exceeds `nms_iou` is left out.
    expected: rank spans by `expected_fit` instead, where the weight of a span is that product times
    the exponential of the sum over it of `inside` (B, N), if given.
    """
    batch, n = p_start.shape
    device = p_start.device
    cells = cells.to(device, torch.float64).expand(batch, n, 2)
    joint = p_start.double()[:, :, None] * p_end.double()[:, None, :]
    ordered = torch.ones(n, n, dtype=torch.bool, device=device).triu()
    possible = ordered & mask[:, :, None] & mask[:, None, :]
    if expected:
        joint = expected_fit(_with_inside(joint, inside, mask).masked_fill(~possible, 0.0))
    joint = joint.masked_fill(~possible, -1.0)
    starts, ends = cells[:, :, None, 0], cells[:, None, :, 1]

    rows = torch.arange(batch, device=device)
    kept: list[list[Span]] = [[] for _ in range(batch)]
    for _ in range(top):
        # torch promises no order among equal values: the smallest flat index among the best is
        # the earliest start, then the earliest end.
        flat = joint.flatten(1)
        best = flat.max(dim=1, keepdim=True).values
        index = (flat == best).to(torch.uint8).argmax(dim=1)
        first, last = index // n, index % n
        start, end = cells[rows, first, 0], cells[rows, last, 1]
        found = torch.stack([start, end, best[:, 0], first.double(), last.double()], dim=1)
        alive = 0
        for spans, (s, e, p, i, j) in zip(kept, found.tolist(), strict=True):
            if p >= 0:
                spans.append(Span(s, e, p, int(i), int(j)))
                alive += 1
        if alive == 0:
            break
        joint[rows, first, last] = -1.0
        shared = torch.minimum(ends, end[:, None, None]) - torch.maximum(
            starts, start[:, None, None]
        )
        shared = shared.clamp(min=0)
        union = (ends - starts) + (end - start)[:, None, None] - shared
        joint = joint.masked_fill(shared > nms_iou * union, -1.0)
    return kept


def decode_output(
    output: GroundingOutput, cells: Tensor, config: GroundingConfig, *, top: int, nms_iou: float
) -> list[list[Span]]:
    """The best spans of each row, as the network's settings say they are decoded.

    cells (B, N, 2) or (N, 2) seconds; see `decode_spans`.
    """
    p_start, p_end = output.probabilities()
    inside = None
    if output.segment_logits is not None and config.decoding_segment > 0:
        inside = config.decoding_segment * output.segment_logits
    return decode_spans(
        p_start,
        p_end,
        output.mask,
        cells,
        top=top,
        nms_iou=nms_iou,
        inside=inside,
        expected=config.decoding == "expected",
    )


def _with_inside(joint: Tensor, inside: Tensor | None, mask: Tensor) -> Tensor:
    """joint (B, N, N) times exp of the sum of inside (B, N) over each span, up to a factor."""
    if inside is None:
        return joint
    sums = inside.double().masked_fill(~mask, 0.0).cumsum(dim=1)
    before = torch.nn.functional.pad(sums, (1, 0))[:, :-1]
    exponent = joint.log() + sums[:, None, :] - before[:, :, None]
    return (exponent - exponent.amax(dim=(1, 2), keepdim=True)).exp()


def span_presence(segment_logits: Tensor, first: int, last: int) -> float:
    """How surely a span shows what the query says: mean segment logit (N,) over [first, last]."""
    return float(segment_logits[first : last + 1].float().mean())
