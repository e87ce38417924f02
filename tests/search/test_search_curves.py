"""The curves behind an answer are what the network says of each snippet."""

import numpy as np
import pytest
import torch

from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.search.curves import snippet_curves
from vmrtool.search.grounding import ground
from vmrtool.text.vocabulary import Vocabulary

DIM, QUERY = 12, "a person opens the door"


def make_model(variant: str = "ci-mha") -> GroundingModel:
    """A small network of random weights that reads windows of 32 snippets."""
    torch.manual_seed(0)
    words = Vocabulary(QUERY.split())
    config = GroundingConfig(
        *(DIM, len(words)), dim=32, word_dim=8, max_snippets=32, variant=variant, retrieval_dim=8
    )
    return GroundingModel(GroundingNetwork(config).eval(), words, ExtractorSpec("random"))


def make_video(n: int) -> tuple[np.ndarray, np.ndarray]:
    edges = np.arange(n + 1) * 0.5
    features = np.random.default_rng(n).standard_normal((n, DIM)).astype(np.float16)
    return features, np.stack([edges[:-1], edges[1:]], axis=1)


@pytest.mark.parametrize("variant", ["ci-mha", "mha"])
def test_a_short_video_has_one_windows_curves(variant: str) -> None:
    model, (features, cells) = make_model(variant), make_video(20)
    curves = snippet_curves(model, features, cells, QUERY)
    assert curves.start.sum() == pytest.approx(1, abs=1e-5)
    assert curves.end.sum() == pytest.approx(1, abs=1e-5)
    best = ground(model, features, cells, QUERY, order="grounding")[0]
    product = float(curves.start[best.first]) * float(curves.end[best.last])
    assert product == pytest.approx(best.grounding, rel=1e-5)
    assert np.array_equal(curves.cells, cells)
    if variant == "mha":
        assert curves.inside is None
    else:
        inside = curves.inside[best.first : best.last + 1].astype(float)
        assert np.log(inside / (1 - inside)).mean() == pytest.approx(best.presence, abs=1e-4)


def test_a_snippet_of_a_long_video_is_heard_from_the_nearest_window() -> None:
    model, (features, cells) = make_model(), make_video(80)  # windows at 0, 16, 32, 48
    whole = snippet_curves(model, features, cells, QUERY)
    for first, own in ((0, range(0, 23)), (16, range(24, 40)), (48, range(56, 80))):
        part = slice(first, first + 32)
        alone = snippet_curves(model, features[part], cells[part], QUERY)
        mine = np.array(own)
        assert np.allclose(whole.start[mine], alone.start[mine - first], atol=1e-6)
        assert np.allclose(whole.end[mine], alone.end[mine - first], atol=1e-6)
        assert np.allclose(whole.inside[mine], alone.inside[mine - first], atol=1e-6)
