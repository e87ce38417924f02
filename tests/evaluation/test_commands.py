"""`vmrtool train` and `vmrtool eval` as a user types them."""

import json
import os
import signal
from pathlib import Path

import pytest
from synthetic import write_archive
from typer.testing import CliRunner

from vmrtool.cli import app
from vmrtool.report.figures import figure_tables
from vmrtool.training.loop import TrainingRun

SMALL = [
    word
    for setting in (
        "network.dim=32", "network.word_dim=16", "network.retrieval_dim=16", "network.dropout=0",
        "training.batch_size=16", "training.lr=5e-3", "training.clip=1",
        "training.negative_share=0.25", "training.validation_share=0.2",
    )
    for word in ("--set", setting)
]  # fmt: skip
FIGURES = [f"R@{n}_IoU{m}" for n in (1, 5) for m in (0.3, 0.5, 0.7)] + ["mIoU"]
CORPUS = [f"video_R@{k}" for k in (1, 10, 100)] + [
    f"corpus_R@{k}_IoU{m}" for k in (1, 5, 10, 100) for m in (0.3, 0.5, 0.7)
]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    queries, catalog = write_archive(
        tmp_path_factory.mktemp("train"), videos=40, seed=1, shortest=16, longest=32
    )
    return str(queries), str(catalog)


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    queries, catalog = write_archive(
        tmp_path_factory.mktemp("test"), videos=12, seed=2, shortest=16, longest=32
    )
    return str(queries), str(catalog)


