"""Real videos whose pictures do not come evenly: what is stored lies at the packets' own times."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d

from vmrtool.catalog import Catalog
from vmrtool.features.backbones import Preprocessing
from vmrtool.features.extract import Extractor
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.source import ExtractorSource

FPS, FRAMES, STRIDE, SIDE, GRID = 24.0, 16, 8, 32, 4


class Mosaic:
    """In the place of a backbone: a clip's features are its pictures, GRID by GRID greys each."""

    info = SimpleNamespace(
        name="mosaic", preprocessing=Preprocessing(FPS, FRAMES, ("exact", (SIDE, SIDE)), None)
    )
    precision = "float32"
    device = torch.device("cpu")
    settings: ClassVar[dict[str, Any]] = {}

    def clips(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.float()

    def __call__(self, clips: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(clips.mean(dim=-1), SIDE // GRID).flatten(1)


def packet_times(path: Path) -> tuple[list[float], float]:
    """When each picture is due by its packet's timestamp, on the player's clock; and the end."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = (container.start_time or 0) / 1e6
        packets = [p for p in container.demux(stream) if p.pts is not None and p.size]
        base = float(stream.time_base)
        times = sorted(packet.pts * base - start for packet in packets)
        last = max(packets, key=lambda packet: packet.pts)
        return times, times[-1] + (last.duration or 0) * base


def delay(path: Path) -> float:
    """By how much the pictures start after 0, by the container's or the stream's word."""
    with av.open(str(path)) as container:
        return max((container.start_time or 0) / 1e6, packet_times(path)[0][0])


def uneven(folder: Path) -> Iterator[Path]:
    """Videos of variable rate, or whose pictures start late."""
    for path in sorted((folder / "videos").rglob("*.*")):
        times, _ = packet_times(path)
        gaps = np.diff(times)
        if len(gaps) and (np.ptp(gaps) > 0.25 * np.median(gaps) or delay(path) > 0.02):
            yield path


def mosaics(path: Path) -> NDArray[np.float64]:
    """Each picture in the order of display, as `Mosaic` sees it: (n, GRID * GRID)."""
    with av.open(str(path)) as container:
        pictures = [
            frame.reformat(SIDE, SIDE, "rgb24").to_ndarray().mean(axis=2)
            for frame in container.decode(video=0)
        ]
    tiles = np.stack(pictures).reshape(-1, GRID, SIDE // GRID, GRID, SIDE // GRID)
    return tiles.mean(axis=(2, 4)).reshape(len(pictures), GRID * GRID)


def apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """By how many levels of 255 pictures (..., GRID * GRID) differ, but for the worst 2 %."""
    return float(np.quantile(np.abs(a - b).mean(axis=-1), 0.98))


@pytest.fixture(scope="module")
def stored(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Any, float]]:
    """Uneven videos, indexed: by name their path, snippets and duration."""
    paths = list(uneven(real_data))
    extractor = Extractor(Mosaic(), stride=STRIDE, batch_size=4)
    source = ExtractorSource("mosaic", "0" * 64, extractor.settings, extractor)
    catalog_path = tmp_path_factory.mktemp("real") / "vmrtool.db"
    report = index(paths, catalog_path, lambda: source)
    assert report.indexed == len(paths)
    with Catalog.open(catalog_path) as catalog:
        return {
            row.path.name: (row.path, catalog.features(row.content_hash, 1), row.duration_s)
            for row in catalog.videos()
        }


def test_the_archive_has_such_videos(stored: dict[str, Any]) -> None:
    assert {"torchcodec_var_fps_video.mp4", "pyscenedetect_goldeneye-vfr-drop3.mp4"} <= set(stored)
    assert {"pyscenedetect_delayed_start.mp4", "videollama_applausing.mp4"} <= set(stored)


def test_spans_end_where_the_last_packet_does(stored: dict[str, Any]) -> None:
    for name, (path, snippets, duration) in stored.items():
        times, end = packet_times(path)
        assert duration == pytest.approx(end, abs=1.5 * np.median(np.diff(times))), name
        assert snippets.cells[0, 0] == 0 and snippets.cells[-1, 1] == duration, name
        assert np.array_equal(snippets.cells[1:, 0], snippets.cells[:-1, 1]), name
        assert snippets.seen[-1, 1] == duration, name
        n = len(snippets.features)
        assert snippets.seen[:, 0] == pytest.approx(np.arange(n) * STRIDE / FPS), name


def test_a_snippet_saw_what_the_packets_show_in_its_span(stored: dict[str, Any]) -> None:
    """Each picture a snippet saw is the one whose packet was due at that time.

    Counting frames at the average rate instead must be seen to be wrong on some video.
    """
    told_apart = 0
    for name, (path, snippets, duration) in stored.items():
        times, end = packet_times(path)
        pictures = mosaics(path)
        assert len(pictures) == len(times), name
        ticks = snippets.seen[:, :1] + np.arange(FRAMES) / FPS
        inside = ticks < duration - 1e-6
        saw = snippets.features.astype(np.float64).reshape(*ticks.shape, GRID * GRID)[inside]
        due = np.searchsorted(times, ticks[inside] + 1e-3, side="right") - 1
        right = apart(saw, pictures[np.maximum(due, 0)])
        counted = np.minimum((ticks[inside] * len(pictures) / end).astype(int), len(pictures) - 1)
        assert right < 4.0, name
        told_apart += apart(saw, pictures[counted]) > right + 3.0
    assert told_apart >= 3
