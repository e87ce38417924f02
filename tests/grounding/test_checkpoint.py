import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vmrtool.errors import ModelError
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, load_model, save_model
from vmrtool.grounding.ranking import RankingWeights
from vmrtool.text.vocabulary import Vocabulary

WORDS = Vocabulary(["red", "circle", "caf\u00e9", "a", "b", "c", "d", "e", "f", "g"])
EXTRACTOR = ExtractorSpec("blocks", "ab" * 32, {"stride": 16, "fps": 24.0, "crop": (112, 112)})


@pytest.fixture
def model(make_network) -> GroundingModel:
    return GroundingModel(
        make_network(initial_states="random", dropout=0.4),
        WORDS,
        EXTRACTOR,
        ranking=RankingWeights(-1.5, 3.0, 0.2, 0.1),
        pooling=(4, 8),
        recipe={"training": {"lr": 1e-4}},
        training={"epoch": 3},
    )


@pytest.fixture
def saved(model, tmp_path: Path) -> Path:
    save_model(tmp_path / "run" / "model.safetensors", model)
    return tmp_path / "run" / "model.safetensors"


def rewrite(path: Path, weights: dict | None = None, **changes) -> Path:
    """The same file with some of its weights (None: taken out) or description changed."""
    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()["vmrtool"])
    tensors = load_file(path) | (weights or {})
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path, metadata={"vmrtool": json.dumps(document | changes)})
    return path


def test_round_trip(model, saved, make_batch) -> None:
    loaded = load_model(saved)
    assert (loaded.config, loaded.vocabulary) == (model.config, WORDS)
    assert loaded.ranking == model.ranking and loaded.pooling == (4, 8)
    assert (loaded.recipe, loaded.training) == (model.recipe, model.training)
    assert loaded.extractor.differences(EXTRACTOR) == []
    assert loaded.name == "run" and len(loaded.sha256) == 64
    assert not loaded.network.training and str(loaded.device) == "cpu"
    batch = make_batch([6, 3], [4, 2])
    model.network.eval()
    assert torch.equal(loaded.network(*batch).end_logits, model.network(*batch).end_logits)


def test_same_model_same_bytes_and_loading_draws_nothing(model, saved, tmp_path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    again = save_model(tmp_path / "again.safetensors", load_model(saved))
    assert torch.equal(torch.rand(2), expected)
    assert again.sha256 == load_model(saved).sha256
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()
    assert load_model(tmp_path / "again.safetensors").name == "again"


def test_a_failed_save_leaves_the_old_file(model, saved) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError):
        save_model(saved, replace(model, recipe={"lr": object()}))
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model.safetensors"]


def test_pickles_are_not_read(tmp_path: Path, model) -> None:
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(Harm()))
    torch.save({"weights": model.network.state_dict(), "harm": Harm()}, tmp_path / "b.pt")
    for name in ("a.safetensors", "b.pt"):
        with pytest.raises(ModelError, match=f"{name} is not a vmrtool model file"):
            load_model(tmp_path / name)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("keep", [0, 5, 200, -100])
def test_truncated_files(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ModelError, match="is not a vmrtool model file"):
        load_model(saved)


def test_wrong_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model file .*absent\.safetensors"):
        load_model(tmp_path / "absent.safetensors")
    with pytest.raises(ModelError, match="no model file"):
        load_model(tmp_path)
    save_file({"x": torch.ones(2)}, tmp_path / "backbone.safetensors")
    with pytest.raises(ModelError, match="not of a vmrtool grounding model"):
        load_model(tmp_path / "backbone.safetensors")
    with pytest.raises(ModelError, match=r"format vmrtool\.model/9; this vmrtool reads"):
        load_model(rewrite(saved, format="vmrtool.model/9"))


def test_another_variant(saved: Path) -> None:
    assert load_model(saved, variant="ci-mha").config.variant == "ci-mha"
    with pytest.raises(ModelError, match="holds variant ci-mha, not mha"):
        load_model(saved, variant="mha")


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"positions.weight": None}, "lacks positions.weight"),
        ({"extra": torch.ones(1)}, "has a foreign extra"),
        ({"positions.weight": torch.ones(3, 16)}, r"positions.weight is \(3, 16\), not \(20, 16\)"),
        ({"positions.weight": torch.full((20, 16), torch.nan)}, "not finite"),
    ],
)
def test_weights_that_do_not_fit(saved: Path, weights: dict, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        load_model(rewrite(saved, weights))


def test_settings_that_do_not_fit_the_weights(saved: Path, model) -> None:
    other = model.config.to_json() | {"variant": "mha"}
    with pytest.raises(ModelError, match=r"\(variant mha\): .* and \d+ more"):
        load_model(rewrite(saved, config=other))


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"video_dim": 24}},
        {"config": None},
        {"vocabulary": 3},
        {"extractor": {"name": "i3d"}},
        {"ranking": {"bias": 1, "colour": 2}},
        {"pooling": ["x"]},
        {"recipe": 5},
    ],
    ids=str,
)
def test_descriptions_that_cannot_be_used(saved: Path, changes: dict) -> None:
    with pytest.raises(ModelError, match="its description is not usable"):
        load_model(rewrite(saved, **changes))


def test_vocabulary_of_another_size(saved: Path, model) -> None:
    with pytest.raises(
        ModelError, match=r"run/model\.safetensors: vocabulary of 4 words .* for 12"
    ):
        load_model(rewrite(saved, vocabulary=["red", "circle"]))
    with pytest.raises(ModelError, match="vocabulary of 3 words"):
        replace(model, vocabulary=Vocabulary(["red"]))


def test_differences_between_extractors() -> None:
    assert EXTRACTOR.differences(EXTRACTOR) == []
    stored = ExtractorSpec("blocks", "ab" * 32, {"stride": 16, "fps": 24, "crop": [112, 112]})
    assert EXTRACTOR.differences(stored) == []
    assert EXTRACTOR.differences(ExtractorSpec("blocks")) == []  # nothing known against it
    other = ExtractorSpec("i3d", "cd" * 32, {"stride": 64})
    assert EXTRACTOR.differences(other) == [
        "backbone blocks, not i3d",
        "backbone weights abababababab, not cdcdcdcdcdcd",
        "stride 16, not 64",
    ]