@pytest.fixture(scope="module")
def run(archive: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    result = invoke("train", *data(archive), "--out", str(out), "--epochs", "8", *SMALL)
    assert result.exit_code == 0, result.output
    return out


def data(archive: tuple[str, str]) -> list[str]:
    return ["--dataset", archive[0], "--features", archive[1]]


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_train_prints_its_result_and_the_effective_configuration(
    archive: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = invoke("train", *data(archive), "--out", str(out), "--epochs", "1", "--json", *SMALL)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "vmrtool.train/1"
    (entry,) = document["runs"]
    assert (entry["folder"], entry["seed"], entry["epochs"]) == (str(out.resolve()), 0, 1)
    assert list(entry["validation"]) == FIGURES
    assert "[network] video_dim=24" in result.stderr
    assert "lr=0.005" in result.stderr
    assert "epoch 1: loss" in result.stderr


def test_eval_prints_the_documented_json(
    unseen: tuple[str, str], run: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "predictions.jsonl"
    result = invoke(
        "eval", *data(unseen), "--model", str(run), "--corpus", "--breakdown", "kind",
        "--save-predictions", str(saved), "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert list(document) == [
        "schema", "dataset", "split", "truth", "pairs", "rows", "baselines", "notes", "hit",
        "calibration", "breakdown",
    ]  # fmt: skip
    assert document["schema"] == "vmrtool.eval/1"
    assert (document["truth"], document["pairs"], document["hit"]) == ("raw", 36, "event")
    rows = {row["method"]: row for row in document["rows"]}
    assert list(rows) == [
        "run", "prior", "random", "random-two-points", "random-windows", "whole-video",
    ]  # fmt: skip
    assert list(rows["run"]) == ["method", "seeds", *FIGURES, *CORPUS]
    assert list(rows["prior"]) == ["method", "seeds", *FIGURES]
    assert rows["run"]["R@1_IoU0.5"]["mean"] >= 60
    assert rows["prior"]["R@1_IoU0.5"]["mean"] <= 40
    assert rows["run"]["R@1_IoU0.5"]["std"] == 0
    assert rows["random"]["seeds"] == 10
    assert rows["random"]["R@1_IoU0.3"]["std"] > 0
    # The archive has 12 videos: among the first 100 every right one is found.
    assert rows["run"]["video_R@100"]["mean"] == 100
    assert rows["run"]["corpus_R@100_IoU0.5"]["mean"] >= rows["run"]["corpus_R@1_IoU0.5"]["mean"]
    groups = [row for row in document["breakdown"]["rows"] if row["method"] == "run"]
    assert [row["group"] for row in groups] == ["grows", "moves-left", "spins"]
    assert sum(row["pairs"] for row in groups) == 36
    mean = sum(row["pairs"] * row["mIoU"]["mean"] for row in groups) / 36
    assert mean == pytest.approx(rows["run"]["mIoU"]["mean"])

    again = invoke("eval", "--dataset", unseen[0], "--predictions", str(saved), "--json")
    scored = json.loads(again.stdout)["rows"][0]
    assert scored["method"] == "predictions"
    assert [scored[name] for name in FIGURES] == [rows["run"][name] for name in FIGURES]
    assert "no prior" in again.stderr


def test_blind_is_shown_zeros(
    archive: tuple[str, str], unseen: tuple[str, str], run: Path, tmp_path: Path
) -> None:
    blind = tmp_path / "blind"
    trained = invoke(
        "train", *data(archive), "--out", str(blind), "--epochs", "2", "--blind", *SMALL
    )
    assert trained.exit_code == 0, trained.output
    result = invoke(
        "eval", *data(unseen), "--model", str(run), "--model", str(blind), "--json"
    )  # fmt: skip
    rows = {row["method"]: row for row in json.loads(result.stdout)["rows"]}
    ahead = rows["run"]["R@1_IoU0.5"]["mean"] - rows["blind"]["R@1_IoU0.5"]["mean"]
    assert ahead >= 20
    shown_zeros = invoke("eval", *data(unseen), "--model", str(blind), "--blind", "--json")
    assert json.loads(shown_zeros.stdout)["rows"][0] == rows["blind"]
    dark = json.loads(
        invoke("eval", *data(unseen), "--model", str(run), "--blind", "--json").stdout
    )["rows"][0]
    assert dark["method"] == "run (shown zeros)"
    assert dark["mIoU"]["mean"] < rows["run"]["mIoU"]["mean"]


def test_a_shuffled_video_is_told_and_costs(unseen: tuple[str, str], run: Path) -> None:
    both = [json.loads(invoke("eval", *data(unseen), "--model", str(run), *more, "--json").stdout)
            for more in ((), ("--shuffle-video",), ("--shuffle-video", "--blind"))]  # fmt: skip
    seen, shuffled, dark = (document["rows"][0] for document in both)
    assert [row["method"] for row in (seen, shuffled, dark)] == [
        "run", "run (shuffled)", "run (shown zeros)",
    ]  # fmt: skip
    assert shuffled["R@1_IoU0.5"]["mean"] <= seen["R@1_IoU0.5"]["mean"] - 20
    # What never looks at the video is as it was.
    assert both[0]["rows"][1:] == both[1]["rows"][1:]


def test_several_archives_and_seeds(
    archive: tuple[str, str], unseen: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "grid"
    both = [*data(archive), *data(unseen)]
    trained = invoke(
        "train", *both, "--out", str(out), "--epochs", "1", "--seeds", "2", "--seed", "5",
        "--validation", unseen[0], "--validation-features", unseen[1], *SMALL,
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert [run["seed"] for run in json.loads(trained.stdout)["runs"]] == [5, 6]
    config = json.loads((out / "seed-6" / "config.json").read_text())
    assert config["train"]["queries"] == 120 + 36
    assert config["validation"]["queries"] == 36
    twice = [*data(unseen), *data(unseen)]
    result = invoke("eval", *twice, "--model", str(out), "--corpus", "--json")
    document = json.loads(result.stdout)
    assert document["pairs"] == 72
    assert document["rows"][0]["seeds"] == 2
    assert document["rows"][0]["mIoU"]["std"] > 0


def test_the_prior_of_a_given_training_set(
    archive: tuple[str, str], unseen: tuple[str, str]
) -> None:
    result = invoke(
        "eval",
        "--dataset",
        unseen[0],
        "--train-dataset",
        archive[0],
        "--truth",
        "clipped",
        "--json",
    )
    document = json.loads(result.stdout)
    assert document["truth"] == "clipped"
    assert [row["method"] for row in document["rows"]] == [
        "prior", "random", "random-two-points", "random-windows", "whole-video",
    ]  # fmt: skip


def test_ways_of_searching_side_by_side_and_how_true_the_scores_are(
    unseen: tuple[str, str], run: Path, tmp_path: Path
) -> None:
    drawn = tmp_path / "calibration.png"
    result = invoke(
        "eval", *data(unseen), "--model", str(run), "--corpus", "--searches",
        "--corpus-queries", "9", "--calibration", str(drawn), "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    ways = {(row["search"], row["pooling"]): row for row in document["searches"]}
    assert set(ways) == {
        *((f"shortlist {n}", "stretches") for n in (10, 20, 50, 100)),
        *(("exhaustive", "stretches"), ("similarity alone", "stretches")),
        *(("shortlist 50", "mean"), ("similarity alone", "mean")),
    }
    every, alike = ways["exhaustive", "stretches"], ways["similarity alone", "stretches"]
    assert every["pairs"] == 9 and every["shortlist"] is None and every["ms"] > 0
    # The archive has 12 videos of one window each: a shortlist of 20 is all of them.
    for name in CORPUS:
        assert every[name] == ways["shortlist 20", "stretches"][name]
    assert every["corpus_R@1_IoU0.5"]["mean"] > alike["corpus_R@1_IoU0.5"]["mean"]
    assert alike["video_R@100"]["mean"] == 100
    (found,) = document["calibration"]
    assert found["method"] == "run"
    assert sum(part["moments"] for part in found["bins"]) == found["moments"] > 100
    assert all(part["from"] <= part["score"] <= part["to"] for part in found["bins"])
    assert drawn.read_bytes().startswith(b"\x89PNG")
    table = figure_tables(document)[-1]
    assert len(table.rows) == 8 and table.columns[:3] == ("search", "ms", "video_R@1")


@pytest.mark.parametrize("words", [["--searches"], ["--calibration", "x.png"]])
def test_ways_of_searching_need_an_archive_and_a_model(
    unseen: tuple[str, str], words: list[str]
) -> None:
    assert invoke("eval", *data(unseen), "--corpus", *words).exit_code == 2
    assert invoke("eval", *data(unseen), "--corpus", "--corpus-queries", "3").exit_code == 2


def test_a_table_on_a_terminal(
    unseen: tuple[str, str], run: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from vmrtool.cli.eval import _print_tables

    result = invoke("eval", *data(unseen), "--model", str(run), "--corpus", "--breakdown", "kind")
    monkeypatch.setenv("COLUMNS", "120")
    _print_tables(json.loads(result.stdout))
    shown = capsys.readouterr().out
    for words in ("36 queries, raw truth", "whole-video", "any occurrence of the event", "spins"):
        assert words in shown
    mean = json.loads(result.stdout)["rows"][0]["mIoU"]["mean"]
    assert f"{mean:.2f}" in shown


def test_ctrl_c_exits_130_and_the_run_goes_on(
    archive: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    command = ["train", *data(archive), "--out", str(out), "--epochs", "2", *SMALL]
    step = TrainingRun._step

    def interrupted(self: TrainingRun, batch):
        if batch.index == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "_step", interrupted)
        result = invoke(*command)
    assert result.exit_code == 130
    assert "--resume" in result.stderr
    resumed = invoke(*command, "--resume")
    assert resumed.exit_code == 0
    assert json.loads(resumed.stdout)["runs"][0]["epochs"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["train", "--out", "r"], 2, "--dataset"),
        (["train", "--dataset", "none.jsonl", "--out", "r"], 3, "no catalog"),
        (["train", "--dataset", "none.jsonl", "--features", "{db}", "--out", "r"], 3, "no such"),
        (["train", "--dataset", "{q}", "--features", "{q}", "--out", "r"], 3, "neither a catalog"),
        (
            ["train", "--dataset", "{q}", "--features", "{db}", "--out", "r", "--set", "x=1"],
            2,
            "--set",
        ),
        (["train", "--dataset", "{q}", "--features", "{db}", "--out", "{q}"], 2, "not a folder"),
        (["train", "--dataset", "{q}", "--features", "{db}", "--out", "{run}"], 2, "already holds"),
        (
            ["train", "--dataset", "{q}", "--features", "{db}", "--out", "r", "--recipe", "no"],
            3,
            "no",
        ),
        (
            ["train", "--dataset", "{q}", "--features", "{db}", "--out", "r", "--variant", "x"],
            2,
            "mha",
        ),
        (
            ["train", "--dataset", "{q}", "--features", "{db}", "--out", "r", "--device", "x"],
            2,
            "device",
        ),
        (["eval", "--dataset", "{q}", "--features", "{db}", "--model", "no"], 3, "no such model"),
        (["eval", "--dataset", "{q}", "--truth", "half"], 2, "raw or clipped"),
        (["eval", "--dataset", "{q}", "--breakdown", "colour"], 2, "can be kind, length"),
        (["eval", "--dataset", "{q}", "--save-predictions", "p"], 2, "give --model"),
        (["eval", "--dataset", "{q}", "--predictions", "{q}"], 3, "pred_relevant_windows"),
    ],
)
def test_bad_input_says_what_is_wrong(
    arguments: list[str], code: int, why: str, archive: tuple[str, str], run: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    names = {"q": archive[0], "db": archive[1], "run": str(run)}
    result = invoke(*(argument.format(**names) for argument in arguments))
    assert result.exit_code == code, result.output
    assert why in result.stderr
    assert "Traceback" not in result.stderr


def test_a_model_of_other_features_is_refused(run: Path, tmp_path: Path) -> None:
    queries, catalog = write_archive(tmp_path / "wide", videos=2, seed=3, dim=30)
    result = invoke(
        "eval", "--dataset", str(queries), "--features", str(catalog), "--model", str(run)
    )
    assert result.exit_code == 3
    assert "24 wide, not 30" in result.stderr
