"""Frames at the ticks of the player's clock, from good, odd and damaged files."""

import math
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from video_clips import which

from vmrtool.errors import MediaError
from vmrtool.media import decode
from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing

MakeVideo = Callable[..., Path]
FRAMING = Framing(("exact", (32, 32)))
STEADY = range(0, 1600, 40)  # 25 frames a second for 1.6 s; 0 to 36 can be told apart


def read(
    path: Path, fps: float = 24, framing: Framing = FRAMING
) -> tuple[FrameReader, list[NDArray[np.uint8]]]:
    with FrameReader(path, fps=fps, framing=framing) as reader:
        pictures = list(reader)
    assert len(pictures) == reader.ticks
    return reader, pictures


def shown(path: Path, fps: float = 24) -> list[int]:
    return [which(picture) for picture in read(path, fps)[1]]


def on_display(
    times_ms: list[int], end_ms: int, fps: float = 24, unit_s: float = 0.001
) -> list[int]:
    """The frame on display at each tick, by the definition, to half a unit of the time base."""
    ticks = math.ceil((end_ms / 1000 - unit_s / 2) * fps)
    return [
        max((i for i, t in enumerate(times_ms) if t / 1000 <= k / fps + unit_s / 2), default=0)
        for k in range(ticks)
    ]


@example(gaps=[42], name="v.mp4")
@example(gaps=[1, 1], name="v.mp4")
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    gaps=st.lists(st.integers(1, 400), min_size=0, max_size=12),
    name=st.sampled_from(["v.mkv", "v.mp4"]),
)
def test_each_tick_shows_the_frame_on_display(video: MakeVideo, gaps: list[int], name: str) -> None:
    times = [sum(gaps[:i]) for i in range(len(gaps) + 1)]
    path = video(name, times)
    with av.open(path) as container:
        unit_s = float(container.streams.video[0].time_base)  # 1 ms in Matroska, finer in MP4
    assert shown(path) == on_display(times, times[-1] + 40, unit_s=unit_s)
    assert read(path)[0].duration_s == pytest.approx(times[-1] / 1000 + 0.04, abs=2e-3)


def test_b_frames_come_in_display_order(video: MakeVideo) -> None:
    times = list(range(0, 1440, 40))
    path = video("b.mp4", times, codec_options={"x264-params": "bframes=3:b-adapt=0:scenecut=0"})
    with av.open(path) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps != sorted(stamps)
    assert shown(path) == on_display(times, 1440)


def test_rounded_timestamps_lose_no_frame(video: MakeVideo) -> None:
    # 24 frames a second in whole milliseconds, as Matroska has them.
    path = video("ms.mkv", [round(i * 1000 / 24) for i in range(36)], last_ms=42)
    assert shown(path) == list(range(36))


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_before_a_late_first_frame_it_is_shown(video: MakeVideo, name: str) -> None:
    path = video(name, [300, 340, 380, 420], audio_ms=500)
    reader, pictures = read(path)
    assert reader.first_time_s == pytest.approx(0.3)
    assert [which(picture) for picture in pictures] == [0] * 9 + [1, 2, 3]
    assert reader.duration_s == pytest.approx(0.46)


def test_times_start_where_the_container_does(video: MakeVideo) -> None:
    reader, pictures = read(video("offset.mkv", [5000, 5040, 5080]))
    assert [which(picture) for picture in pictures] == [0, 1, 2]
    assert reader.duration_s == pytest.approx(0.12)
    assert reader.truncated is None


@pytest.mark.parametrize(
    ("name", "frames"), [("one.mp4", 1), ("live.mkv", 4), ("bare.h264", 4), ("bare.mp4", 4)]
)
def test_short_and_bare_files(video: MakeVideo, name: str, frames: int) -> None:
    options = {"live": "1"} if name == "live.mkv" else {}
    container = "h264" if name.startswith("bare") else None  # no timestamps at all
    path = video(name, range(0, 40 * frames, 40), options=options, container=container)
    reader, pictures = read(path)
    assert [which(picture) for picture in pictures] == list(range(frames))
    assert reader.duration_s == pytest.approx(0.04 * frames)
    assert reader.truncated is None


