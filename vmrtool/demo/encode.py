"""Writes a scene as an H.264 mp4 file whose timestamps are the plan's, regular or not."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vmrtool.demo.render import render_times
from vmrtool.demo.scenes import HEIGHT, WIDTH, Scene
from vmrtool.files import whole

_CHUNK = 32  # frames rendered at a time
_OPTIONS = {"preset": "veryfast", "crf": "24", "bf": "0", "g": "90"}


@dataclass(frozen=True)
class VideoFile:
    """A rendered video: its id, file name, frames and real length in seconds."""

    vid: str
    name: str
    frames: int
    duration_s: float


def write_video(scene: Scene, directory: Path) -> VideoFile:
    """Render and encode `scene` as `directory/<vid>.mp4`; a broken run leaves no such file."""
    name = f"{scene.vid}.mp4"
    with whole(directory / name) as place:
        _encode(scene, place)
        duration_s = _real_duration(place)
    return VideoFile(scene.vid, name, len(scene.pts), duration_s)


def _encode(scene: Scene, path: Path) -> None:
    durations = np.diff(scene.pts, append=scene.end_pts)
    lasts = dict(zip(scene.pts.tolist(), durations.tolist(), strict=True))
    with av.open(str(path), "w", format="mp4") as container:
        rate = scene.rate or Fraction(len(scene.pts), 1) / (scene.end_pts * scene.time_base)
        stream = container.add_stream("libx264", rate=rate.limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = dict(_OPTIONS)
        stream.time_base = stream.codec_context.time_base = scene.time_base
        stream.codec_context.thread_count = 1  # the same bytes on any number of cores

        def send(picture: av.VideoFrame | None) -> None:
            for packet in stream.encode(picture):
                packet.duration = lasts[packet.pts]
                container.mux(packet)

        for first in range(0, len(scene.pts), _CHUNK):
            frames = render_times(scene, scene.frame_times[first : first + _CHUNK])
            for pixels, pts in zip(frames, scene.pts[first:].tolist(), strict=False):
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts, picture.time_base = pts, scene.time_base
                send(picture)
        send(None)


def _real_duration(path: Path) -> float:
    """Length in seconds as a player sees it."""
    with av.open(str(path), format="mp4") as container:
        stream = container.streams.video[0]
        if stream.duration is None or stream.time_base is None:
            raise AssertionError(f"{path} was written without a duration")
        return float(stream.duration * stream.time_base)
