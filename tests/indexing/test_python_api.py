"""The Python API: index, search, ground a video, load a model, show in a notebook."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_pages import parse
from tiny_zoo import SMALL, write_zoo
from video_clips import write_video

import vmrtool
from vmrtool.errors import MissingError, UsageError
from vmrtool.search.result import Moment, SearchResult

QUERY = "the red circle"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo of one model and three videos, of which one is none."""
    folder = tmp_path_factory.mktemp("archive")
    write_zoo(folder / "zoo", trained=True)
    (folder / "videos").mkdir()
    for name, seconds in (("a [1].mp4", 2), ("b.mp4", 3)):
        frames = range(0, seconds * 1000, 250)
        write_video(folder / "clip.mp4", frames).rename(folder / "videos" / name)
    (folder / "videos" / "words.mp4").write_text("words")
    return folder


@pytest.fixture(autouse=True)
def _zoo(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmrtool.assets.models.zoo_folder", lambda: archive / "zoo")
    monkeypatch.chdir(archive)


@pytest.fixture(scope="module")
def report(archive: Path) -> vmrtool.IndexReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vmrtool.assets.models.zoo_folder", lambda: archive / "zoo")
        return vmrtool.index(archive / "videos", archive / "vmrtool.db", "blocks", device="cpu")


def test_index_reports_what_it_did(report: vmrtool.IndexReport, archive: Path) -> None:
    assert (report.indexed, report.unchanged, report.seen) == (2, 0, 3)
    [failure] = report.failed
    assert failure.path.name == "words.mp4" and "not a video" in failure.error
    events: list[object] = []
    told: list[str] = []
    again = vmrtool.index(["videos"], retry_failed=False, on_event=events.append, tell=told.append)
    assert again.catalog == archive / "vmrtool.db"
    assert (again.indexed, again.unchanged, len(again.failed)) == (0, 2, 1)
    assert events and told


def test_index_refuses_what_makes_no_sense(report: vmrtool.IndexReport) -> None:
    with pytest.raises(UsageError, match="no such"):
        vmrtool.index("nowhere")
    with pytest.raises(MissingError, match="no such model"):
        vmrtool.index("videos", model="blokcs")


def test_ground_looks_at_all_of_one_video(report: vmrtool.IndexReport, archive: Path) -> None:
    with vmrtool.open("vmrtool.db", device="cpu") as opened:
        whole = opened.search(QUERY, top=100, per_video=100)
        for name in ("a [1].mp4", Path("videos/b.mp4"), str(archive / "videos" / "b.mp4")):
            found = opened.ground(name, QUERY, top=100)
            path = str(archive / "videos" / Path(name).name)
            wanted = [moment for moment in whole.moments if moment.video == path]
            assert wanted and [replace(m, rank=0) for m in found.moments] == [
                replace(m, rank=0) for m in wanted
            ]
            assert (found.videos_searched, found.shortlisted) == (1, 1)
        assert len(opened.ground("b", QUERY, top=1).moments) == 1
        for video, words, why in (
            ("c.mp4", QUERY, "no such video"),
            ("words.mp4", QUERY, "no features"),
            ("b.mp4", "!?", "word"),
        ):
            with pytest.raises(UsageError, match=why):
                opened.ground(video, words)


def test_a_model_grounds_features_of_ones_own(archive: Path) -> None:
    model = vmrtool.load_model("blocks", device="cpu")
    assert isinstance(model, vmrtool.GroundingModel) and model.extractor.backbone == "blocks"
    edges = np.arange(7) * (8 / SMALL.fps)
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    features = np.random.default_rng(0).standard_normal((6, model.config.video_dim))
    moments = vmrtool.ground(model, features, cells, QUERY, top=2)
    assert 1 <= len(moments) <= 2
    assert all(0 <= moment.start < moment.end <= edges[-1] for moment in moments)
    with pytest.raises(MissingError):
        vmrtool.load_model("none")


def test_a_model_without_weights_says_where_it_is_had() -> None:
    with pytest.MonkeyPatch.context() as patch:
        zoo = Path(__file__).parents[2] / "models"
        patch.setattr("vmrtool.assets.models.zoo_folder", lambda: zoo)
        with pytest.raises(UsageError) as refused:
            vmrtool.load_model("labels")
    assert 'model="labels"' in str(refused.value.remedy)


def test_a_notebook_shows_an_answer_as_a_table() -> None:
    hostile = "/a/<script>alert(1)</script>\x1b.mp4"
    moment = Moment(1, hostile, 3.04, 12.96, 0.875, 0.5, 0.1)
    result = SearchResult("a <b> & c", "m", "v.db", 1, 1, 1, 1.0, (moment,), notes=("<i>",))
    page = parse(result._repr_html_())
    assert not page.all("script") and not page.all("i")
    cells = [cell.text for cell in page.all("td")]
    assert cells == ["1", hostile.replace("\x1b", "\ufffd"), "3.0 s", "13.0 s", "0.875"]
    assert page.all("b")[0].text == "a <b> & c" and page.text.endswith("<i>")
    assert "no moments" in replace(result, moments=())._repr_html_()
