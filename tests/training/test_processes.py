"""Training under torchrun: two processes on this machine take the steps of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import write_archive
from typer.testing import CliRunner

from vmrtool.cli import app

REPOSITORY = Path(__file__).parent.parent.parent
SETTINGS = [
    "network.dim=16", "network.word_dim=8", "network.retrieval_dim=8", "network.dropout=0",
    "training.batch_size=7", "training.negative_share=0.3", "training.lr=1e-3",
    "training.clip=1", "training.validation_share=0.2",
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("archive")
    return write_archive(folder, videos=8, seed=1, shortest=12, longest=40)


def training(archive: tuple[Path, Path], out: Path, epochs: int) -> list[str]:
    """The words of `vmrtool train`."""
    queries, catalog = archive
    words = ["train", "--dataset", str(queries), "--features", str(catalog), "--device", "cpu"]
    words += ["--out", str(out), "--json", "--epochs", str(epochs)]
    return words + [word for setting in SETTINGS for word in ("--set", setting)]


def by_two(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs `python WORDS` in two processes under torchrun."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests")))
    return subprocess.run(
        [sys.executable, *run, *words],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_gradients_of_two_are_those_of_one(archive: tuple[Path, Path]) -> None:
    done = by_two(str(Path(__file__).with_name("gradients_of_two.py")), *map(str, archive))
    assert done.returncode == 0, done.stderr


def test_a_run_begun_by_one_goes_on_with_two(archive: tuple[Path, Path], tmp_path: Path) -> None:
    """And ends as if one had done it all: the steps are the same, and so is what is written."""
    alone, run = tmp_path / "alone", tmp_path / "run"
    for out, epochs in ((alone, 2), (run, 1)):
        result = CliRunner().invoke(app, training(archive, out, epochs))
        assert result.exit_code == 0, result.stderr
    # As it would stand had it been stopped there: another epoch to go, and no result.
    config = json.loads((run / "config.json").read_text())
    config["settings"]["training"]["epochs"] = 2
    (run / "config.json").write_text(json.dumps(config))
    (run / "result.json").unlink()

    done = by_two("-m", "vmrtool", *training(archive, run, 2), "--resume")
    assert done.returncode == 0, done.stderr
    for a, b in zip(losses(alone), losses(run), strict=True):
        assert a == pytest.approx(b, rel=1e-4)

    told = json.loads(done.stdout)  # one document: only one process speaks
    assert told["runs"][0]["epochs"] == 2
    assert done.stderr.count("epoch 2:") == 1 and "2 processes" in done.stderr
    assert names(run) == names(alone)
    assert len(list((run / "tensorboard").iterdir())) == 2  # one of each part of the run


def losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line)["losses"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())
