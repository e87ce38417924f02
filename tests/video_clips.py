"""Small videos made on the spot: every frame's brightness says which one it is."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

LEVEL_STEP = 6  # between the grey levels of neighbouring frames: above what coding blurs


def level(index: int) -> int:
    """Grey level of frame `index`; tells 37 frames apart."""
    return 16 + LEVEL_STEP * (index % 37)


def which(picture: NDArray[np.uint8]) -> int:
    """The frame whose picture this is."""
    return round((float(picture.mean()) - 16) / LEVEL_STEP)


def write_video(
    path: Path,
    times_ms: Sequence[int],
    *,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    size: tuple[int, int] = (32, 32),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    container: str | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    audio_ms: int = 0,
    last_ms: int = 40,
    prepare: Callable[[Any], None] | None = None,
) -> Path:
    """Writes one frame at each of `times_ms`; grey ones of `size` (width, height) by default."""
    with av.open(path, "w", format=container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=25)
        if pictures is not None:
            size = (pictures[0].shape[1], pictures[0].shape[0])
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"crf": "4", "preset": "ultrafast", **(codec_options or {})}
        elif codec_options:
            stream.options = codec_options
        if prepare is not None:
            prepare(stream)
        sound = out.add_stream("aac", rate=16000, layout="mono") if audio_ms else None
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 16 * audio_ms), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts, silence.time_base = 16000, 0, Fraction(1, 16000)
            out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
        ends = [*times_ms[1:], times_ms[-1] + last_ms]
        for index, (start, end) in enumerate(zip(times_ms, ends, strict=True)):
            if pictures is not None:
                picture = pictures[index % len(pictures)]
            else:
                picture = np.full((size[1], size[0], 3), level(index), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = start, Fraction(1, 1000)
            frame.duration = end - start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
