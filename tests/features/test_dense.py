"""Dense sampling: one pass over a video has no seams, and windows are pooled from it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seeded_backbone import seeded_network, write_backbone
from torch import Tensor
from video_clips import write_video

from vmrtool.errors import MediaError, UsageError
from vmrtool.features.backbones import Backbone, Preprocessing, load_backbone
from vmrtool.features.dense import TrunkStream, reach
from vmrtool.features.extract import Extractor, Snippets
from vmrtool.features.i3d import STEP, InceptionI3D
from vmrtool.media.decode import FrameReader

FPS, FRAMES, STRIDE = 25.0, 16, 8
WANT = Preprocessing(fps=FPS, frames=FRAMES, resize=("exact", (32, 32)), crop=None)
BEFORE, AFTER = 44, 47


@pytest.fixture(scope="module")
def network() -> InceptionI3D:
    network = seeded_network()
    network.fold_batch_norms()
    return network


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    return load_backbone("blocks", write_backbone(path, WANT))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, int]:
    """Videos of noise, 25 frames a second, and how many frames each has."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    videos = {}
    for name, frames in enumerate([90, 7, 16, 41, 60, 1]):
        pictures = list(rng.integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8))
        path = folder / f"{name}.mkv"
        videos[write_video(path, range(0, 40 * frames, 40), pictures=pictures)] = frames
    return videos


def extract(extractor: Extractor, paths: Any, workers: int = 2) -> dict[Path, Any]:
    return dict(extractor.extract_many(paths, workers=workers))


def clip(frames: int, seed: int = 1) -> Tensor:
    return torch.rand(1, 3, frames, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def steps_in_pieces(network: InceptionI3D, frames: Tensor, piece: int) -> Tensor:
    stream = TrunkStream(network.layers())
    parts = frames.split(piece, dim=2)
    given = [stream.push(part, last=part is parts[-1]) for part in parts]
    return torch.cat([steps for steps in given if len(steps)])


@torch.inference_mode()
@pytest.mark.parametrize("piece", [8, 24, 56, 168])
def test_pieces_have_no_seams(network: InceptionI3D, piece: int) -> None:
    frames = clip(168)
    whole = network.trunk(frames)[0].mean(dim=(2, 3)).T
    pieces = steps_in_pieces(network, frames, piece)
    assert pieces.shape == whole.shape == (168 // STEP, network.dim)
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))
    assert float(whole.std(dim=0).mean()) > 1e-2 * float(whole.abs().mean())  # steps do differ


@torch.inference_mode()
def test_how_far_a_step_sees(network: InceptionI3D) -> None:
    assert reach(network.layers()) == (BEFORE, AFTER)
    frames, step = clip(160), 8
    usual = network.trunk(frames)[0, :, step]
    sees = []
    for frame in range(160):
        # The stem looks at frames in pairs; a change that cannot be overlooked.
        if frame in (step * STEP - BEFORE - 1, step * STEP - BEFORE):
            sees.append(_depends(network, frames, frame, step, usual))
        if frame in (step * STEP + 7 + AFTER, step * STEP + 7 + AFTER + 1):
            sees.append(_depends(network, frames, frame, step, usual))
    assert sees == [False, True, True, False]


def _depends(network: InceptionI3D, frames: Tensor, frame: int, step: int, usual: Tensor) -> bool:
    changed = frames.clone()
    changed[:, :, frame] = -100 * changed[:, :, frame]
    return not torch.equal(network.trunk(changed)[0, :, step], usual)


