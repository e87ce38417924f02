"""Runs that start from given word vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import COLOURS, write_archive

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.load import load_parts
from vmrtool.errors import MissingError, UsageError
from vmrtool.grounding.checkpoint import load_model
from vmrtool.search.grounding import encode_queries
from vmrtool.text.given import GivenVectors
from vmrtool.training.settings import make_settings
from vmrtool.training.start import TrainingResult, train

SETTINGS = [
    "network.dim=16", "network.word_dim=8", "network.retrieval_dim=4", "training.epochs=1",
    "training.batch_size=16", "training.lr=5e-3", "retrieval.ranking_queries=2",
    "network.query_encoder=glove",
]  # fmt: skip
WORDS = ("the", *COLOURS, "thing", "purple", "goes", "left")  # "purple" is in no sentence


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    queries, catalog = write_archive(tmp_path_factory.mktemp("archive"), videos=8, seed=1)
    (whole,) = load_parts([str(queries)], [catalog], use="train")
    return whole


@pytest.fixture(scope="module")
def given() -> GivenVectors:
    draw = np.random.default_rng(5)
    vectors = {word: 0.3 * draw.standard_normal(8).astype(np.float32) for word in WORDS}
    return GivenVectors("glove.txt", vectors)


def run(dataset: Dataset, out: Path, given: GivenVectors | None, *extra: str) -> TrainingResult:
    settings = make_settings({}, [*SETTINGS, *extra])
    return train(dataset, None, settings, out, measure=lambda *_: {}, given=given)


@pytest.mark.parametrize("tuned", [False, True])
def test_vectors_are_fixed_or_tuned(
    dataset: Dataset, given: GivenVectors, tmp_path: Path, tuned: bool
) -> None:
    run(dataset, tmp_path / "run", given, f"network.tune_words={str(tuned).lower()}")
    model = load_model(tmp_path / "run" / "model.safetensors")
    number = {word: k for k, word in enumerate(model.vocabulary.words)}
    weights = model.network.word_vectors.weight.detach()

    def as_given(word: str) -> bool:
        one, other = weights[number[word]], torch.from_numpy(given.vectors[word])
        return bool(torch.allclose(one / one.norm(), other / other.norm(), atol=1e-5))

    assert as_given("red") is not tuned
    assert as_given("purple")  # no sentence holds it, so nothing can tune it


def test_words_of_no_training_sentence_are_told_apart(
    dataset: Dataset, given: GivenVectors, tmp_path: Path
) -> None:
    """A model that is searched or evaluated knows every word that it was given."""
    run(dataset, tmp_path / "run", given, "network.tune_words=false", "network.word_width=6")
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.vocabulary.unknown(["purple", "red", "bigger", "elephant"]) == ["elephant"]
    vectors = encode_queries(model, ["the purple thing", "the red thing", "the elephant"]).vectors
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


def test_the_run_says_where_its_words_are_from(
    dataset: Dataset, given: GivenVectors, tmp_path: Path
) -> None:
    from vmrtool.training.folder import RunFolder

    result = run(dataset, tmp_path / "run", given)
    words = RunFolder(tmp_path / "run").read_config()["words"]
    size = len(result.model.vocabulary)
    assert words == {"vocabulary": size, "source": "glove.txt", "given": len(WORDS)}


def test_the_same_run_twice_is_the_same(
    dataset: Dataset, given: GivenVectors, tmp_path: Path
) -> None:
    one, other = (run(dataset, tmp_path / name, given) for name in ("one", "other"))
    assert one.model.sha256 == other.model.sha256


def test_vectors_and_settings_must_agree(
    dataset: Dataset, given: GivenVectors, tmp_path: Path
) -> None:
    with pytest.raises(MissingError, match="no word vectors are given"):
        run(dataset, tmp_path / "run", None)
    with pytest.raises(UsageError, match="query_encoder is 'words'"):
        run(dataset, tmp_path / "run", given, "network.query_encoder=words")
    assert not (tmp_path / "run").exists()
