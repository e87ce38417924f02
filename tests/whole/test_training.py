"""Training from scratch through the command line: it must beat a twin that never sees a video."""

import json
from pathlib import Path

import pytest
from whole import Archive, make_archive, vmrtool


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Videos to train on; the shared archive is the test."""
    return make_archive(tmp_path_factory.mktemp("training"), videos=48, seed=500)


def trained(training: Archive, out: Path, *more: str) -> Path:
    done = vmrtool(
        *("train", "--recipe", "blocks", "--dataset", training.folder / "queries.jsonl"),
        *("--features", training.catalog, "--out", out, "--epochs", "16"),
        *("--set", "training.batch_size=16", "--set", "training.lr=2e-3"),
        *("--set", "training.validation_share=0", "--device", "cpu", *more),
    )
    assert done.returncode == 0, done.stderr
    return out


def r1_at_half(model: Path, archive: Archive) -> float:
    done = vmrtool(
        *("eval", "--dataset", archive.folder / "queries.jsonl", "--features", archive.catalog),
        *("--model", model, "--json"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "vmrtool.eval/1"
    return next(
        row["R@1_IoU0.5"]["mean"]
        for row in report["rows"]
        if row["method"] not in ("random", "prior", "whole-video")
    )


def test_a_few_epochs_beat_the_blind_twin(
    training: Archive, archive: Archive, tmp_path: Path
) -> None:
    seeing = r1_at_half(trained(training, tmp_path / "seeing"), archive)
    blind = r1_at_half(trained(training, tmp_path / "blind", "--blind"), archive)
    assert seeing >= blind + 20.0
