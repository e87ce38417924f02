"""Pictures of cases, looked at by their colours: what is drawn where."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from vmrtool.report.cases import Answer, Case, draw_case, still_count
from vmrtool.search.curves import Curves

TRUTH, FIRST, SECOND, START = "009e73", "d55e00", "cc79a7", "0072b2"
LEFT, WIDTH, DPI = 1.5, 8.25, 120  # inches; the time line's place in the picture


def make_curves(n: int, duration: float, *, segments: bool = True) -> Curves:
    edges = np.linspace(0, duration, n + 1)
    start, end = np.zeros((2, n), np.float32)
    start[n // 4], end[n // 2] = 0.9, 0.7
    inside = np.linspace(0, 1, n).astype(np.float32) if segments else None
    return Curves(np.stack([edges[:-1], edges[1:]], axis=1), start, end, inside)


def picture(case: Case, folder: Path) -> np.ndarray:
    """The drawn picture, uint8 (H, W, 3)."""
    draw_case(case, folder / "case.png")
    assert [path.name for path in folder.iterdir()] == ["case.png"]
    return np.rint(imread(folder / "case.png")[:, :, :3] * 255).astype(np.uint8)


def seconds_of(pixels: np.ndarray, colour: str, longest: float) -> tuple[float, float]:
    """From when to when the time line shows a colour anywhere."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (0, 2, 4)])
    columns = np.flatnonzero((pixels == wanted).all(axis=2).any(axis=0))
    columns = columns[columns > LEFT * DPI]  # left of it are names and a legend
    low, high = ((x / DPI - LEFT) / WIDTH * longest for x in (columns[0], columns[-1] + 1))
    return low, high


def test_bars_stand_at_their_times(tmp_path: Path) -> None:
    case = Case(
        "v", "a dog", 40.0, ((10.0, 20.0),),
        (Answer("ours", ((24.0, 30.0, 0.9),), 0.0), Answer("theirs", ((12.0, 15.0, 0.4),), 0.3)),
    )  # fmt: skip
    pixels = picture(case, tmp_path)
    heading = np.flatnonzero((pixels < 80).all(axis=2).any(axis=1))[0]
    assert heading < 40
    below = pixels[100:]
    assert seconds_of(below, TRUTH, 40.0) == pytest.approx((10.0, 20.0), abs=0.1)
    assert seconds_of(below, FIRST, 40.0) == pytest.approx((24.0, 30.0), abs=0.1)
    assert seconds_of(below, SECOND, 40.0) == pytest.approx((12.0, 15.0), abs=0.1)


def test_the_axis_reaches_a_truth_past_the_videos_end(tmp_path: Path) -> None:
    case = Case("v", "q", 8.0, ((6.0, 10.0),), (Answer("m", ((0.0, 5.0, 1.0),), 0.0),))
    pixels = picture(case, tmp_path)[70:]
    assert seconds_of(pixels, TRUTH, 10.0) == pytest.approx((6.0, 10.0), abs=0.05)
    assert seconds_of(pixels, FIRST, 10.0) == pytest.approx((0.0, 5.0), abs=0.05)


def test_key_frames_lie_over_their_parts_of_the_time_line(tmp_path: Path) -> None:
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)
    stills = tuple(np.broadcast_to(colour, (30, 40, 3)) for colour in colours)
    answer = Answer("m", ((1.0, 2.0, 1.0),), 0.0)
    pixels = picture(
        Case("v", "q", 8.0, ((3.0, 5.0),), (answer,), stills=stills, n_parts=4), tmp_path
    )
    for k, colour in enumerate(("fa0000", "00fa00", "0000fa")):
        assert seconds_of(pixels, colour, 8.0) == pytest.approx((2 * k, 2 * k + 2), abs=0.05)


def test_curves_add_to_the_picture(tmp_path: Path) -> None:
    def height(curves: Curves | None) -> int:
        case = Case("v", "q", 20.0, ((5.0, 9.0),), (Answer("m", (), 0.0),), curves)
        return len(picture(case, tmp_path))

    heights = [height(c) for c in (None, make_curves(16, 20, segments=False), make_curves(16, 20))]
    assert heights[0] + 100 < heights[1] < heights[2] - 80
    case = Case("v", "q", 20.0, ((5.0, 9.0),), (Answer("m", (), 0.0),), make_curves(16, 20))
    tall = picture(case, tmp_path)[: heights[1] - 60]  # without P(inside), of the same colour
    # P(start) rises at snippet 4 of 16 and is flat at 0 elsewhere: its highest pixels are there.
    rows = np.flatnonzero((tall[:, int(LEFT * DPI) + 2 :] == [0, 0x72, 0xB2]).all(axis=2).any(1))
    top = tall[rows[0] : rows[0] + 4]
    assert seconds_of(top, START, 20.0) == pytest.approx((5.0, 6.25), abs=0.1)


@pytest.mark.parametrize(
    ("query", "vid"),
    [
        ("it costs $5 and $6, x^2_{3", "a$b$"),
        ("word " * 60, "name" * 30),
        ("", "v"),
        ("人が走る \x1b[31m", "\ufffd.mp4"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_any_words_can_be_drawn(query: str, vid: str, tmp_path: Path) -> None:
    many = tuple((float(k), k + 0.5) for k in range(9))
    answers = tuple(Answer(f"${k}$" * k, ((0.0, 0.0, 0.5),) * 5, 0.0) for k in range(6))
    case = Case(vid, query, 5400.0, many, answers, make_curves(3, 5400))
    assert picture(case, tmp_path).shape[1] == 1200


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def fail(self: Figure, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_case(Case("v", "q", 1.0, ((0.0, 1.0),), ()), tmp_path / "case.png")
    assert list(tmp_path.iterdir()) == []


def test_key_frames_fill_the_line() -> None:
    assert still_count(1920, 1080) == 5
    assert still_count(1080, 1920) == 16
    assert still_count(400, 300) == 7
