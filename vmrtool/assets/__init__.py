"""What the program does not carry inside: models by name; weights, word vectors, annotations."""

from vmrtool.assets.cache import weights_path
from vmrtool.assets.models import (
    BACKBONE,
    CHECKPOINT,
    RECIPE,
    ModelRef,
    find_model,
    zoo,
    zoo_folder,
)
from vmrtool.assets.progress import SILENT, Progress
from vmrtool.assets.registry import ASSETS, Asset, find_asset

__all__ = [
    "ASSETS",
    "BACKBONE",
    "CHECKPOINT",
    "RECIPE",
    "SILENT",
    "Asset",
    "ModelRef",
    "Progress",
    "find_asset",
    "find_model",
    "weights_path",
    "zoo",
    "zoo_folder",
]