@torch.inference_mode()
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_windows_are_pooled_from_a_pass_over_the_whole(
    backbone: Backbone, archive: dict[Path, int], batch_size: int
) -> None:
    extractor = Extractor(backbone, stride=STRIDE, sampling="dense", batch_size=batch_size)
    results = extract(extractor, archive)
    assert set(results) == set(archive)
    for path, frames in archive.items():
        snippets = results[path]
        assert isinstance(snippets, Snippets)
        with FrameReader(path, fps=FPS, framing=WANT.framing) as reader:
            pictures = list(reader)
        count = len(snippets.features)
        pictures += [pictures[-1]] * ((count - 1) * STRIDE + FRAMES - frames)
        stream = backbone.stream()
        clips = backbone.clips(torch.from_numpy(np.stack(pictures))[None])
        steps = backbone.advance(stream, clips, last=True)
        for i, feature in enumerate(snippets.features):
            first, last = steps[i * STRIDE // STEP :][:2]  # 16 frames are two steps: one pair
            expected = (first + last) / 2
            np.testing.assert_allclose(feature, expected, rtol=2e-3, atol=2e-3)


def test_a_video_of_one_window_is_the_same_either_way(
    backbone: Backbone, archive: dict[Path, int]
) -> None:
    short = [path for path, frames in archive.items() if frames <= FRAMES]
    assert len(short) == 3
    dense, windows = (
        extract(Extractor(backbone, stride=STRIDE, sampling=sampling), short)
        for sampling in ("dense", "windows")
    )
    for path in short:
        np.testing.assert_allclose(
            dense[path].features, windows[path].features, rtol=2e-3, atol=2e-3
        )
        np.testing.assert_array_equal(dense[path].seen, windows[path].seen)
        np.testing.assert_array_equal(dense[path].cells, windows[path].cells)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_are_the_same_to_the_last_bit_in_any_order(
    archive: dict[Path, int], tmp_path: Path, precision: str
) -> None:
    weights = write_backbone(tmp_path / "backbone.safetensors", WANT)
    backbone = load_backbone("blocks", weights, precision=precision)
    extractor = Extractor(backbone, stride=STRIDE, sampling="dense", batch_size=3)
    shared = Extractor(backbone, stride=STRIDE, sampling="dense", batch_size=3)
    paths = list(archive)
    usual = extract(extractor, paths, workers=1)
    assert all(np.abs(snippets.features).mean() > 0.01 for snippets in usual.values())
    for run in (
        extract(extractor, paths[::-1], workers=3),
        extract(shared, paths[2:4], workers=2),
    ):
        for path, snippets in run.items():
            assert snippets.features.tobytes() == usual[path].features.tobytes()


def test_what_a_snippet_sees_reaches_past_its_window(
    backbone: Backbone, archive: dict[Path, int]
) -> None:
    path = next(path for path, frames in archive.items() if frames == 90)
    extractor = Extractor(backbone, stride=STRIDE, sampling="dense")
    snippets = extract(extractor, [path])[path]
    starts = np.arange(len(snippets.seen)) * STRIDE
    first = np.maximum(starts - BEFORE, 0) / FPS
    end = np.minimum((starts + FRAMES + AFTER) / FPS, snippets.duration_s)
    np.testing.assert_allclose(snippets.seen, np.stack([first, end], axis=1))


def test_one_videos_error_is_its_own(
    backbone: Backbone, archive: dict[Path, int], tmp_path: Path
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("once upon a time")
    extractor = Extractor(backbone, stride=STRIDE, sampling="dense", batch_size=1)
    alone = extract(extractor, archive)
    mixed = extract(extractor, [text, *archive])
    assert isinstance(mixed[text], MediaError)
    for path, snippets in alone.items():
        np.testing.assert_array_equal(mixed[path].features, snippets.features)


def test_progress_adds_up_to_the_videos(backbone: Backbone, archive: dict[Path, int]) -> None:
    told: list[float] = []
    extractor = Extractor(backbone, stride=STRIDE, sampling="dense", batch_size=1)
    list(extractor.extract_many(archive, workers=2, on_progress=told.append))
    assert min(told) >= 0
    assert sum(told) == pytest.approx(sum(archive.values()) / FPS)


def test_what_cannot_be_sampled_densely(backbone: Backbone) -> None:
    with pytest.raises(UsageError, match="steps of 8 frames, and stride 12 is none"):
        Extractor(backbone, stride=12, sampling="dense")
    settings = Extractor(backbone, stride=STRIDE, sampling="dense").settings
    assert settings["sampling"] == "dense"
