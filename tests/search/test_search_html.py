"""`vmrtool search --html`: the page of an answer, without a browser."""

import base64
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from click.testing import Result
from html_pages import Element, answers_in, parse
from search_catalog import random_videos, write_catalog, write_model
from typer.testing import CliRunner
from video_clips import write_video

from vmrtool.cli import app
from vmrtool.report.answers import AnswersPage, answer_section
from vmrtool.report.html import section_html
from vmrtool.report.timeline import Stretch, around
from vmrtool.search.curves import Curves, Evidence
from vmrtool.search.result import Moment, SearchResult

QUERY = "a person opens the door"
HOSTILE = "<script>alert('x')<\n>\"&#50%\N{SNAKE}é.mp4"
GONE = "gone.mp4"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of three videos: one of a hostile name, one plain, one gone."""
    folder = tmp_path_factory.mktemp("archive")
    run = write_model(folder / "run")
    made = list(random_videos(3).values())
    videos = dict(zip((HOSTILE, "plain.mp4", GONE), made, strict=True))
    write_catalog(folder / "vmrtool.db", videos, model=str(run))
    for name in (HOSTILE, "plain.mp4"):
        seconds = float(videos[name][1][-1, 1])
        write_video(folder / "clip.mp4", range(0, int(seconds * 1000), 500), size=(64, 48))
        (folder / "clip.mp4").rename(folder / name)
    return folder


@pytest.fixture(autouse=True)
def _inside(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive)


def search(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["search", *arguments])


@pytest.fixture(scope="module")
def text(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "new" / "page.html"
    done = search(QUERY, "--html", str(file), "--catalog", str(archive / "vmrtool.db"))
    assert done.exit_code == 0 and done.stderr == f"page: {file}\n"
    assert [path.name for path in file.parent.iterdir()] == ["page.html"]
    return file.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Element:
    return parse(text)


def cards(page: Element) -> list[Element]:
    return page.all("article", class_="card")


def curves_of(card: Element) -> list[Element]:
    """The start and end curves of the video's whole time line."""
    return card.all("svg", class_="line")[0].all("path", class_="curve")


def card_of(page: Element, name: str) -> Element:
    return next(card for card in cards(page) if name in card.all("h3")[0].text)


def test_every_moment_is_a_card_in_its_order(page: Element) -> None:
    (answer,) = answers_in(page)
    assert answer["schema"] == "vmrtool.search/1" and answer["query"] == QUERY
    assert len(answer["moments"]) == len(cards(page)) > 3
    for card, moment in zip(cards(page), answer["moments"], strict=True):
        assert card.all("h3")[0].text.startswith(f"{moment['rank']}. ")
        assert float(card.attributes["data-start"]) == moment["start"]
        assert float(card.attributes["data-end"]) == moment["end"]
        assert f"{moment['score']:.3f}" in card.all("dl")[0].text
        copied = [b.attributes["data-copy"] for b in card.all("button", class_="copy")]
        assert copied[0] == moment["video"] and len(copied[1].split()) == 2


def test_videos_play_from_start_to_end_without_a_script(page: Element, archive: Path) -> None:
    played = [card for card in cards(page) if card.all("video")]
    assert played
    for card in played:
        (video,) = card.all("video")
        address = urlsplit(video.attributes["src"])
        assert address.scheme == "file" and not address.query
        assert Path(unquote(address.path)).is_file()
        start, end = map(float, address.fragment.removeprefix("t=").split(","))
        assert start == pytest.approx(float(card.attributes["data-start"]), abs=1e-3)
        assert end == pytest.approx(float(card.attributes["data-end"]), abs=1e-3)
        assert "controls" in video.attributes and video.attributes["aria-label"]
        assert re.fullmatch(r"[!-~]+", video.attributes["src"])


def test_a_card_has_pictures_of_its_moment_and_a_time_line(page: Element) -> None:
    card = card_of(page, "plain.mp4")
    pictures = card.all("ol", class_="strip")[0].all("img")
    assert len(pictures) == 6
    for picture in pictures:
        assert picture.attributes["src"].startswith("data:image/jpeg;base64,/9j/")
        assert picture.attributes["alt"].startswith("At ")
    line = card.all("figure")[0].all("svg", class_="line")[0]
    said = line.attributes["aria-label"]
    assert "Time line of" in said and "The start is most likely at" in said
    assert len(line.all("path", class_="curve")) == 2
    assert len(line.all("path", class_="inside")) == 1
    same_video = [c for c in cards(page) if "plain.mp4" in c.all("h3")[0].text]
    assert len(line.all("rect", class_="span")) == len(same_video)
    assert len(line.all("rect", class_="main")) == 1


