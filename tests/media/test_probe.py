"""What a file is, by its content."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from vmrtool.errors import MediaError
from vmrtool.media.probe import VIDEO_SUFFIXES, MediaInfo, looks_like_video, probe

MakeVideo = Callable[..., Path]


def test_facts(video: MakeVideo) -> None:
    path = video("v.mp4", range(0, 400, 40), size=(64, 48))
    assert probe(path) == MediaInfo(
        container="mov",
        codec="h264",
        width=64,
        height=48,
        rotation=0,
        fps=25.0,
        duration_s=pytest.approx(0.4),
    )


def test_sizes_are_as_displayed(video: MakeVideo) -> None:
    def prepare(stream: object) -> None:
        stream.codec_context.sample_aspect_ratio = 2  # type: ignore[attr-defined]
        stream.set_display_rotation(90)  # type: ignore[attr-defined]

    info = probe(video("v.mp4", [0, 40], size=(64, 48), prepare=prepare))
    assert (info.width, info.height, info.rotation) == (48, 128, 90)


def test_no_duration_is_none(video: MakeVideo) -> None:
    assert probe(video("v.mkv", [0, 40], options={"live": "1"})).duration_s is None


def write_audio(path: Path, *, cover: bool = False) -> Path:
    with av.open(path, "w") as out:
        sound = out.add_stream("aac", rate=16000, layout="mono")
        picture = None
        if cover:
            picture = out.add_stream("png", rate=1)
            picture.width = picture.height = 16
            picture.pix_fmt = "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
        if picture is not None:
            image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            out.mux(picture.encode(image))
            out.mux(picture.encode(None))
    return path


def write_png(path: Path) -> Path:
    av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24").save(
        path.with_suffix(".png")
    )
    path.with_suffix(".png").rename(path)
    return path


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nv.mp4\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("text.mp4", lambda p: p.write_text("once upon a time\n" * 50), "not a video, or damaged"),
        ("noise.mp4", lambda p: p.write_bytes(bytes(range(256)) * 40), "not a video, or damaged"),
        ("empty.mp4", lambda p: p.touch(), "empty file"),
        ("folder.mp4", lambda p: p.mkdir(), "not a video, or damaged"),
        ("missing.mp4", lambda p: None, "no such file"),
        ("sound.mp4", write_audio, "holds no pictures and sound"),
        ("song.mp4", lambda p: write_audio(p, cover=True), "holds only a cover picture and sound"),
        ("photo.mp4", write_png, "a still picture"),
        ("list.m3u8", lambda p: p.write_text(PLAYLIST), "a playlist|not a video"),
    ],
)
def test_what_is_no_video(
    tmp_path: Path, name: str, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(MediaError, match=reason) as error:
        probe(path)
    assert error.value.stage == "open"
    assert str(path) in str(error.value)
    assert not looks_like_video(path)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi", "flv", "ts", "webm", "mov", "mpg"])
def test_videos_are_known_by_content(video: MakeVideo, kind: str) -> None:
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(kind, "libx264")
    made = video(f"v.{kind}", range(0, 400, 40), codec=codec)
    assert looks_like_video(made.rename(made.with_name("no suffix")))


def test_suffixes_that_promise_a_video() -> None:
    assert {".mp4", ".mkv", ".avi", ".webm", ".mov"} <= VIDEO_SUFFIXES
    # These are as often something else, and are known by content.
    assert not {".ts", ".mts", ".gif", ".mp3", ".txt"} & VIDEO_SUFFIXES


def test_unreadable_files_say_so(video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video("secret.mp4", [0])

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(MediaError, match="no permission") as error:
        probe(path)
    assert error.value.remedy == "Make it readable, or leave it out."
