from pathlib import Path

import pytest
import torch

from vmrtool.errors import MissingError, UsageError
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.training.optimiser import clip_gradients, make_optimiser, rate_at
from vmrtool.training.recipes import load_recipe
from vmrtool.training.settings import TrainingSettings, make_settings


def test_the_defaults_are_the_papers() -> None:
    settings = make_settings({})
    assert settings.training.lr == 1e-4
    assert settings.training.batch_size == 100
    assert settings.training.weight_decay == 0
    assert settings.training.start_end_weight == settings.training.segment_weight == 1


def test_a_recipe_is_overridden_key_by_key() -> None:
    recipe = {"network": {"dim": 128, "variant": "mha"}, "training": {"lr": 1e-3, "epochs": 5}}
    settings = make_settings(
        recipe, ["network.dim=64", "training.lr=1", "training.select=R@1_IoU0.7"]
    )
    assert settings.network == {"dim": 64, "variant": "mha"}
    assert settings.training.lr == 1.0
    assert settings.training.epochs == 5
    assert settings.training.select == "R@1_IoU0.7"
    assert make_settings({}, ["training.crop=.5"]).training.crop == 0.5
    assert make_settings({}, ["network.tune_words=false"]).network == {"tune_words": False}


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("lr=1", "section.key=value"),
        ("training.lr", "section.key=value"),
        ("optimiser.lr=1", "section.key=value"),
        ("training.rate=1", "training.rate is no setting"),
        ("training.epochs=2.5", "not of kind int"),
        ("training.epochs=true", "not of kind int"),
        ("training.epochs=0", "not at least 1"),
        ("training.negative_share=1.0", r"not in \[0, 1\)"),
        ("training.schedule=linear", "constant or cosine"),
        ("retrieval.temperature=0", "above 0"),
        ("retrieval.lengths=8", "not of kind list"),
        ("retrieval.lengths=[8, 0]", "each 1 or more"),
    ],
)
def test_wrong_settings(override: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        make_settings({}, [override])


def test_recipes_by_path_and_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[training]\nepochs = 3\n")
    assert load_recipe(str(path)) == {"training": {"epochs": 3}}
    path.write_text("[trainig]\nepochs = 3\n")
    with pytest.raises(UsageError, match="unknown section trainig"):
        load_recipe(str(path))
    path.write_text("epochs 3")
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(str(path))
    with pytest.raises(MissingError, match="no-such-model"):
        load_recipe("no-such-model")


def test_schedules() -> None:
    cosine = TrainingSettings(lr=1.0, schedule="cosine", warmup=0.1)
    rates = [rate_at(step, 100, cosine) for step in range(100)]
    assert rates[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    constant = TrainingSettings(lr=0.5)
    assert {rate_at(step, 100, constant) for step in range(100)} == {0.5}


def tiny_network() -> GroundingNetwork:
    torch.manual_seed(0)
    return GroundingNetwork(GroundingConfig(video_dim=8, vocabulary_size=5, dim=8, word_dim=4))


def test_decay_spares_biases_and_embeddings() -> None:
    network = tiny_network()
    optimiser = make_optimiser(network, TrainingSettings(weight_decay=0.1))
    decayed = {id(p) for p in optimiser.param_groups[0]["params"]}
    names = {name for name, p in network.named_parameters() if id(p) in decayed}
    assert "video_forward.0.weight" in names
    assert not any(name.endswith("bias") for name in names)
    assert not {"word_vectors.weight", "positions.weight"} & names
    total = sum(len(group["params"]) for group in optimiser.param_groups)
    assert total == len(list(network.parameters()))


def test_the_retrieval_head_is_clipped_on_its_own() -> None:
    network = tiny_network()
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    head = {id(p) for p in network.retrieval.parameters()}
    clip_gradients(network, 1.0)
    for inside in (True, False):
        grads = [p.grad for p in network.parameters() if (id(p) in head) == inside]
        assert torch.cat([g.flatten() for g in grads]).norm() == pytest.approx(1.0, rel=1e-4)