def test_a_lone_frame_from_before_the_start_lasts_a_tick(
    video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmrtool.media.decode.start_of", lambda container: 100.0)
    reader, pictures = read(video("one.mp4", [0]))
    assert len(pictures) == 1 and reader.duration_s > 0


def test_recordings_joined_end_to_end(video: MakeVideo, tmp_path: Path) -> None:
    """Timestamps start again and the picture changes size; time and pictures go on."""
    first = video("1.ts", STEADY).read_bytes()
    second = video("2.ts", STEADY, size=(64, 48)).read_bytes()
    far = video("3.ts", range(500_000, 501_600, 40)).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first + second + far)
    reader, pictures = read(joined, fps=25)
    once = [i % 37 for i in range(40)]
    assert [which(picture) for picture in pictures] == once * 3
    assert reader.duration_s == pytest.approx(4.8, abs=0.05)
    assert reader.truncated is None


CORNERS = np.zeros((32, 48, 3), np.uint8)
CORNERS[:16, :24], CORNERS[:16, 24:] = (255, 0, 0), (0, 255, 0)
CORNERS[16:, :24], CORNERS[16:, 24:] = (0, 0, 255), (255, 255, 255)


def corners(picture: NDArray[np.uint8]) -> str:
    """The colours of the four quarters, row by row, one letter each."""
    letters = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    height, width = picture.shape[:2]
    return "".join(
        letters[tuple((picture[y, x] > 127).tolist())]  # type: ignore[index]
        for y in (height // 4, 3 * height // 4)
        for x in (width // 4, 3 * width // 4)
    )


@pytest.mark.parametrize(
    ("degrees", "mirrored", "seen"),
    [
        (0, False, "rgbw"),
        (90, False, "gwrb"),
        (180, False, "wbgr"),
        (270, False, "brwg"),
        (0, True, "grwb"),
        (90, True, "wgbr"),
    ],
)
def test_rotation_is_honoured(video: MakeVideo, degrees: int, mirrored: bool, seen: str) -> None:
    path = video(
        "turned.mp4",
        [0, 40],
        pictures=[CORNERS],
        prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )
    assert corners(read(path)[1][0]) == seen
    # The crop is of the picture as displayed: its whole width, and all colours.
    assert corners(read(path, framing=Framing(("short", 32), (32, 32)))[1][0]) == seen


def test_pixel_shape_is_honoured_before_the_crop(video: MakeVideo) -> None:
    """Pixels twice as wide as high: a square crop sees the middle half of the picture."""
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, 8:24] = 255

    def wide(stream: object) -> None:
        stream.codec_context.sample_aspect_ratio = 2  # type: ignore[attr-defined]

    path = video("wide.mp4", [0], pictures=[stripes], prepare=wide)
    middle = read(path, framing=Framing(("short", 32), (32, 32)))[1][0]
    assert middle[:, 3:29].min() > 230
    assert read(path)[1][0][:, :6].max() < 25


@pytest.mark.parametrize(
    ("codec", "pixels"),
    [
        ("libx264", "yuv420p"),
        ("libx264", "yuvj420p"),
        ("libx264", "yuv444p"),
        ("libx264", "yuv420p10le"),
        ("png", "rgb24"),
        ("png", "rgba"),
        ("ffv1", "bgr0"),
        ("ffv1", "yuv422p10le"),
    ],
)
def test_pixel_formats_keep_their_colours(video: MakeVideo, codec: str, pixels: str) -> None:
    name = "pixels.mov" if codec == "png" else "pixels.mkv"
    path = video(name, [0, 40], pictures=[CORNERS], codec=codec, pixels=pixels)
    picture = read(path)[1][0]
    assert corners(picture) == "rgbw"
    assert picture[24, 24].min() >= 252 and picture[8, 8, 0] >= 250
    assert picture[8, 8, 1:].max() <= 5


def test_a_size_that_changes_in_mid_stream(video: MakeVideo, tmp_path: Path) -> None:
    tall = CORNERS.transpose(1, 0, 2)[::-1]
    joined = tmp_path / "changing.h264"
    joined.write_bytes(
        b"".join(
            video(f"{i}.h264", [0, 40], pictures=[picture], container="h264").read_bytes()
            for i, picture in enumerate((CORNERS, tall))
        )
    )
    assert [corners(picture) for picture in read(joined, fps=25)[1]] == ["rgbw"] * 2 + ["gwrb"] * 2


# What is damaged or no video.


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi"])
def test_a_cut_file_keeps_what_it_has(video: MakeVideo, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3)).astype(np.uint8)
    path = video(
        name,
        STEADY,
        pictures=list(noise),
        codec="mpeg4" if name.endswith("avi") else "libx264",
        options={"movflags": "faststart"} if name.endswith("mp4") else {},
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    reader, _ = read(path)
    assert 0.6 <= reader.duration_s <= 1.3
    assert reader.truncated is not None
    assert f"ends at {reader.duration_s:.2f} s" in reader.truncated


def damage(path: Path, number: int) -> None:
    """Makes one packet of an mp4's H.264 claim an impossible length."""
    with av.open(path) as container:
        packet = [p for p in container.demux(video=0) if p.size][number]
        position = packet.pos
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"\x7f\xff\xff\xff")


