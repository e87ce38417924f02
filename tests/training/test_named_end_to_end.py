"""Charades-STA and ActivityNet Captions in little, in the public formats, trained and evaluated."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from vmrtool.cli import app
from vmrtool.datasets.load import load_parts

SMALL = [
    word
    for setting in (
        "network.dim=16", "network.word_dim=8", "network.retrieval_dim=8", "training.batch_size=8",
        "training.lr=3e-3", "retrieval.ranking_queries=4", "network.query_encoder=words",
    )
    for word in ("--set", setting)
]  # fmt: skip
ACTIONS = ("opens a door", "drinks some water", "closes the book")
FIGURES = [f"R@{n}_IoU{m}" for n in (1, 5) for m in (0.3, 0.5, 0.7)] + ["mIoU"]


def invoke(*words: object) -> dict:
    done = CliRunner().invoke(app, [str(word) for word in (*words, "--json")])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout) | {"told": done.stderr}


def features(
    rng: np.random.Generator, seconds: float, step: float, dim: int, moments: list
) -> np.ndarray:
    """Noise, with an action's own direction added while it is under way."""
    looks = np.random.default_rng(7).standard_normal((len(ACTIONS), dim))
    centres = (np.arange(int(np.ceil(seconds / step))) + 0.5) * step
    x = 0.5 * rng.standard_normal((len(centres), dim))
    for action, start, end in moments:
        x[(centres >= start) & (centres < end)] += looks[action]
    return x.astype(np.float16)


def moments_of(rng: np.random.Generator, seconds: float) -> list[tuple[int, float, float]]:
    """Two actions, one in each half of the video."""
    chosen = rng.choice(len(ACTIONS), size=2, replace=False)
    starts = [half * seconds / 2 + rng.uniform(0, 0.2 * seconds) for half in (0, 1)]
    return [
        (int(a), round(float(s), 2), round(float(s + 0.28 * seconds), 2))
        for a, s in zip(chosen, starts, strict=True)
    ]


@pytest.fixture(scope="module")
def charades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four annotation files, and one HDF5 array a video, a snippet every 2/3 s."""
    folder = tmp_path_factory.mktemp("charades")
    rng = np.random.default_rng(0)
    with h5py.File(folder / "i3d.h5", "w") as out:
        out.attrs["snippet_seconds"] = 16 / 24
        for split, count in (("train", 24), ("test", 8)):
            lines, lengths = [], ["id,subject,length\n"]
            for number in range(count):
                vid, seconds = f"{split[:2].upper()}{number:03d}", float(rng.uniform(12, 30))
                lengths.append(f'{vid},"a, b",{seconds:.2f}\n')
                moments = moments_of(rng, seconds)
                lines += [f"{vid} {s} {e}##person {ACTIONS[a]}.\n" for a, s, e in moments]
                out[vid] = features(rng, seconds, 16 / 24, 1024, moments)
            (folder / f"charades_sta_{split}.txt").write_text("".join(lines))
            (folder / f"Charades_v1_{split}.csv").write_text("".join(lengths))
    return folder


@pytest.fixture(scope="module")
def activitynet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three JSON files, and the public file's groups with 500-d features, one every 2 s."""
    folder = tmp_path_factory.mktemp("activitynet")
    rng = np.random.default_rng(1)
    with h5py.File(folder / "c3d.h5", "w") as out:
        for split, vids in (
            ("train", range(16)),
            ("val_1", range(16, 22)),
            ("val_2", range(19, 24)),
        ):
            document = {}
            for number in vids:
                vid, seconds = f"v_{number:03d}", 60.0 + 10 * number
                if number == 20:
                    seconds = 600.0  # 300 snippets, more than the network takes
                moments = moments_of(rng, seconds)
                document[vid] = {
                    "duration": seconds,
                    "timestamps": [[s, e] for _, s, e in moments],
                    "sentences": [f" A person {ACTIONS[a]}." for a, _, _ in moments],
                }
                if number != 23 and vid not in out:
                    out[f"{vid}/c3d_features"] = features(rng, seconds, 2.0, 500, moments)
            (folder / f"{split}.json").write_text(json.dumps(document))
    return folder


def test_charades(charades: Path, tmp_path: Path) -> None:
    source = ("--dataset", "charades", "--annotations", charades, "--features", charades / "i3d.h5")
    run = tmp_path / "run"
    done = invoke("train", *source, "--out", run, "--epochs", "1", *SMALL)
    assert list(done["runs"][0]["validation"]) == FIGURES
    config = json.loads((run / "config.json").read_text())
    assert config["train"]["name"] == "charades train"
    assert config["train"]["videos"] + config["validation"]["videos"] == 24
    assert config["settings"]["network"]["video_dim"] == 1024
    saved = tmp_path / "ours.jsonl"
    scored = invoke("eval", *source, "--model", run, "--save-predictions", saved)
    assert [scored[key] for key in ("dataset", "split", "pairs")] == ["charades test", "test", 16]
    rows = {row["method"]: row for row in scored["rows"]}
    assert list(rows) == [
        "run", "prior", "random", "random-two-points", "random-windows", "whole-video",
    ]  # fmt: skip
    again = invoke("eval", *source[:4], "--predictions", saved)
    assert [again["rows"][0][name] for name in FIGURES] == [rows["run"][name] for name in FIGURES]


def test_activitynet_on_both_validation_parts(activitynet: Path, tmp_path: Path) -> None:
    named = ("--dataset", "activitynet", "--annotations", activitynet)
    source = (*named, "--features", activitynet / "c3d.h5")
    run = tmp_path / "run"
    done = invoke(
        "train", *source, "--validation", "activitynet", "--out", run, "--epochs", "1", *SMALL
    )
    assert "validation: activitynet val_1, 12 queries, 6 videos" in done["told"]
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["network"]["video_dim"] == 500
    parts = {}
    for split, videos, missing in (("val_1", 6, 0), ("val_2", 4, 1), (None, 4, 1)):
        chosen = () if split is None else ("--split", split)
        scored = invoke("eval", *source, *chosen, "--model", run)
        parts[split] = scored
        assert scored["pairs"] == 2 * videos
        assert ("left out, without features: 1 video" in scored["told"]) == bool(missing)
        assert list(scored["rows"][0])[2:] == FIGURES
    # Each says which it is; the test is val_2 unless told.
    assert [parts[s]["dataset"] for s in parts] == [f"activitynet {s or 'val_2'}" for s in parts]
    assert [parts[s]["split"] for s in parts] == ["val_1", "val_2", "val_2"]
    assert parts["val_2"]["rows"] == parts[None]["rows"] != parts["val_1"]["rows"]


def test_a_long_video_is_averaged_down(activitynet: Path) -> None:
    (part,) = load_parts(
        ["activitynet"],
        [activitynet / "c3d.h5"],
        use="test",
        annotations=activitynet,
        split="val_1",
    )
    lengths = {video.vid: video.n_snippets for video in part.videos}
    assert lengths["v_020"] == 128
    assert lengths["v_019"] == 125  # 250 s, kept as it is
    long = next(video for video in part.videos if video.vid == "v_020")
    assert long.cells[0].tolist() == [0.0, 600 / 128]
    assert long.duration == 600.0
    with h5py.File(activitynet / "c3d.h5") as file:
        rows = file["v_020/c3d_features"][:3].astype(float)
    assert np.allclose(long.features[0], rows.mean(axis=0), atol=2e-3)  # rows 0, 1 and 2 of 300
