"""Orientation, pixel shape, resize and crop."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmrtool.media.geometry import MAX_ASPECT, Framing, Orientation, displayed_size

ONE = 65536
PICTURE = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)


def frame(a: int, b: int, c: int, d: int) -> SimpleNamespace:
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()
    return SimpleNamespace(
        side_data=[FakeSideData("SEI", b""), FakeSideData("DISPLAYMATRIX", matrix)]
    )


class FakeSideData(bytes):
    def __new__(cls, name: str, data: bytes) -> "FakeSideData":
        self = super().__new__(cls, data)
        self.type = SimpleNamespace(name=name)  # type: ignore[attr-defined]
        return self


@pytest.mark.parametrize(
    ("matrix", "rotation", "shown"),
    [
        ((ONE, 0, 0, ONE), 0, PICTURE),
        ((0, -ONE, ONE, 0), 90, np.rot90(PICTURE)),
        ((-ONE, 0, 0, -ONE), 180, np.rot90(PICTURE, 2)),
        ((0, ONE, -ONE, 0), 270, np.rot90(PICTURE, 3)),
        ((-ONE, 0, 0, ONE), 0, PICTURE[:, ::-1]),
        ((ONE, 0, 0, -ONE), 180, PICTURE[::-1]),
        ((ONE, 1200, -1200, ONE), 0, PICTURE),  # a slight tilt is no rotation
    ],
)
def test_display_matrices(
    matrix: tuple[int, int, int, int], rotation: int, shown: np.ndarray
) -> None:
    orientation = Orientation.of(frame(*matrix))
    assert orientation.rotation == rotation
    np.testing.assert_array_equal(orientation.apply(PICTURE), shown)


def test_no_matrix_is_upright() -> None:
    assert Orientation.of(SimpleNamespace(side_data=[])) == Orientation()


def test_displayed_size_applies_pixel_shape_then_rotation() -> None:
    turned = Orientation(transpose=True)
    assert displayed_size(704, 576, 16 / 11, Orientation()) == (1024, 576)
    assert displayed_size(704, 576, 16 / 11, turned) == (576, 1024)
    assert displayed_size(704, 576, 0, Orientation()) == (704, 576)


def test_short_side_keeps_the_shape_and_exact_does_not() -> None:
    short = Framing(("short", 256), (224, 224))
    assert short.scaled(480, 270) == (455, 256)
    assert short.scaled(320, 480) == (256, 384)
    assert short.size == (224, 224)
    exact = Framing(("exact", (96, 128)))
    assert exact.scaled(480, 270) == (128, 96)
    assert exact.size == (96, 128)


@settings(deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_every_picture_can_be_cropped_and_none_grows_huge(width: int, height: int) -> None:
    framing = Framing(("short", 40), (32, 40))
    scaled = framing.scaled(width, height)
    assert min(scaled) >= 40 and max(scaled) <= 40 * MAX_ASPECT
    picture = np.zeros((scaled[1], scaled[0], 3), np.uint8)
    assert framing.cut(picture).shape == (32, 40, 3)


def test_the_crop_is_the_centre_and_owns_its_memory() -> None:
    picture = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7, 1).repeat(3, axis=2)
    cut = Framing(("short", 5), (3, 3)).cut(picture)
    np.testing.assert_array_equal(cut, picture[1:4, 2:5])
    assert cut.base is None and cut.flags.c_contiguous


@pytest.mark.parametrize(
    ("resize", "crop"),
    [(("short", 256), None), (("short", 200), (224, 224)), (("exact", (100, 300)), (128, 128))],
)
def test_framings_that_cannot_be_are_refused(resize: tuple, crop: tuple | None) -> None:
    with pytest.raises(ValueError, match="crop"):
        Framing(resize, crop)
