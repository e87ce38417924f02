"""From a stored picture to the network's input: orientation, pixel shape, resize, crop."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Resize = tuple[Literal["short"], int] | tuple[Literal["exact"], tuple[int, int]]

# Beyond this aspect ratio a picture is squeezed rather than scaled: a strip of 20,000 x 2 pixels
# would otherwise ask for gigabytes, and a centre crop sees next to nothing of it anyway.
MAX_ASPECT = 8


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is turned for display: transposed first, then mirrored."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: Any) -> "Orientation":
        """The orientation in a decoded frame's display matrix; upright where it has none.

        The matrix (a b; c d) sends the stored point (x, y) to (a x + c y, b x + d y), y
        downwards. It is rounded to the nearest of the eight quarter turns and mirrorings.
        """
        for data in frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                matrix = np.frombuffer(bytes(data), dtype=np.int32).reshape(3, 3)
                (a, b), (c, d) = matrix[:2, :2].tolist()
                if abs(a) + abs(d) >= abs(b) + abs(c):
                    return cls(False, a < 0, d < 0)
                return cls(True, c < 0, b < 0)
        return cls()

    @property
    def rotation(self) -> int:
        """Degrees anticlockwise by which the stored picture is turned, mirroring aside."""
        if self.transpose:
            return 90 if self.flip_y else 270
        return 180 if self.flip_y else 0

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The stored picture (H, W, 3) as displayed; a view."""
        if self.transpose:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def displayed_size(
    width: int, height: int, pixel_aspect: float, orientation: Orientation
) -> tuple[int, int]:
    """Width and height on a screen of square pixels of a stored picture of `width` x `height`."""
    if pixel_aspect > 0:
        width = max(1, round(width * pixel_aspect))
    return (height, width) if orientation.transpose else (width, height)


@dataclass(frozen=True)
class Framing:
    """How a displayed picture becomes the network's input: resize, then centre crop.

    Attributes:
        resize: ("short", n) scales the shorter side to n and keeps the shape; ("exact", (h, w))
            scales to just that.
        crop: (h, w) cut from the centre afterwards, or None for all of it.
    """

    resize: Resize
    crop: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuses a crop that does not fit and a short side without one."""
        kind, size = self.resize
        least = (size, size) if isinstance(size, int) else size
        if kind == "short" and self.crop is None:
            raise ValueError("a short-side resize needs a crop: a batch has one size")
        if self.crop is not None and (self.crop[0] > least[0] or self.crop[1] > least[1]):
            raise ValueError(f"a crop of {self.crop} does not fit a picture resized to {size}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every picture that leaves."""
        if self.crop is not None:
            return self.crop
        size = self.resize[1]
        assert not isinstance(size, int)
        return size

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the resize of a picture displayed at `width` x `height`."""
        size = self.resize[1]
        if not isinstance(size, int):
            return size[1], size[0]
        scale = size / min(width, height)
        longest = size * MAX_ASPECT
        return (
            min(longest, max(size, round(width * scale))),
            min(longest, max(size, round(height * scale))),
        )

    def cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The centre crop of a resized picture (H, W, 3), in memory of its own."""
        if self.crop is not None:
            height, width = self.crop
            top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
            picture = picture[top : top + height, left : left + width]
        return np.array(picture, order="C")
