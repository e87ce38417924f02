"""`vmrtool train` as a user types it: the paper's data sets by name, word vectors, grids."""

import json
from pathlib import Path

import pytest
import torch
from synthetic import write_archive, write_charades, write_glove
from typer.testing import CliRunner

from vmrtool.cli import app
from vmrtool.grounding.checkpoint import load_model

SETTINGS = (
    "network.dim=16", "network.word_dim=8", "network.retrieval_dim=4", "network.dropout=0",
    "training.batch_size=16", "training.lr=5e-3", "training.validation_share=0.2",
    "retrieval.ranking_queries=3",
)  # fmt: skip
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def charades(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a small data set in the shape of Charades-STA."""
    folder, features = write_charades(tmp_path_factory.mktemp("charades"), train=12, test=4)
    return [
        "--dataset", "charades", "--annotations", str(folder), "--features", str(features),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    queries, catalog = write_archive(tmp_path_factory.mktemp("archive"), videos=8, seed=1)
    return ["--dataset", str(queries), "--features", str(catalog)]


def invoke(*arguments: str | Path):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(*arguments: str | Path):
    return invoke("train", *SMALL, "--epochs", "1", "--json", *arguments)


def test_glove_words_beyond_the_training_sentences(archive: list[str], tmp_path: Path) -> None:
    glove = write_glove(tmp_path / "glove.txt", dim=8, more=("purple", "mauve"))
    told = train(*archive, "--glove", glove, "--out", tmp_path / "run")
    assert told.exit_code == 0, told.output
    assert "with vectors of glove.txt" in told.stderr
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.config.query_encoder == "glove"
    assert model.vocabulary.unknown(["purple", "mauve", "elephant"]) == ["elephant"]
    fewer = train(
        *archive, "--glove", glove, "--out", tmp_path / "few", "--set", "training.more_words=1"
    )
    assert fewer.exit_code == 0, fewer.output
    model = load_model(tmp_path / "few" / "model.safetensors")
    assert model.vocabulary.unknown(["red", "purple", "mauve"]) == ["mauve"]
    scored = invoke("eval", *archive, "--model", tmp_path / "run", "--json")
    assert scored.exit_code == 0, scored.output


def test_words_of_the_test_split_come_first(tmp_path: Path) -> None:
    folder, features = write_charades(tmp_path / "charades", train=6, test=2)
    test = folder / "charades_sta_test.txt"
    test.write_text(test.read_text().replace("thing", "gadget"))
    glove = write_glove(tmp_path / "glove.txt", dim=8, more=("purple", "gadget"))
    told = train(
        "--dataset", "charades", "--annotations", folder, "--features", features,
        "--glove", glove, "--out", tmp_path / "run", "--set", "training.more_words=0",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.vocabulary.unknown(["gadget", "purple"]) == ["purple"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--glove", "{glove}", "--set", "network.word_dim=50"], 3, "8 numbers, expected 50"),
        (["--glove", "none.txt"], 3, "cannot read word vectors none.txt"),
        (["--set", "network.query_encoder=glove"], 3, "no word vectors are given"),
        (["--glove", "{glove}", "--set", "network.query_encoder=words"], 2, "leave out --glove"),
        (["--glove", "{glove}", "--set", "training.more_words=-1"], 2, "more_words is -1"),
    ],
)
def test_word_vectors_that_cannot_be_used(
    arguments: list[str], code: int, why: str, archive: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    glove = write_glove(tmp_path / "glove.txt", dim=8)
    filled = (argument.format(glove=glove) for argument in arguments)
    result = train(*archive, "--out", "run", *filled)
    assert result.exit_code == code, result.output
    assert why in " ".join(result.stderr.split())
    assert not Path("run").exists()


def test_a_train_result_names_its_runs(charades: list[str], tmp_path: Path) -> None:
    told = train(*charades, "--recipe", _plain(tmp_path), "--out", tmp_path / "run")
    assert told.exit_code == 0, told.output
    assert [run["seed"] for run in json.loads(told.stdout)["runs"]] == [0]


def _plain(folder: Path) -> Path:
    path = folder / "plain.toml"
    path.write_text("")
    return path


def test_a_named_data_set_takes_its_own_recipe(charades: list[str], tmp_path: Path) -> None:
    missing = invoke("train", *charades, "--out", tmp_path / "run")
    assert missing.exit_code == 3
    assert "--glove FILE" in missing.stderr
    glove = write_glove(tmp_path / "glove.txt", dim=8)
    told = train(*charades, "--glove", glove, "--out", tmp_path / "run")
    assert told.exit_code == 0, told.output
    assert "recipe charades" in told.stderr
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.extractor.backbone == "i3d"
    assert model.recipe["network"]["detach_retrieval"] is True
