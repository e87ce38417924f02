"""The real files: every one is read or refused with a reason, at its packets' own times."""

import functools
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vmrtool.errors import MediaError
from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing
from vmrtool.media.probe import looks_like_video, probe

FPS = 24
SIDE = 16
FRAMING = Framing(("exact", (SIDE, SIDE)))

# Variable rate, delayed or offset start, swapped timestamps, no duration.
TIMED = [
    "odd/torchcodec_var_fps_video.mp4",
    "odd/pyscenedetect_goldeneye-vfr-drop3.mp4",
    "odd/pyscenedetect_delayed_start.mp4",
    "odd/moviepy_no_duration.webm",
    "odd/moviepy_clip1024.flv",
    "misc/intel_asl_milk.mkv",
    "msvd/0lh_UWF9ZP4_62_69.avi",
    "qa-demos/mmaction2_test.avi",
    "qa-demos/videollama_applausing.mp4",
    "charades/ZFT06.mp4",
]
LONG = [  # too long to decode twice
    "odd/moviepy_big_buck_bunny_0_30.webm",
    "qa-demos/mmaction2_handwork_2431631109846047759.mp4",
]


@dataclass(frozen=True)
class Read:
    reader: FrameReader
    pictures: NDArray[np.uint8]


@functools.cache  # each file is decoded once for all tests
def read(path: Path) -> Read:
    with FrameReader(path, fps=FPS, framing=FRAMING) as reader:
        return Read(reader, np.stack(list(reader)))


@pytest.fixture(scope="module")
def videos(real_data: Path) -> Path:
    return real_data / "videos"


def test_every_file_is_read_or_refused_with_a_reason(videos: Path) -> None:
    files = sorted(path for path in videos.rglob("*") if path.is_file())
    assert len(files) == 60
    truncated = {}
    for path in files:
        try:
            info = probe(path)
            result = read(path)
        except MediaError as error:
            pytest.fail(f"all of these hold pictures, but: {error}")
        assert looks_like_video(path)
        reader = result.reader
        assert reader.frames_decoded > 0
        assert abs(reader.ticks - reader.duration_s * FPS) <= 1
        if reader.truncated is not None:
            truncated[path.name] = reader.truncated
        elif info.duration_s is not None:
            # Sound may go on after the last picture, never by much here.
            assert reader.duration_s == pytest.approx(info.duration_s, abs=0.25), path
    assert list(truncated) == ["decord_corrupted.mp4"]


@pytest.mark.parametrize("name", TIMED + LONG)
def test_spans_are_the_packets_own(videos: Path, name: str) -> None:
    """First and last times, from the packets as the container has them."""
    with av.open(videos / name) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        base, start = float(stream.time_base), (container.start_time or 0) / 1e6
        rate = float(stream.average_rate or stream.guessed_rate)
    stamps = sorted(packet.pts * base - start for packet in packets)
    reader = read(videos / name).reader
    assert reader.first_time_s == pytest.approx(stamps[0], abs=1e-6)
    last = max(packets, key=lambda packet: packet.pts)
    length = last.duration * base if last.duration else 1 / rate
    assert reader.duration_s == pytest.approx(stamps[-1] + length, abs=1e-6)
    assert reader.frames_decoded == len(stamps)


def luma(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Brightness alone: how finely colours are kept depends on the path to RGB."""
    return pictures @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("name", TIMED)
def test_each_tick_shows_the_frame_the_packets_say(videos: Path, name: str) -> None:
    """Against all frames decoded plainly, each given the packet timestamp of its rank."""
    with av.open(videos / name) as container:
        stream = container.streams.video[0]
        base, start = float(stream.time_base), (container.start_time or 0) / 1e6
        frames = [
            frame.to_ndarray(format="rgb24", width=SIDE, height=SIDE)
            for frame in container.decode(stream)
        ]
    with av.open(videos / name) as container:
        packets = container.demux(container.streams.video[0])
        stamps = np.array(sorted(p.pts * base - start for p in packets if p.pts is not None))
    pictures = read(videos / name).pictures
    ticks = np.arange(len(pictures)) / FPS
    # A timestamp is known to half a unit: a frame due 0.3 ms after a tick may be meant for it.
    expected = np.maximum(np.searchsorted(stamps, ticks + min(base / 2, 1e-3), "right") - 1, 0)
    difference = np.abs(luma(pictures) - luma(np.stack(frames))[expected]).mean(axis=(1, 2))
    assert difference.max() < 3  # the same picture, scaled by another path


def test_the_corrupted_file_is_kept_up_to_where_it_breaks(videos: Path) -> None:
    path = videos / "odd" / "decord_corrupted.mp4"
    assert probe(path).duration_s == pytest.approx(5.0)
    reader = read(path).reader
    assert reader.frames_decoded == 28
    assert reader.duration_s == pytest.approx(2.8)
    assert reader.truncated is not None
    assert reader.truncated.startswith("ends at 2.80 s of 5.00 s: ")


def test_the_rotated_file_stands_upright(videos: Path) -> None:
    path = videos / "odd" / "decord_video_270.mov"
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (320, 568, 90)
    with av.open(path) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24", width=16, height=16)
    upright = np.rot90(stored).astype(float)
    assert np.abs(read(path).pictures[0] - upright).mean() < 4


def test_pixel_shape_is_in_the_size(videos: Path) -> None:
    info = probe(videos / "odd" / "pyscenedetect_issue-195-aspect-ratio.mp4")
    assert (info.width, info.height) == (1024, 576)
