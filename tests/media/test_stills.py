"""Key frames: the picture on display in the middle of each part."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from video_clips import which

from vmrtool.errors import MediaError
from vmrtool.media.stills import stills

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
