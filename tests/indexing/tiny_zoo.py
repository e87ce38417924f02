"""A model zoo in little: the backbone "blocks" at a small width, with and without a model."""

from pathlib import Path

import torch

from vmrtool.features.backbones import Preprocessing, load_backbone, save_backbone
from vmrtool.features.extract import Extractor
from vmrtool.features.i3d import InceptionI3D
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, save_model
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.text.vocabulary import Vocabulary

SMALL = Preprocessing(fps=24.0, frames=16, resize=("exact", (32, 32)), crop=None)
STRIDE = 8


def write_backbone(path: Path, seed: int = 0) -> Path:
    """A backbone "blocks" with random weights."""
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    network = InceptionI3D(num_classes=3, width=0.125)
    save_backbone(path, network, name="blocks", width=0.125, preprocessing=SMALL)
    return path


def write_model(path: Path, backbone: Path, *, stride: int = STRIDE) -> Path:
    """A grounding model for the features of `backbone`, untrained."""
    loaded = load_backbone("blocks", backbone)
    extractor = Extractor(loaded, stride=stride)
    words = Vocabulary(["red", "circle"])
    network = GroundingNetwork(
        GroundingConfig(
            video_dim=loaded.info.dim,
            vocabulary_size=len(words),
            dim=16,
            word_dim=8,
            max_snippets=16,
            retrieval_dim=4,
        )
    )
    spec = ExtractorSpec("blocks", loaded.weights_sha256, extractor.settings)
    save_model(path, GroundingModel(network, words, spec))
    return path


def write_zoo(folder: Path, *, trained: bool) -> Path:
    """A zoo with the one model "blocks"; `trained` says whether its grounding model is there."""
    backbone = write_backbone(folder / "blocks" / "backbone.safetensors")
    recipe = f'[extractor]\nbackbone = "blocks"\nstride = {STRIDE}\n'
    (folder / "blocks" / "recipe.toml").write_text(recipe)
    if trained:
        write_model(folder / "blocks" / "model.safetensors", backbone)
    return folder
