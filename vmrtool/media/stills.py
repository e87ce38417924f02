"""A few pictures of a video, evenly spread over its length."""

from pathlib import Path

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
    info = probe(path)
    width = max(1, round(height * min(widest, info.width / info.height)))
    # Every second tick of a grid twice as fine is the middle of a part.
    framing = Framing(("exact", (height, width)))
    pictures = []
    with FrameReader(path, fps=2 * count / seconds, framing=framing) as reader:
        for tick, picture in enumerate(reader):
            if tick % 2:
                pictures.append(picture.copy())
            if len(pictures) == count:
                break
    return pictures
