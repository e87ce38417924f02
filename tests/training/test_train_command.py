"""`vmrtool train` as a user types it: the paper's data sets by name, word vectors, grids."""

import json
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from synthetic import write_archive, write_charades, write_glove
from typer.testing import CliRunner

from vmrtool.cli import app
from vmrtool.datasets.batches import Batch
from vmrtool.grounding.checkpoint import load_model
from vmrtool.search.grounding import encode_queries
from vmrtool.text import states

SETTINGS = (
    "network.dim=16", "network.word_dim=8", "network.retrieval_dim=4", "network.dropout=0",
    "training.batch_size=16", "training.lr=5e-3", "training.validation_share=0.2",
    "retrieval.ranking_queries=3",
)  # fmt: skip
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]


pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_the_run_folder_is_named_after_the_data_set(
    archive: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path(archive[1]).resolve().parent.name
    assert Path(archive[1]).name == "queries.jsonl"  # says nothing: the folder's name does
    told = train(*archive)
    assert told.exit_code == 0, told.output
    assert f"run folder runs/{name}: --out names another" in told.stderr
    assert Path("runs", name, "result.json").is_file()
    again = train(*archive)
    assert again.exit_code == 2, again.output
    assert f"runs/{name} already holds a run" in again.stderr
    shutil.copy(archive[1], "kitchen.jsonl")
    told = train("--dataset", "kitchen.jsonl", *archive[2:])
    assert told.exit_code == 0, told.output
    assert Path("runs", "kitchen", "result.json").is_file()


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
    assert model.extractor.backbone == "features"  # they do not say, and are not as wide as i3d's
    assert model.recipe["network"]["detach_retrieval"] is True


GRID = ["--variant", "all", "--reading", "skip", "--seeds", "2", "--blind"]
METHODS = ["ci-mha-skip", "ci-mha-no-ms-skip", "mha-skip", "mha-ms-skip", "blind"]


@pytest.fixture(scope="module")
def grid(charades: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished grid: four variants and the blind twin, two seeds."""
    folder = tmp_path_factory.mktemp("grid")
    glove = write_glove(folder / "glove.txt", dim=8)
    told = train(*charades, *GRID, "--glove", glove, "--out", folder / "runs")
    assert told.exit_code == 0, told.output
    runs = json.loads(told.stdout)["runs"]
    folders = [folder / "runs" / name / f"seed-{seed}" for seed in (0, 1) for name in METHODS]
    assert [run["folder"] for run in runs] == [str(path.resolve()) for path in folders]
    assert [run["blind"] for run in runs] == [name == "blind" for _ in (0, 1) for name in METHODS]
    assert {run["reading"] for run in runs if not run["blind"]} == {"skip"}
    return folder / "runs"


def test_a_grid_goes_on_where_it_stopped(
    grid: Path, charades: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished runs stay as they are, one that was killed is resumed, missing ones are made."""
    from vmrtool.training.loop import TrainingRun

    half = tmp_path / "runs"
    shutil.copytree(grid, half)
    shutil.rmtree(half / "mha-skip" / "seed-1")
    killed = half / "ci-mha-skip" / "seed-1"
    for name in ("result.json", "model.safetensors"):
        (killed / name).unlink()
    before = {path: path.stat().st_mtime_ns for path in half.rglob("result.json")}
    started: list[int] = []
    run = TrainingRun.run
    monkeypatch.setattr(TrainingRun, "run", lambda self: started.append(self.epoch) or run(self))
    # state.pt says that the last epoch is done; only the best model is gone with the process.
    shutil.copy(killed / "last.safetensors", killed / "model.safetensors")
    again = [*charades, *GRID, "--glove", grid.parent / "glove.txt", "--out", half]
    refused = train(*again)
    assert refused.exit_code == 2 and "already holds a run" in refused.stderr
    told = train(*again, "--resume")
    assert told.exit_code == 0, told.output
    assert started == [1, 0]
    assert len(json.loads(told.stdout)["runs"]) == 10
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for name in ("mha-skip", "ci-mha-skip"):
        one, other = (folder / name / "seed-1" / "model.safetensors" for folder in (half, grid))
        assert one.read_bytes() == other.read_bytes(), name


def test_another_variant_is_not_resumed(grid: Path, charades: list[str], tmp_path: Path) -> None:
    again = train(
        *charades, "--variant", "mha", "--reading", "skip", "--glove", grid.parent / "glove.txt",
        "--out", grid / "ci-mha-skip" / "seed-0", "--resume",
    )  # fmt: skip
    assert again.exit_code == 2
    assert "network.variant ci-mha, now mha" in again.stderr


def test_a_grid_does_not_stand_still_over_one_run(
    charades: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmrtool.training.loop import TrainingRun

    step = TrainingRun._step

    def diverging(self: TrainingRun, batch: Batch) -> dict[str, float]:
        if self.model.config.variant == "mha":
            self._refuse(batch, {"loss": float("nan")})
        return step(self, batch)

    monkeypatch.setattr(TrainingRun, "_step", diverging)
    glove = write_glove(tmp_path / "glove.txt", dim=8)
    told = train(*charades, "--variant", "all", "--glove", glove, "--out", tmp_path / "runs")
    assert told.exit_code == 1, told.output
    document = json.loads(told.stdout)
    assert [run["variant"] for run in document["runs"]] == ["ci-mha", "ci-mha-no-ms", "mha-ms"]
    (failed,) = document["failed"]
    assert Path(failed["folder"]) == (tmp_path / "runs" / "mha" / "seed-0").resolve()
    assert "the loss is not finite in epoch 1" in failed["error"]
    assert failed["remedy"].endswith("no epoch was finished, so no model is kept")
    assert "not finite" in told.stderr


class TextModel:
    """Stands for a sentence-transformers model: each word has its own state."""

    def encode(self, sentence: str, **_: object) -> torch.Tensor:
        words = [zlib.crc32(word.encode()) for word in sentence.split()]
        return torch.stack(
            [torch.randn(12, generator=torch.Generator().manual_seed(word)) for word in words]
        )


@pytest.fixture
def text_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    states._states.cache_clear()
    monkeypatch.setattr(states, "_model", lambda name: TextModel())
    yield
    states._states.cache_clear()


@pytest.mark.parametrize("match", ["false", "true"])
def test_queries_read_by_a_text_model(
    archive: list[str], tmp_path: Path, text_model: None, monkeypatch: pytest.MonkeyPatch,
    match: str,
) -> None:  # fmt: skip
    """The run folder is a model that remembers who reads its queries."""
    told = train(
        *archive, "--text-model", "some/model", "--out", tmp_path / "run",
        "--set", "network.word_width=6", "--set", f"network.match={match}",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert "token states of some/model" in told.stderr
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert (model.config.text_model, model.config.word_dim) == ("some/model", 12)
    assert model.network.word_vectors is None
    assert model.unknown_words(["mauve"]) == []
    vectors = encode_queries(model, ["the mauve thing", "the red thing"]).vectors
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)
    scored = invoke("eval", *archive, "--model", tmp_path / "run", "--corpus", "--json")
    assert scored.exit_code == 0, scored.output
    answer = invoke(
        "search", "a mauve thing", "--catalog", archive[3], "--model", tmp_path / "run", "--json"
    )
    assert answer.exit_code == 0, answer.output
    assert "words" not in answer.stderr  # no warning: no word is unknown

    states._states.cache_clear()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    states._model.cache_clear()
    missing = invoke("eval", *archive, "--model", tmp_path / "run", "--json")
    assert missing.exit_code == 3, missing.output
    assert "vmrtool[sentence-transformers]" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--text-model", "m", "--glove", "g.txt"], "give one"),
        (["--set", "network.query_encoder=sentence-transformers"], "--text-model NAME|DIR"),
        (["--set", "network.text_model=m"], "the two go together"),
    ],
)
def test_one_reader_of_queries(
    arguments: list[str], why: str, archive: list[str], tmp_path: Path, text_model: None
) -> None:
    told = train(*archive, "--out", tmp_path / "run", *arguments)
    assert told.exit_code == 2, told.output
    assert why in " ".join(told.stderr.split())
