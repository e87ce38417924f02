"""Small catalogs and a small model for them, both written to disk."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from search_oracle import EVENTS

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, save_model
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.text.vocabulary import Vocabulary

BACKBONE, SHA256, SETTINGS = "stand-in", "5" * 64, {"stride": 16, "fps": 24}
WORDS = ["a", "person", "opens", "the", "door", "window"]
Features = tuple[np.ndarray, np.ndarray]


def write_catalog(
    path: Path,
    videos: Mapping[str | bytes, Features],
    *,
    settings: Mapping[str, int] = SETTINGS,
    model: str | None = None,
) -> Path:
    """A catalog of features (N, dim) and cells (N, 2) by file name; the files are not there.

    Equal features are copies of one video. Videos that the catalog holds already stay.
    """
    with Catalog.create_or_open(path) as catalog:
        extractor = catalog.extractor_id(BACKBONE, SHA256, settings)
        catalog.use_extractor(extractor)
        for name, (features, cells) in videos.items():
            file = FoundFile(path.parent / os.fsdecode(name), path.parent, size=1, mtime_ns=1)
            content = hashlib.sha256(features.tobytes()).hexdigest()
            stored = StoredSnippets(features, cells, cells)
            catalog.save_video(file, content, FileFacts(), extractor, stored)
        if model is not None:
            catalog.model = model
    return path


def write_model(folder: Path, *, seed: int = 0, settings: Mapping[str, int] = SETTINGS) -> Path:
    """A run folder with a network of random weights."""
    torch.manual_seed(seed)
    vocabulary = Vocabulary(WORDS)
    config = GroundingConfig(
        video_dim=EVENTS + 1, vocabulary_size=len(vocabulary), dim=16, word_dim=8, retrieval_dim=8
    )
    spec = ExtractorSpec(BACKBONE, SHA256, dict(settings))
    model = GroundingModel(GroundingNetwork(config), vocabulary, spec)
    save_model(folder / "model.safetensors", model)
    return folder


def random_videos(count: int, seed: int = 0) -> dict[str, Features]:
    """Videos of 5 to 150 snippets, named clip0.mp4 and so on."""
    rng = np.random.default_rng(seed)
    videos = {}
    for number in range(count):
        n = int(rng.integers(5, 150))
        edges = np.arange(n + 1) * 0.5
        cells = np.stack([edges[:-1], edges[1:]], axis=1)
        features = rng.standard_normal((n, EVENTS + 1)).astype(np.float16)
        videos[f"clip{number}.mp4"] = (features, cells)
    return videos
