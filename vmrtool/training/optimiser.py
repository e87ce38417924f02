"""Adam with the settings' schedule, decay and clipping."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from vmrtool.grounding.network import GroundingNetwork
from vmrtool.training.settings import TrainingSettings


def make_optimiser(network: GroundingNetwork, settings: TrainingSettings) -> torch.optim.AdamW:
    """Adam whose weight decay, decoupled, spares biases and embeddings; without decay, Adam."""
    spared = {id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in [m.weight]}
    trained = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2 and id(p) not in spared]
    rest = [p for p in trained if p.ndim < 2 or id(p) in spared]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr)


def rate_at(step: int, total: int, settings: TrainingSettings) -> float:
    """The learning rate of step `step` of `total`, counted from 0."""
    warm = round(settings.warmup * total)
    if step < warm:
        return settings.lr * (step + 1) / warm
    if settings.schedule == "constant":
        return settings.lr
    done = (step - warm) / max(1, total - warm)
    return settings.lr * 0.5 * (1.0 + math.cos(math.pi * done))


def clip_gradients(network: GroundingNetwork, largest: float) -> None:
    """Scales gradients down to the norm `largest`.

    The heads that learn by contrast are clipped on their own, so that they never change how far
    the network steps.
    """
    heads = [p for head in network.heads for p in head.parameters()]
    apart = {id(p) for p in heads}
    _clip((p for p in network.parameters() if id(p) not in apart), largest)
    _clip(heads, largest)


def _clip(parameters: Iterable[nn.Parameter], largest: float) -> None:
    torch.nn.utils.clip_grad_norm_(parameters, largest)
