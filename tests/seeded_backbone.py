"""A small backbone of this project with seeded weights that keep its features well above zero."""

from pathlib import Path

import torch
from torch import nn

from vmrtool.features.backbones import Preprocessing, save_backbone
from vmrtool.features.i3d import InceptionI3D


def seeded_network(width: float = 0.125, seed: int = 0) -> InceptionI3D:
    """He's weights, and batch norms whose statistics matter."""
    torch.manual_seed(seed)
    network = InceptionI3D(5, width=width)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def write_backbone(path: Path, preprocessing: Preprocessing, seed: int = 0) -> Path:
    """Writes the backbone "blocks" with such weights."""
    network = seeded_network(seed=seed)
    save_backbone(path, network, name="blocks", width=0.125, preprocessing=preprocessing)
    return path
