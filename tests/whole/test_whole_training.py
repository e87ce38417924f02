"""Training from scratch through the command line: it must beat a twin that never sees a video."""

import json
from pathlib import Path

import pytest
from whole import Archive, make_archive, vmrtool

SMALL = [
    word
    for setting in (
        "network.dim=64", "network.word_dim=32", "training.batch_size=8", "training.lr=3e-3",
        "training.validation_share=0",
    )
    for word in ("--set", setting)
]  # fmt: skip


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Videos to train on; the shared archive is the test."""
    return make_archive(tmp_path_factory.mktemp("training"), videos=12, seed=500)


def figures(training: Archive, test: Archive, out: Path, *more: str) -> dict[str, float]:
    """Trains on one archive and gives the figures on the other."""
    done = vmrtool(
        *("train", "--recipe", "blocks", "--dataset", training.folder / "queries.jsonl"),
        *("--features", training.catalog, "--out", out, "--epochs", "16", "--device", "cpu"),
        *(*SMALL, *more),
    )
    assert done.returncode == 0, done.stderr
    done = vmrtool(
        *("eval", "--dataset", test.folder / "queries.jsonl", "--features", test.catalog),
        *("--model", out, "--device", "cpu", "--json"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "vmrtool.eval/1"
    return {
        name: value["mean"] for name, value in report["rows"][0].items() if name.startswith("R@")
    }


def test_a_few_videos_are_enough_to_beat_the_blind_twin(
    training: Archive, archive: Archive, tmp_path: Path
) -> None:
    seeing = figures(training, archive, tmp_path / "seeing")
    blind = figures(training, archive, tmp_path / "blind", "--blind")
    assert seeing["R@1_IoU0.5"] >= blind["R@1_IoU0.5"] + 10.0
    assert seeing["R@5_IoU0.5"] >= blind["R@5_IoU0.5"] + 10.0
