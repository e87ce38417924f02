"""`vmrtool eval --table`: an experiment's runs under the paper's own table."""

import json
import shutil
from pathlib import Path

import pytest
from synthetic import write_archive, write_charades, write_glove
from typer.testing import CliRunner

from vmrtool.cli import app
from vmrtool.cli.eval import _print_tables

SMALL = [
    word
    for setting in (
        "network.dim=16", "network.word_dim=8", "network.retrieval_dim=4",
        "training.batch_size=16", "training.lr=5e-3", "retrieval.ranking_queries=3",
    )
    for word in ("--set", setting)
]  # fmt: skip
PAPERS = [
    "Random", "LOGAN", "MLVI", "ExCL", "MAN", "DRN", "MHA", "CI-MHA w/o MS", "CI-MHA",
]  # fmt: skip
CHANCE = ["random", "random-two-points", "random-windows"]
OURS = ["blind", "mha", "mha-ms", "ci-mha-no-ms", "ci-mha"]


pytestmark = pytest.mark.usefixtures("one_thread")


def invoke(*arguments: str | Path):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    annotations, features = write_charades(folder / "charades", train=12, test=4)
    glove = write_glove(folder / "glove.txt", dim=8)
    told = invoke(
        "train", "--dataset", "charades", "--annotations", annotations, "--features", features,
        "--glove", glove, "--variant", "all", "--seeds", "2", "--blind", "--epochs", "1",
        "--out", folder / "runs", *SMALL,
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    return folder / "runs"


@pytest.fixture(scope="module")
def document(runs: Path) -> dict:
    told = invoke("eval", "--table", runs, "--json")
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


def test_the_table_has_the_papers_rows_and_ours(document: dict) -> None:
    assert document["schema"] == "vmrtool.eval/1"
    # Nothing but the folder was given: the runs know their data set, the split is its test split.
    assert (document["dataset"], document["split"]) == ("charades test", "test")
    assert document["pairs"] == 12
    rows = {row["method"]: row for row in document["rows"]}
    assert list(rows) == [*OURS, "prior", *CHANCE, "whole-video"]
    assert [rows[name]["seeds"] for name in OURS] == [2] * 5
    printed = document["printed"]
    assert "Table 1" in printed["source"]
    assert [row["method"] for row in printed["rows"]] == PAPERS
    best = printed["rows"][-1]
    assert [best[f"R@1_IoU{m}"] for m in (0.3, 0.5, 0.7)] == [69.87, 54.68, 35.27]
    assert printed["rows"][0]["R@1_IoU0.3"] is None
    assert "start uniform" in document["baselines"]["random"]


def test_on_a_terminal_and_as_markdown(
    runs: Path, document: dict, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    told = invoke("eval", "--table", runs, "--format", "markdown")
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0] == "charades test: 12 queries, raw truth"
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    names = [f"{name} (printed)" for name in PAPERS]
    about = "blind (published)"
    assert [row[0] for row in table[2:]] == [*names, "prior", *CHANCE, "whole-video", about, *OURS]
    assert table[-6][:5] == [about, "~42", "~28", "~12", "–"] and OURS[0] == "blind"
    assert any(line.startswith(f"- {about}: approximate, Otani et al. 2020") for line in lines)
    assert table[2 + 8][:5] == ["CI-MHA (printed)", "69.87", "54.68", "35.27", "–"]
    row = next(row for row in document["rows"] if row["method"] == "ci-mha")
    mean, spread = (row["mIoU"][key] for key in ("mean", "std"))
    assert table[-1][-1] == f"{mean:.2f} ± {spread:.1f}"
    assert any(line.startswith("- random-windows: any of all 64, 128 and 256") for line in lines)
    assert "- trained here: mean and standard deviation over 2 seeds" in lines

    monkeypatch.setenv("COLUMNS", "140")
    _print_tables(document)
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    assert "Table 1" in shown and f"{mean:.2f}" in shown


def test_a_single_model_stands_under_them_too(runs: Path) -> None:
    folder = runs.parent / "charades"
    features = sorted(folder.glob("*.h5"))[0]
    source = ["eval", "--dataset", "charades", "--annotations", folder, "--features", features]
    told = invoke(*source, "--model", runs / "mha" / "seed-0", "--json")
    assert told.exit_code == 0, told.output
    printed = json.loads(told.stdout)["printed"]
    assert [row["method"] for row in printed["rows"]] == PAPERS
    # They are figures of the test split, and say nothing of another.
    trained_on = invoke(*source, "--split", "train", "--model", runs / "mha" / "seed-0", "--json")
    assert "printed" not in json.loads(trained_on.stdout)


def test_other_queries_have_no_printed_rows(runs: Path, tmp_path: Path) -> None:
    queries, features = write_archive(tmp_path / "other", videos=2, seed=5)
    told = invoke("eval", "--table", runs, "--dataset", queries, "--features", features, "--json")
    # Features of another make than those trained on, which do not say theirs.
    assert told.exit_code == 3 and "backbone features, not synthetic" in told.stderr


def test_runs_that_are_not_finished_are_left_out(runs: Path, tmp_path: Path) -> None:
    some = tmp_path / "runs"
    for name in ("mha", "blind"):
        shutil.copytree(runs / name, some / name)
    (some / "mha" / "seed-1" / "result.json").unlink()
    told = invoke("eval", "--table", some, "--json")
    assert told.exit_code == 0, told.output
    assert "not finished: 1 runs" in told.stderr
    rows = {row["method"]: row["seeds"] for row in json.loads(told.stdout)["rows"]}
    assert (rows["blind"], rows["mha"]) == (2, 1)
    alone = invoke("eval", "--table", some / "mha" / "seed-0", "--json")
    assert json.loads(alone.stdout)["rows"][0]["method"] == "seed-0"
    seeds = invoke("eval", "--table", some / "blind", "--json")
    assert [row["method"] for row in json.loads(seeds.stdout)["rows"]][:2] == ["blind", "prior"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--table", "{empty}"], 3, "no run in it"),
        (["--table", "{runs}", "--dataset", "activitynet"], 3, "no annotation file"),
        ([], 2, "no data set to score on"),
        (["--table", "{runs}", "--format", "latex"], 2, "can be table, json, markdown"),
        (["--table", "{runs}", "--format", "markdown", "--json"], 2, "without --json"),
    ],
)
def test_what_cannot_be_tabled(
    arguments: list[str], code: int, why: str, runs: Path, tmp_path: Path
) -> None:
    result = invoke("eval", *(word.format(empty=tmp_path, runs=runs) for word in arguments))
    assert result.exit_code == code, result.output
    assert why in " ".join(result.stderr.split())


def test_a_file_trained_on_says_nothing_of_what_to_test_on(tmp_path: Path) -> None:
    queries, features = write_archive(tmp_path / "archive", videos=6, seed=1)
    out = tmp_path / "run"
    told = invoke(
        "train", "--dataset", queries, "--features", features, "--out", out, "--epochs", "1",
        "--set", "training.validation_share=0", *SMALL,
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    refused = invoke("eval", "--table", out)
    assert refused.exit_code == 2 and "trained on a file" in refused.stderr
    scored = invoke("eval", "--table", out, "--dataset", queries, "--json")
    assert scored.exit_code == 0, scored.output
    assert "printed" not in json.loads(scored.stdout)
