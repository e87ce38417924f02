"""Key frames: the picture on display in the middle of each part."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_clips import which

from vmrtool.errors import MediaError
from vmrtool.media.decode import FrameReader
from vmrtool.media.stills import as_jpeg, moment_stills, stills

MakeVideo = Callable[..., Path]


def test_pictures_come_from_the_middle_of_their_parts(video: MakeVideo) -> None:
    path = video("steady.mp4", range(0, 1600, 40))  # frame k from 40 k to 40 (k + 1) ms
    assert [which(p) for p in stills(path, 4, seconds=1.6, height=32)] == [5, 15, 25, 35]
    assert [which(p) for p in stills(path, 2, seconds=0.8, height=32)] == [5, 15]


def test_a_video_shorter_than_told_has_fewer(video: MakeVideo) -> None:
    path = video("steady.mp4", range(0, 800, 40))
    assert [which(p) for p in stills(path, 4, seconds=1.6, height=32)] == [5, 15]


def test_the_shape_is_kept(video: MakeVideo) -> None:
    wide = stills(video("wide.mp4", [0, 40], size=(128, 64)), 1, seconds=0.08, height=50)
    assert (wide[0].shape, wide[0].dtype) == ((50, 100, 3), np.uint8)
    strip = stills(video("strip.mp4", [0, 40], size=(512, 32)), 1, seconds=0.08, height=50)
    assert strip[0].shape == (50, 150, 3)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("words")
    with pytest.raises(MediaError):
        stills(tmp_path / "text.mp4", 3, seconds=1.0, height=32)


def test_pictures_of_a_moment_come_from_its_parts(video: MakeVideo) -> None:
    path = video("keys.mp4", range(0, 1480, 40), codec_options={"g": "10"})
    assert [which(p) for p in moment_stills(path, 0.8, 1.2, count=2, height=32)] == [22, 27]
    assert [which(p) for p in moment_stills(path, 0.0, 0.4, count=2, height=32)] == [2, 7]
    late = moment_stills(path, 1.2, 2.0, count=4, height=32)
    assert [which(p) for p in late] == [32]  # the rest is past the end


def test_a_moment_is_reached_from_the_key_frame_before_it(
    video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = video("long.mkv", range(0, 60_000, 100), codec_options={"g": "10"})
    readers: list[FrameReader] = []

    class Kept(FrameReader):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            readers.append(self)

    monkeypatch.setattr("vmrtool.media.stills.FrameReader", Kept)
    pictures = moment_stills(path, 50.0, 50.4, count=2, height=32)
    assert [which(p) for p in pictures] == [501 % 37, 503 % 37]
    assert readers[0].frames_decoded < 40


def test_a_file_whose_times_cannot_be_believed_is_read_from_its_start(video: MakeVideo) -> None:
    path = video("joined.ts", range(0, 1480, 40), codec_options={"g": "10"}, container="mpegts")
    assert [which(p) for p in moment_stills(path, 0.8, 1.2, count=2, height=32)] == [22, 27]


def test_a_jpeg_holds_the_picture() -> None:
    picture = np.zeros((33, 50, 3), np.uint8)
    picture[:, 25:] = (200, 40, 90)
    data = as_jpeg(picture)
    assert data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    with av.open(io.BytesIO(data), format="jpeg_pipe") as file:
        back = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert back.shape == picture.shape
    assert np.abs(back[:, 30:].astype(int) - picture[:, 30:]).max() < 12
    assert back[:, :20].max() < 12
