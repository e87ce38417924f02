"""Clips hold what was asked for: first frames, durations and sound against the source's times."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import which, write_video

from vmrtool.errors import MediaError
from vmrtool.media.clips import clip_suffix, cut_clip
from vmrtool.media.probe import probe

MakeVideo = Callable[..., Path]
# Frame k is shown from 40 k to 40 (k + 1) ms; every tenth is a key frame.
SOURCES = {
    "plain.mp4": {"codec_options": {"g": "10", "sc_threshold": "0"}, "audio_ms": 1480},
    "reordered.mp4": {
        "codec_options": {"g": "10", "bf": "2", "preset": "fast", "sc_threshold": "0"},
        "audio_ms": 1480,
    },
    "reordered.mkv": {
        "codec_options": {"g": "10", "bf": "2", "preset": "fast", "sc_threshold": "0"}
    },
    "old.avi": {"codec": "mpeg4", "codec_options": {"g": "10", "qmin": "1", "qmax": "1"}},
    "web.webm": {"codec": "libvpx", "codec_options": {"g": "10"}},
}


@dataclass(frozen=True)
class Clip:
    """A clip decoded: which source frames it shows, when, and how long picture and sound are."""

    frames: list[int]
    times: list[float]
    duration: float
    sound: float


def read(path: Path) -> Clip:
    with av.open(path) as file:
        frames, times, samples, rate = [], [], 0, 1
        for frame in file.decode(*file.streams.video, *file.streams.audio):
            if isinstance(frame, av.VideoFrame):
                frames.append(which(frame.to_ndarray(format="rgb24")))
                times.append(frame.time)
            else:
                samples, rate = samples + frame.samples, frame.sample_rate
        video = file.streams.video[0]
        duration = float((video.duration or 0) * video.time_base) or file.duration / 1e6
    return Clip(frames, [time - times[0] for time in times], duration, samples / rate)


@pytest.fixture(scope="module", params=list(SOURCES))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    return write_video(folder / request.param, range(0, 1480, 40), **SOURCES[request.param])


def test_a_copy_begins_at_the_key_frame_before(source: Path, tmp_path: Path) -> None:
    target = tmp_path / f"clip{clip_suffix(source, reencode=False)}"
    cut = cut_clip(source, target, 0.55, 0.9, reencode=False)
    clip = read(target)
    first = round(cut.start / 0.04)
    with av.open(source) as file:
        keys = [round(p.pts * p.time_base / 0.04) for p in file.demux(video=0) if p.is_keyframe]
    assert first == max(key for key in keys if key <= 13)
    # Picture for picture, up to the one on display at the end, and few past it.
    assert clip.frames == list(range(first, first + len(clip.frames)))
    assert 22 <= clip.frames[-1] <= 24
    assert clip.times == pytest.approx([0.04 * k for k in range(len(clip.times))], abs=2e-3)
    assert cut.end == pytest.approx(0.04 * (clip.frames[-1] + 1), abs=2e-3)
    assert clip.duration == pytest.approx(cut.end - cut.start, abs=0.05)
    if "audio_ms" in SOURCES[source.name]:
        assert clip.sound == pytest.approx(cut.end - cut.start, abs=0.13)


def test_encoded_anew_it_is_exact(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    cut = cut_clip(source, target, 0.55, 0.9, reencode=True)
    clip = read(target)
    assert (cut.start, cut.end) == (0.55, 0.9)
    assert clip.frames == list(range(13, 23))  # 13 is on display at 0.55 s, 22 at 0.9 s
    times = [0.0, *(0.04 * k - 0.55 for k in range(14, 23))]
    assert clip.times == pytest.approx(times, abs=2e-3)
    assert clip.duration == pytest.approx(0.35, abs=2e-3)
    if "audio_ms" in SOURCES[source.name]:
        # AAC comes in blocks of 1024 samples, the first of which only primes the decoder.
        assert clip.sound == pytest.approx(0.35, abs=0.13)


def test_a_clip_ends_with_its_video(video: MakeVideo, tmp_path: Path) -> None:
    path = video("short.mp4", range(0, 400, 40))
    for reencode in (False, True):
        target = tmp_path / f"clip{reencode}.mp4"
        cut = cut_clip(path, target, 0.2, 9.0, reencode=reencode)
        assert cut.end == pytest.approx(0.4, abs=1e-3)
        assert read(target).frames[-1] == 9


def test_times_are_those_of_the_players_clock(video: MakeVideo, tmp_path: Path) -> None:
    path = video("late.mkv", range(5000, 6480, 40), codec_options={"g": "1"})
    for reencode in (False, True):
        target = tmp_path / f"clip{reencode}{clip_suffix(path, reencode=reencode)}"
        cut = cut_clip(path, target, 0.4, 0.8, reencode=reencode)
        assert cut.start == pytest.approx(0.4, abs=2e-3)
        assert read(target).frames[0] == 10


def test_sound_is_cut_at_the_same_place(tmp_path: Path) -> None:
    """A tone that begins at 1 s begins at 0.5 s of a clip from 0.5 s on."""
    path, rate = tmp_path / "tone.mkv", 16000
    with av.open(path, "w") as out:
        pictures = out.add_stream("libx264", rate=25)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=rate, layout="mono")
        for k in range(50):
            grey = np.full((32, 32, 3), 100, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="yuv420p")
            frame.pts = k
            out.mux(pictures.encode(frame))
        tone = np.zeros((1, 2 * rate), np.int16)
        tone[:, rate:] = (8000 * np.sin(np.arange(rate) * 0.3)).astype(np.int16)
        for start in range(0, 2 * rate, 1600):
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(tone[:, start : start + 1600]), format="s16", layout="mono"
            )
            block.sample_rate, block.pts = rate, start
            out.mux(sound.encode(block))
        out.mux([*pictures.encode(None), *sound.encode(None)])
    cut_clip(path, tmp_path / "clip.mp4", 0.5, 1.5, reencode=True)
    with av.open(tmp_path / "clip.mp4") as file:
        frames = list(file.decode(audio=0))
        heard = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        begins = float(frames[0].time) + np.flatnonzero(np.abs(heard) > 0.1)[0] / rate
    assert begins == pytest.approx(0.5, abs=0.02)


def test_a_turned_video_stays_upright(video: MakeVideo, tmp_path: Path) -> None:
    path = video(
        "turned.mp4",
        range(0, 400, 40),
        size=(64, 32),
        prepare=lambda stream: stream.set_display_rotation(90),
    )
    for reencode in (False, True):
        target = tmp_path / f"clip{reencode}.mp4"
        cut_clip(path, target, 0.0, 0.2, reencode=reencode)
        info = probe(target)
        assert (info.width, info.height) == (32, 64)
        assert info.rotation == (0 if reencode else probe(path).rotation)


def test_an_odd_size_is_made_even(video: MakeVideo, tmp_path: Path) -> None:
    path = video("odd.avi", range(0, 400, 40), size=(33, 35), codec="mpeg4")
    cut_clip(path, tmp_path / "clip.mp4", 0.0, 0.2, reencode=True)
    info = probe(tmp_path / "clip.mp4")
    assert (info.width, info.height) == (32, 34)


@pytest.mark.parametrize("reencode", [False, True])
def test_what_fails_leaves_nothing(video: MakeVideo, tmp_path: Path, reencode: bool) -> None:
    path = video("short.mp4", range(0, 400, 40))
    (tmp_path / "words.mp4").write_text("words")
    out = tmp_path / "out"
    for source, begin, said in (
        (path, 5.0, "no pictures from 5.00"),
        (tmp_path / "words.mp4", 0.0, "not a video"),
        (tmp_path / "gone.mp4", 0.0, "no such file"),
    ):
        with pytest.raises(MediaError, match=said):
            cut_clip(source, out / "clip.mp4", begin, begin + 1, reencode=reencode)
        assert not out.exists() or not list(out.iterdir())
