"""The extractor: right features, whatever the order and company; nobody else's errors."""

import ctypes
import gc
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from seeded_backbone import write_backbone
from video_clips import level, write_video

from vmrtool.errors import MediaError, ModelError, UsageError
from vmrtool.features import compute, prefetch
from vmrtool.features.backbones import (
    BACKBONES,
    Backbone,
    BackboneInfo,
    Preprocessing,
    load_backbone,
)
from vmrtool.features.extract import Extractor, Snippets, fitting_batch_size
from vmrtool.features.windows import tile

FPS, FRAMES, STRIDE, SIDE = 25.0, 8, 4, 32
WANT = Preprocessing(fps=FPS, frames=FRAMES, resize=("exact", (SIDE, SIDE)), crop=None)


class Brightness(Backbone):
    """A backbone whose features are a window's mean, first and last brightness, 0 to 255."""

    def __init__(self, factor: float = 1.0) -> None:
        self.info = BackboneInfo("brightness", 3, 0, WANT, "", "", "")
        self.weights_sha256, self.precision = "0" * 64, "float32"
        self.settings = {}
        self.device = torch.device("cpu")
        self.factor = factor
        self.batches: list[int] = []

    def __call__(self, clips: torch.Tensor, scores: bool = False) -> Any:
        self.batches.append(len(clips))
        pictures = (clips.mean(dim=(1, 3, 4)) + 1) * 127.5 * self.factor
        return torch.stack([pictures.mean(1), pictures[:, 0], pictures[:, -1]], dim=1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, int]:
    """Videos of 25 frames a second and how many frames each has."""
    folder = tmp_path_factory.mktemp("archive")
    lengths = [30, 3, 17, 8, 36, 9, 1]
    return {
        write_video(folder / f"{i}.mkv", range(0, 40 * n, 40)): n for i, n in enumerate(lengths)
    }


def extract(extractor: Extractor, paths: Any, **options: Any) -> dict[Path, Any]:
    return dict(extractor.extract_many(paths, **({"workers": 2} | options)))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_features_are_of_the_frames_their_spans_say(
    archive: dict[Path, int], workers: int, batch_size: int
) -> None:
    backbone = Brightness()
    extractor = Extractor(backbone, stride=STRIDE, batch_size=batch_size)
    results = extract(extractor, archive, workers=workers)
    assert set(results) == set(archive)
    for path, frames in archive.items():
        snippets = results[path]
        assert isinstance(snippets, Snippets)
        assert snippets.duration_s == pytest.approx(frames / FPS)
        assert snippets.truncated is None
        assert snippets.features.dtype == np.float16
        tiling = tile(frames, fps=FPS, frames=FRAMES, stride=STRIDE, duration_s=snippets.duration_s)
        np.testing.assert_array_equal(snippets.seen, tiling.seen)
        np.testing.assert_array_equal(snippets.cells, tiling.cells)
        for start, feature in zip(tiling.starts, snippets.features, strict=True):
            seen = [level(min(start + i, frames - 1)) for i in range(FRAMES)]
            np.testing.assert_allclose(feature, [np.mean(seen), seen[0], seen[-1]], atol=1.5)
    # Batches run across videos: only the last of all is not full, and it is padded.
    windows = sum(len(snippets.features) for snippets in results.values())
    assert backbone.batches == [batch_size] * -(-windows // batch_size)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_are_the_same_to_the_last_bit_in_any_order(
    archive: dict[Path, int], tmp_path: Path, precision: str
) -> None:
    weights = write_backbone(tmp_path / "backbone.safetensors", WANT)
    extractor = Extractor(
        load_backbone("blocks", weights, precision=precision), stride=STRIDE, batch_size=3
    )
    paths = list(archive)
    runs = [
        extract(extractor, paths, workers=1),
        extract(extractor, paths[::-1], workers=3),
        extract(extractor, paths[2:3], workers=1),
    ]
    assert all(np.abs(snippets.features).mean() > 0.01 for snippets in runs[0].values())
    for run in runs[1:]:
        for path, snippets in run.items():
            assert snippets.features.tobytes() == runs[0][path].features.tobytes()


def test_several_devices_share_the_windows(archive: dict[Path, int]) -> None:
    first, second = Brightness(), Brightness()
    second.device = torch.device("cpu", 1)
    first.on = lambda device: second  # type: ignore[method-assign]
    together = Extractor(first, stride=STRIDE, batch_size=2, devices=[second.device])
    alone = Extractor(Brightness(), stride=STRIDE, batch_size=2)
    results, expected = extract(together, archive), extract(alone, archive)
    for path, snippets in expected.items():
        np.testing.assert_array_equal(results[path].features, snippets.features)
    assert len(first.batches) - len(second.batches) in (0, 1) and second.batches


