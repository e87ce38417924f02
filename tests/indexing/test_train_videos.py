"""`vmrtool train --videos`: raw videos are indexed first, then trained on."""

import json
from pathlib import Path

import pytest
from indexing_fakes import write_video
from tiny_zoo import STRIDE, write_zoo
from typer.testing import CliRunner, Result

from vmrtool.assets import models
from vmrtool.grounding.checkpoint import load_model

SMALL = [
    word
    for setting in (
        "network.dim=8", "network.word_dim=4", "network.retrieval_dim=4", "training.batch_size=4",
        "training.validation_share=0.4", "retrieval.ranking_queries=2",
    )
    for word in ("--set", setting)
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small zoo, six videos, one of them broken, and their queries."""
    zoo = write_zoo(tmp_path / "zoo", trained=False)
    monkeypatch.setattr(models, "zoo_folder", lambda: zoo)
    monkeypatch.chdir(tmp_path)
    lines = []
    for number in range(6):
        path = tmp_path / "videos" / f"clip{number}.mp4"
        write_video(path, number, frames=72)
        lines += [
            {
                "qid": number, "vid": path.stem, "query": f"something like {number} happens",
                "relevant_windows": [[0.5, 2.0]], "duration": 3.0,
            }
        ]  # fmt: skip
    (tmp_path / "videos" / "clip5.mp4").write_text("not a video")
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path


def train(*words: str, code: int) -> Result:
    from vmrtool.cli import app

    given = ["train", "--dataset", "queries.jsonl", "--videos", "videos", "--epochs", "1"]
    result = CliRunner().invoke(app, [*given, "--device", "cpu", *SMALL, *words])
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    return result


def test_videos_are_indexed_and_trained_on(folder: Path) -> None:
    told = train("--recipe", "blocks", "--out", "run", "--catalog", "own.db", code=1)
    # One video cannot be read: that is told, the rest is trained on, and the exit code says so.
    assert f"failed {folder}/videos/clip5.mp4" in told.stderr
    assert "left out, without features: 1 video\n" in told.stderr
    assert f"features: blocks, stride {STRIDE}" in told.stderr
    model = load_model(folder / "run" / "model.safetensors")
    assert model.extractor.backbone == "blocks"
    assert model.extractor.settings["stride"] == STRIDE
    assert model.training["queries"] == 3  # two of five videos are set aside
    # Nothing is decoded twice, and the catalog can be searched with the model.
    again = train("--recipe", "blocks", "--out", "again", "--catalog", "own.db", "--json", code=1)
    assert "5 unchanged, 1 failed" in again.stderr
    assert json.loads(again.stdout)["schema"] == "vmrtool.train/1"
    assert not (folder / "vmrtool.db").exists()


def test_strict_refuses_videos_that_failed(folder: Path) -> None:
    told = train("--recipe", "blocks", "--out", "run", "--strict", code=3)
    assert "1 of the 6 videos" in told.stderr
    assert (folder / "vmrtool.db").exists() and not (folder / "run").exists()


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        # What is wrong with the settings is told before hours of decoding.
        (["--recipe", "blocks", "--set", "network.query_encoder=glove"], 3, "--glove FILE"),
        (["--recipe", "blocks", "--catalog", "a.db", "--catalog", "b.db"], 2, "one catalog"),
        (["--set", "extractor.backbone=i3d"], 3, "backbone 'i3d' needs its weights"),
        (["--recipe", "blocks", "--catalog", "queries.jsonl"], 3, "queries.jsonl"),
    ],
)
def test_what_is_wrong_is_told_first(folder: Path, words: list[str], code: int, why: str) -> None:
    told = train("--out", "run", *words, code=code)
    assert why in told.stderr
    assert not (folder / "run").exists() and not (folder / "vmrtool.db").exists()


def test_weights_belong_to_videos(folder: Path) -> None:
    from vmrtool.cli import app

    words = ["train", "--dataset", "queries.jsonl", "--features", "x.h5", "--weights", "w.pt"]
    told = CliRunner().invoke(app, [*words, "--out", "run"])
    assert told.exit_code == 2 and "for --videos" in told.stderr