def test_a_hostile_name_is_text(page: Element, text: str, archive: Path) -> None:
    assert "<script>alert" not in text and len(page.all("script")) == 2
    card = card_of(page, "alert")
    shown = HOSTILE.replace("\n", "\ufffd")
    assert card.all("h3")[0].text.endswith(f"/{shown}")
    assert card.all("button", class_="copy")[0].attributes["data-copy"] == str(archive / HOSTILE)
    (video,) = card.all("video")
    assert unquote(urlsplit(video.attributes["src"]).path) == str(archive / HOSTILE)
    assert card.all("img")


def test_a_file_that_is_gone_has_a_card_that_says_so(page: Element) -> None:
    card = card_of(page, GONE)
    assert "no longer there" in card.text and "vmrtool index" in card.text
    assert not card.all("video") and not card.all("img")
    assert len(curves_of(card)) == 2


def test_nothing_is_fetched_from_elsewhere(page: Element, text: str) -> None:
    assert not re.search(r"(https?:)?//\w", re.sub(r"file:///|data:[^\"]*", "", text))
    assert not page.all("link") and not page.all("iframe")
    assert all("src" not in script.attributes for script in page.all("script"))
    (policy,) = [m for m in page.all("meta") if "http-equiv" in m.attributes]
    assert "default-src 'none'" in policy.attributes["content"]