def test_progress_adds_up_to_the_videos(archive: dict[Path, int]) -> None:
    told: list[float] = []
    extract(Extractor(Brightness(), stride=STRIDE), archive, on_progress=told.append)
    assert min(told) >= 0
    assert sum(told) == pytest.approx(sum(archive.values()) / FPS)


def test_one_videos_error_is_its_own(archive: dict[Path, int], tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("once upon a time")
    missing = tmp_path / "missing.mp4"
    alone = extract(Extractor(Brightness(), stride=STRIDE, batch_size=4), archive)
    mixed = extract(Extractor(Brightness(), stride=STRIDE, batch_size=4), [text, *archive, missing])
    assert isinstance(mixed[text], MediaError) and isinstance(mixed[missing], MediaError)
    for path, snippets in alone.items():
        np.testing.assert_array_equal(mixed[path].features, snippets.features)


def test_features_may_be_fetched_late(
    fake_reader: type["FakeReader"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a GPU, which has several batches at once, also when a video breaks meanwhile."""
    first = compute._InFlight.__init__

    def late(self: Any, lanes: Any) -> None:
        first(self, lanes)
        self._most = 3

    paths = [Path("40"), Path("50-45"), Path("33"), Path("1")]
    usual = extract(Extractor(Brightness(), stride=STRIDE, batch_size=2), paths)
    monkeypatch.setattr(compute._InFlight, "__init__", late)
    results = extract(Extractor(Brightness(), stride=STRIDE, batch_size=2), paths)
    assert results.keys() == usual.keys()
    assert isinstance(results.pop(Path("50-45")), MediaError)
    for path, snippets in results.items():
        np.testing.assert_array_equal(snippets.features, usual[path].features)


class FakeReader:
    """In place of FrameReader: the path's name says how long, and at which tick it breaks (50-45)
    or hangs (50h45)."""

    alive = 0
    most = 0
    lock = threading.Lock()

    def __init__(self, path: Path, **_: Any) -> None:
        length, how, tick = re.fullmatch(r"(\d+)([-h]?)(\d*)", path.name).groups()
        self.ticks = int(length)
        self.breaks, self.hangs = (int(tick) if how == kind else -1 for kind in "-h")
        self.duration_s, self.truncated = self.ticks / FPS, None
        self.claimed_s = None

    def __enter__(self) -> "FakeReader":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for tick in range(self.ticks):
            if tick == self.breaks:
                raise RuntimeError("a bug that nobody thought of")
            if tick == self.hangs:
                ctypes.CDLL(None).pause()  # in C, like a decoder, and for ever
            picture = np.full((SIDE, SIDE, 3), tick % 256, np.uint8)
            with self.lock:
                FakeReader.alive += 1
                FakeReader.most = max(FakeReader.most, FakeReader.alive)
            weakref.finalize(picture, self.gone)
            yield picture

    @classmethod
    def gone(cls) -> None:
        with cls.lock:
            cls.alive -= 1


@pytest.fixture
def fake_reader(monkeypatch: pytest.MonkeyPatch) -> type[FakeReader]:
    gc.collect()
    monkeypatch.setattr(prefetch, "FrameReader", FakeReader)
    FakeReader.alive = FakeReader.most = 0
    return FakeReader


def test_an_unforeseen_error_is_the_videos_own(fake_reader: type[FakeReader]) -> None:
    results = extract(
        Extractor(Brightness(), stride=STRIDE, batch_size=4),
        [Path("40"), Path("50-45"), Path("33")],
    )
    failed = results[Path("50-45")]
    assert isinstance(failed, MediaError) and failed.stage == "decode"
    assert "RuntimeError: a bug that nobody thought of" in str(failed)
    assert isinstance(failed.__cause__, RuntimeError)
    assert len(results[Path("40")].features) == 9 and len(results[Path("33")].features) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's pause")
def test_a_decoder_that_hangs_takes_its_video_along_and_nothing_else(
    fake_reader: type[FakeReader],
) -> None:
    paths = [Path("50h0"), Path("40"), Path("50h45"), Path("33"), Path("60h59")]
    began = time.monotonic()
    results = extract(
        Extractor(Brightness(), stride=STRIDE, batch_size=4, timeout_s=0.5), paths, workers=1
    )
    for name in ("50h0", "50h45", "60h59"):
        failed = results[Path(name)]
        assert isinstance(failed, MediaError) and failed.stage == "decode"
        assert "given up: the decoder was at it for" in str(failed)
        assert "--timeout" in failed.remedy
    assert len(results[Path("40")].features) == 9 and len(results[Path("33")].features) == 8
    assert time.monotonic() - began < 60  # and not for ever


def test_a_thread_that_waits_for_the_network_takes_no_time(
    fake_reader: type[FakeReader],
) -> None:
    """The limit is the decoder's: a slow network behind it costs no video."""

    class Slow(Brightness):
        def __call__(self, clips: torch.Tensor, scores: bool = False) -> Any:
            time.sleep(0.02)
            return super().__call__(clips, scores)

    extractor = Extractor(Slow(), stride=STRIDE, batch_size=1, timeout_s=0.4)
    results = extract(extractor, [Path("200"), Path("150")], workers=2)
    assert not any(isinstance(result, MediaError) for result in results.values())


def test_frames_in_flight_do_not_grow_with_the_video(fake_reader: type[FakeReader]) -> None:
    peaks = []
    for length in (400, 4000):
        fake_reader.most = 0
        extractor = Extractor(Brightness(), stride=STRIDE, batch_size=4)
        extract(extractor, [Path(str(length)), Path(str(length + 1))])
        peaks.append(fake_reader.most)
    # Of each worker a window and what follows it; of the queue and the batch a stride each.
    assert max(peaks) <= 2 * (FRAMES + STRIDE + 1) + (4 + 2 + 4) * STRIDE + FRAMES
    assert peaks[1] >= peaks[0] / 2


def test_leaving_early_stops_the_threads(fake_reader: type[FakeReader]) -> None:
    before = threading.active_count()
    paths = (Path(str(n)) for n in range(100, 100_000_000))
    results = Extractor(Brightness(), stride=STRIDE).extract_many(paths, workers=3)
    next(results)
    assert threading.active_count() == before + 4  # three that decode, and the watch over them
    results.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_an_error_in_the_list_of_paths_reaches_the_caller(fake_reader: type[FakeReader]) -> None:
    def paths() -> Iterator[Path]:
        yield Path("20")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        extract(Extractor(Brightness(), stride=STRIDE), paths())


def test_features_that_are_no_numbers_are_the_models_error(archive: dict[Path, int]) -> None:
    with pytest.raises(ModelError, match="float16 cannot hold"):
        extract(Extractor(Brightness(factor=1e6), stride=STRIDE), archive)


def test_settings_say_what_decides_the_features() -> None:
    slow, fast = (
        Extractor(Brightness(), stride=STRIDE, batch_size=size).settings for size in (1, 16)
    )
    assert slow == fast  # the batch size does not
    assert slow == {
        "stride": STRIDE,
        "sampling": "windows",
        "precision": "float32",
        "fps": FPS,
        "frames": FRAMES,
        "resize": ["exact", [SIDE, SIDE]],
        "crop": None,
        "scaling": "[-1,1]",
    }
    with pytest.raises(UsageError, match="stride 9 is not from 1 to 8"):
        Extractor(Brightness(), stride=9)
    with pytest.raises(UsageError, match="sampling 'sparse' is not known"):
        Extractor(Brightness(), stride=STRIDE, sampling="sparse")


def test_batches_fit_the_windows() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert fitting_batch_size(BACKBONES["i3d"].preprocessing, cpu) == 2
    assert fitting_batch_size(BACKBONES["i3d"].preprocessing, cuda) == 8
    assert fitting_batch_size(WANT, cpu) == 8
    huge = Preprocessing(fps=FPS, frames=64, resize=("exact", (1000, 1000)), crop=None)
    assert fitting_batch_size(huge, cpu) == 1
    assert Extractor(Brightness(), stride=STRIDE).batch_size == 8
    assert Extractor(Brightness(), stride=STRIDE, batch_size=3).batch_size == 3


@pytest.mark.parametrize(
    "name",
    [
        "odd/torchcodec_var_fps_video.mp4",
        "odd/pyscenedetect_goldeneye-vfr-drop3.mp4",
        "odd/pyscenedetect_delayed_start.mp4",
        "qa-demos/videollama_applausing.mp4",
    ],
)
def test_stored_spans_are_the_packets_times(
    real_data: Path, name: str, packet_end: Callable[[Path], float]
) -> None:
    path = real_data / "videos" / name
    snippets = extract(Extractor(Brightness(), stride=STRIDE), [path])[path]
    end = packet_end(path)
    assert snippets.duration_s == pytest.approx(end, abs=1e-6)
    assert snippets.cells[0, 0] == snippets.seen[0, 0] == 0.0
    assert snippets.cells[-1, 1] == snippets.seen[-1, 1] == snippets.duration_s
    np.testing.assert_allclose(np.diff(snippets.seen[:, 0]), STRIDE / FPS)
