"""The recipes of the zoo: they can be trained, hold the paper's values, and come with the wheel."""

import re
import tomllib
from pathlib import Path

import pytest

from vmrtool.assets import find_model, zoo, zoo_folder
from vmrtool.grounding.config import GroundingConfig
from vmrtool.training.recipes import load_recipe
from vmrtool.training.settings import make_settings

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", [name for name in zoo() if not find_model(name).zero_shot])
def test_every_recipe_is_one(name: str) -> None:
    settings = make_settings(load_recipe(name))
    GroundingConfig.from_json({**settings.network, "video_dim": 500, "vocabulary_size": 9})
    assert settings.extractor["backbone"]
    assert (zoo_folder() / name / "README.md").read_text().startswith(f"# {name}\n")


@pytest.mark.parametrize("name", ["charades", "activitynet"])
def test_what_the_paper_prints(name: str) -> None:
    settings = make_settings(load_recipe(name))
    network = GroundingConfig.from_json(
        {**settings.network, "video_dim": 500, "vocabulary_size": 9}
    )
    assert (network.dim, network.word_dim, network.query_encoder) == (512, 300, "glove")
    assert (network.max_words, network.max_snippets) == (25, 128)
    assert network.variant == "ci-mha" and network.detach_retrieval
    training = settings.training
    assert (training.lr, training.batch_size, training.weight_decay) == (1e-4, 100, 0.0)
    assert training.start_end_weight == training.segment_weight == 1.0


@pytest.mark.parametrize("name", ["charades", "activitynet"])
def test_the_card_names_every_value_that_is_not_the_papers(name: str) -> None:
    """What a recipe adds to the paper is marked as such, value by value."""
    text = (zoo_folder() / name / "recipe.toml").read_text()
    network_and_training = text.split("[network]")[1].split("[retrieval]")[0]
    for line in network_and_training.splitlines():
        if "=" in line:
            assert re.search(r"# (not printed|printed|GloVe's|the paper has no)", line), line


def test_the_wheel_carries_every_recipe() -> None:
    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    for name in zoo():
        package = f"vmrtool._models.{name}"
        assert package in tools["packages"]
        assert tools["package-dir"][package] == f"models/{name}"
        assert {"*.toml", "*.md"} <= set(tools["package-data"][package])