def test_a_screen_reader_finds_its_way(page: Element) -> None:
    (html,) = page.all("html")
    assert html.attributes["lang"] == "en" and page.all("title")[0].text
    for landmark in ("header", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1
    ids = [e.attributes["id"] for tag in ("section", "article", "h2", "h3") for e in page.all(tag)]
    assert len(ids) == len(set(ids))
    for named in page.all("section") + page.all("article"):
        assert named.attributes["aria-labelledby"] in ids
    assert all(picture.attributes["alt"] for picture in page.all("img"))
    for drawing in page.all("svg"):
        assert drawing.attributes.get("aria-hidden") == "true" or drawing.attributes["aria-label"]
    skip = page.all("a", class_="skip")[0].attributes["href"]
    assert skip == "#" + page.all("main")[0].attributes["id"]


def test_many_queries_are_one_page(tmp_path: Path) -> None:
    hostile = 'the </script><img src=x onerror=alert(1)> "door" \N{SNAKE}\u2028 it\'s'
    (tmp_path / "queries.txt").write_text(f"{QUERY}\n{hostile}\n", "utf-8")
    file = tmp_path / "page.html"
    done = search("--queries", str(tmp_path / "queries.txt"), "--html", str(file), "--top", "2")
    assert done.exit_code == 0 and done.stdout.count("\n") == 2
    text = file.read_text("utf-8")
    page = parse(text)
    assert [answer["query"] for answer in answers_in(page)] == [QUERY, hostile]
    assert text.count("</script>") == 2 and "<img src=x" not in text
    first, second = page.all("h2")
    assert first.text == QUERY and second.text == " ".join(hostile.split())
    links = page.all("nav")[0].all("a")
    assert [link.attributes["href"] for link in links] == ["#q1", "#q2"]
    assert [len(section.all("article")) for section in page.all("section")] == [2, 2]


def test_an_answer_without_moments_is_a_page(tmp_path: Path) -> None:
    done = search(QUERY, "--video", "*.avi", "--html", str(tmp_path / "none.html"))
    assert done.exit_code == 0
    page = parse((tmp_path / "none.html").read_text("utf-8"))
    assert not cards(page) and "No moments." in page.all("main")[0].text
    assert "No video fits" in page.all("p", class_="note")[0].text


def test_words_never_seen_are_on_the_page(tmp_path: Path) -> None:
    search("a person yodels", "--top", "1", "--html", str(tmp_path / "page.html"))
    page = parse((tmp_path / "page.html").read_text("utf-8"))
    assert "never seen: yodels" in page.all("p", class_="note")[0].text


def test_a_folder_is_no_page(tmp_path: Path) -> None:
    done = search(QUERY, "--html", str(tmp_path))
    assert done.exit_code == 2 and done.stdout == "" and "a folder" in done.stderr


def test_a_model_without_curves_still_has_a_page(archive: Path) -> None:
    moment = Moment(1, str(archive / "plain.mp4"), 1.0, 2.0, 0.5, 0.5, 0.0)
    result = SearchResult("labels", "labels", "a.db", 1, 1, 1, 1.0, (moment,))
    section = answer_section(result, lambda moment, query: Evidence(4.0, None))
    (card,) = cards(parse(section_html(section, 1)))
    assert "no start and end curves" in card.text and not card.all("path")
    assert len(card.all("img")) == 6
    (span,) = card.all("rect", class_="span")
    assert float(span.attributes["x"]) == 250 and float(span.attributes["width"]) == 250


def test_a_moment_of_ten_hours_has_a_line_of_its_surroundings(tmp_path: Path) -> None:
    day = str(tmp_path / "day.mp4")
    moments = (
        Moment(1, day, 18_000.0, 18_008.0, 0.5, 0.5, 0.5),
        Moment(2, day, 18_010.0, 18_016.0, 0.5, 0.5, 0.5),
        Moment(3, day, 35_996.0, 36_000.0, 0.5, 0.5, 0.5),
    )
    edges = np.arange(36_001.0)
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    start, end = np.zeros((2, 36_000), np.float32)
    start[18_000], end[18_007], start[20_000] = 0.25, 0.125, 0.5
    evidence = Evidence(36_000.0, Curves(cells, start, end, None))
    result = SearchResult("q", "m", "a.db", 1, 1, 1, 1.0, moments)
    first, _, last = cards(parse(section_html(answer_section(result, lambda m, q: evidence), 1)))

    whole, large = first.all("svg", class_="line")
    assert len(whole.all("rect", class_="span")) == 3
    (mark,) = whole.all("rect", class_="main")
    assert float(mark.attributes["width"]) == 5 and float(mark.attributes["x"]) == 497.6
    assert (float(large.attributes["data-from"]), float(large.attributes["data-to"])) == (
        17_980.0,
        18_028.0,
    )
    spans = [
        (float(span.attributes["x"]), float(span.attributes["width"]))
        for span in large.all("rect", class_="span")
    ]
    assert spans == [(625.0, 125.0), (416.7, 166.7)]  # the neighbour, then the moment over it
    assert "5:00:28.0" in large.attributes["aria-label"]
    for kind, x in (("start", 416.7), ("end", 562.5)):
        (curve,) = large.all("path", class_=kind)
        points = [tuple(map(float, p.split(","))) for p in curve.attributes["d"][1:].split("L")]
        assert len(points) == 2 * 48
        assert min(points, key=lambda point: (point[1], point[0]))[0] == x
    # At the end of the video there is nothing after the moment to be shown.
    assert last.all("svg", class_="line")[1].attributes["data-to"] == "36000.0"


@pytest.mark.parametrize(
    ("start", "end", "duration", "stretch"),
    [
        (10.0, 13.0, 38.0, None),  # wide enough as it is
        (4.0, 4.5, 15.0, None),  # a part of it would be nearly all of it
        (100.0, 110.0, 600.0, (75.0, 135.0)),
        (0.0, 1.0, 60.0, (0.0, 10.0)),
        (59.0, 60.0, 60.0, (50.0, 60.0)),
    ],
)
def test_which_moments_need_a_second_line(
    start: float, end: float, duration: float, stretch: tuple[float, float] | None
) -> None:
    assert around(start, end, duration) == (None if stretch is None else Stretch(*stretch))


def test_a_file_that_is_no_video_any_more_says_why(tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_text("words")
    moment = Moment(1, str(tmp_path / "words.mp4"), 1.0, 2.0, 0.5, 0.5, 0.0)
    result = SearchResult("q", "m", "a.db", 1, 1, 1, 1.0, (moment,))
    section = answer_section(result, lambda moment, query: None)
    (card,) = cards(parse(section_html(section, 1)))
    assert "No pictures: " in card.text and "not a video" in card.text


def test_a_long_page_has_small_cards_at_its_end(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmrtool.report.answers._MOST_SHOWN", 3)
    asked: list[Moment] = []

    def evidence(moment: Moment, query: str) -> Evidence:
        asked.append(moment)
        return Evidence(4.0, None)

    moments = tuple(
        Moment(rank, str(archive / f"gone{rank}.mp4"), 1.0, 2.0, 0.5, 0.5, 0.0)
        for rank in range(1, 6)
    )
    result = SearchResult("q", "m", "a.db", 5, 5, 5, 1.0, moments)
    page = AnswersPage(tmp_path / "page.html", evidence)
    page.add(result)
    page.add(result)
    page.write()
    assert len(asked) == 5
    assert len(cards(parse((tmp_path / "page.html").read_text("utf-8")))) == 10


def test_a_name_that_is_not_utf8_plays(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    write_video(tmp_path / "clip.mp4", range(0, 2000, 500)).rename(path)
    shown = str(tmp_path / "caf\ufffd.mp4")
    coded = base64.b64encode(os.fsencode(path)).decode()
    moment = Moment(1, shown, 0.0, 1.0, 0.5, 0.5, 0.5, video_b64=coded)
    result = SearchResult("q", "m", "a.db", 1, 1, 1, 1.0, (moment,))
    (card,) = cards(parse(section_html(answer_section(result, lambda m, q: None), 1)))
    assert "caf%E9.mp4#t=" in card.all("video")[0].attributes["src"]
    assert card.all("img")


def test_several_catalogs_have_one_page(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    write_catalog(other, random_videos(1, seed=9), model=str(archive / "run"))
    file = tmp_path / "page.html"
    both = ("--catalog", str(archive / "vmrtool.db"), "--catalog", str(other))
    assert search(QUERY, *both, "--html", str(file), "--per-video", "1").exit_code == 0
    shown = cards(parse(file.read_text("utf-8")))
    assert len(shown) == 4 and all(len(curves_of(card)) == 2 for card in shown)