def test_damage_in_the_middle_costs_the_pictures_up_to_the_next_key_frame(
    video: MakeVideo,
) -> None:
    path = video("damaged.mp4", STEADY, codec_options={"g": "10", "bf": "0"})
    damage(path, 14)
    reader, pictures = read(path, fps=25)
    seen = [which(picture) for picture in pictures]
    assert seen[:14] == list(range(14))
    assert set(seen[14:20]) == {13}  # held while there is nothing better
    assert seen[20:] == [i % 37 for i in range(20, 40)]
    assert reader.duration_s == pytest.approx(1.6)
    assert reader.truncated is not None
    assert "damaged at 0.56 s" in reader.truncated


def test_damage_with_no_key_frame_to_come_ends_the_video(video: MakeVideo) -> None:
    path = video("broken.mp4", STEADY, codec_options={"g": "100", "bf": "0"})
    damage(path, 25)
    reader, pictures = read(path, fps=25)
    assert [which(picture) for picture in pictures] == list(range(25))
    assert reader.duration_s == pytest.approx(1.0)
    assert reader.truncated is not None
    assert reader.truncated.startswith("ends at 1.00 s of 1.60 s: ")


def with_frames_of(video: MakeVideo, seconds: int) -> Path:
    """An AVI of a dozen frames whose header says that each lasts so long."""
    path = video("slow.avi", range(0, 480, 40), codec="mpeg4")
    data = bytearray(path.read_bytes())
    scale = data.index(b"strh") + 8 + 20
    data[scale : scale + 8] = struct.pack(
        "<II", seconds, 40
    )  # `write_video` gives it 40 units a frame
    path.write_bytes(bytes(data))
    return path


def test_a_rate_that_cannot_be_is_not_believed(video: MakeVideo) -> None:
    reader, pictures = read(with_frames_of(video, 5_000_000))
    assert reader.frames_decoded == 12 and len(pictures) == 12
    assert reader.duration_s == pytest.approx(12 / 25)


def test_few_pictures_that_would_last_for_hours_are_refused(video: MakeVideo) -> None:
    assert read(with_frames_of(video, 20))[0].duration_s == pytest.approx(220.5)
    with pytest.raises(MediaError, match=r"make its first \d+ pictures last 1.\d hours") as caught:
        read(with_frames_of(video, 1200))
    assert caught.value.stage == "decode" and "ffmpeg" in str(caught.value.remedy)


def test_a_stream_that_turns_up_on_the_way_costs_nothing(
    video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stumbling:
        """PyAV's container as it is with such a stream: it stumbles after the last packet."""

        def __init__(self, container: Any) -> None:
            self._container = container

        def demux(self, stream: Any) -> Iterator[Any]:
            yield from self._container.demux(stream)
            raise IndexError("list index out of range")

    whole = decode.decoded_frames
    monkeypatch.setattr(
        decode, "decoded_frames", lambda container, *rest: whole(Stumbling(container), *rest)
    )
    reader, pictures = read(video("v.ts", STEADY), fps=25)
    assert len(pictures) == len(STEADY) and reader.truncated is None


def test_nothing_decodes(video: MakeVideo) -> None:
    path = video("hopeless.mp4", STEADY, codec_options={"g": "100"})
    damage(path, 0)
    with pytest.raises(MediaError, match="not one frame can be decoded: Invalid data") as error:
        read(path)
    assert error.value.stage == "decode"
    assert error.value.remedy


def test_a_cut_index_cannot_be_opened(video: MakeVideo) -> None:
    path = video("headless.mp4", STEADY)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(MediaError, match="not a video, or damaged") as error:
        read(path)
    assert error.value.stage == "open"


@pytest.mark.parametrize(
    "name", ["日本 é.mp4", "concat:a|b.mp4", "%03d.mp4", "-i.mp4", "?x#y.mp4", b"\xff\xfe.mp4"]
)
def test_any_file_name_will_do(
    video: MakeVideo, tmp_path: Path, name: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = video("plain.mp4", [0, 40])
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    try:
        made.rename(path)
    except OSError as error:
        pytest.skip(f"this file system does not take the name: {error}")
    assert shown(path) == [0, 1]
