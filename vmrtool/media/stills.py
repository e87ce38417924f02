"""A few pictures of a video, evenly spread over its length or over a moment of it."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing
from vmrtool.media.probe import probe


def stills(
    path: Path, count: int, *, seconds: float, height: int, widest: float = 3.0
) -> list[NDArray[np.uint8]]:
    """The pictures on display in the middle of `count` equal parts of the first `seconds`.

    Args:
        path: the video; it is decoded up to the last picture, none of it is kept.
        count: how many.
        seconds: how much of the video is divided, on the player's clock.
        height: of each picture, in pixels; the width keeps the video's shape.
        widest: wider videos than so many times their height are squeezed.

    Returns:
        RGB pictures uint8 (height, width, 3), fewer than `count` where the video is shorter.

    Raises:
        MediaError: it cannot be opened, or not one frame decodes.
    """
    return moment_stills(path, 0.0, seconds, count=count, height=height, widest=widest)


def moment_stills(
    path: Path, start: float, end: float, *, count: int, height: int, widest: float = 3.0
) -> list[NDArray[np.uint8]]:
    """The pictures on display in the middle of `count` equal parts of a moment.

    Decoding begins at the key frame before the moment where the file can seek.

    Args:
        path: the video.
        start: of the moment, in seconds on the player's clock.
        end: of the moment, after its start.
        count: how many.
        height: of each picture, in pixels; the width keeps the video's shape.
        widest: wider videos than so many times their height are squeezed.

    Returns:
        RGB pictures uint8 (height, width, 3), fewer than `count` where the video ends before.

    Raises:
        MediaError: it cannot be opened, or not one frame decodes.
    """
    info = probe(path)
    width = max(1, round(height * min(widest, info.width / info.height)))
    part = (end - start) / count
    framing = Framing(("exact", (height, width)))
    with FrameReader(path, fps=1 / part, framing=framing, begin=start + part / 2) as reader:
        return [picture.copy() for picture in islice(reader, count)]


def as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """A picture, RGB uint8 (H, W, 3), as the bytes of a JPEG file."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    encoder.options = {"qmin": "5", "qmax": "5"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = frame.reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
