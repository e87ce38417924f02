"""The HTML page in headless Chromium: it renders, plays, seeks, and its keys work.

Skips where there is no chromium, no chromedriver or no selenium.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from video_clips import write_video

from vmrtool.report.answers import AnswersPage
from vmrtool.search.curves import Curves, Evidence
from vmrtool.search.result import Moment, SearchResult

HOSTILE = "<img src=x onerror=alert(1)>#?%41 \N{SNAKE}.mp4"
QUERY = "</script><script>document.title = 'broken'</script> \"it's\" \N{SNAKE}"


def _program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {names[0]} here: install Debian's chromium and chromium-driver")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of two moments of a video with a hostile name, one of a video that is gone, and a
    short one of a long video."""
    folder = tmp_path_factory.mktemp("page")
    write_video(folder / "clip.mp4", range(0, 6000, 100), size=(64, 48)).rename(folder / HOSTILE)
    edges = np.arange(13) * 0.5
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    start, end = (np.eye(12, dtype=np.float32)[k] for k in (4, 6))
    moments = (
        Moment(1, str(folder / HOSTILE), 2.0, 3.5, 0.9, 0.8, 0.7),
        Moment(2, str(folder / "gone.mp4"), 1.0, 2.0, 0.5, 0.4, 0.3),
        Moment(3, str(folder / HOSTILE), 4.0, 5.0, 0.4, 0.3, 0.2),
        Moment(4, str(folder / "long.mp4"), 30.0, 30.5, 0.3, 0.2, 0.1),
    )
    write_video(folder / "long.mp4", range(0, 60_000, 500), size=(64, 48))

    def evidence(moment: Moment, query: str) -> Evidence:
        duration = 60.0 if moment.rank == 4 else 6.0
        return Evidence(duration, Curves(cells * (duration / 6.0), start, end, start))

    result = SearchResult(QUERY, "run", "a.db", 3, 3, 3, 1.0, moments)
    page = AnswersPage(folder / "page.html", evidence, folder)
    page.add(result)
    page.write()
    return (folder / "page.html").as_uri()


@pytest.fixture(autouse=True)
def _opened(browser: Any, address: str) -> None:
    browser.get(address)


def until(browser: Any, script: str, wanted: Callable[[Any], bool] = bool) -> Any:
    """What a script gives once it is as wanted; a busy machine takes its time."""
    deadline = time.monotonic() + 20
    while not wanted(value := browser.execute_script(f"return {script}")):
        assert time.monotonic() < deadline, f"{script} is still {value!r}"
        time.sleep(0.05)
    return value


def press(browser: Any, key: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(key).perform()


def test_names_and_queries_are_shown_as_text_and_nothing_goes_wrong(browser: Any) -> None:
    assert browser.title == "Moments found"
    shown = browser.execute_script(
        "return [document.querySelector('h2').innerText, document.querySelector('h3').innerText,"
        " document.querySelectorAll('h3 img').length, document.querySelectorAll('script').length]"
    )
    assert shown == [QUERY, f"1. {HOSTILE}", 0, 2]
    assert browser.get_log("browser") == []


def test_pictures_and_curves_are_drawn(browser: Any) -> None:
    wide = until(browser, "Array.from(document.images).map((picture) => picture.naturalWidth)", len)
    assert wide == [240] * 18
    curve = browser.execute_script(
        "const box = document.querySelector('.curve.start').getBoundingClientRect();"
        "return [box.width, box.height]"
    )
    assert curve[0] > 300 and curve[1] > 50


def test_space_plays_the_moment_and_it_stops_at_its_end(browser: Any) -> None:
    press(browser, "j")
    press(browser, " ")
    video = "document.querySelector('#q1m1 video')"
    at = until(browser, f"{video}.paused ? 0 : {video}.currentTime")
    assert 2.0 <= at < 3.5
    assert browser.execute_script(f"return {video}.error") is None
    until(browser, f"{video}.paused")
    stopped = browser.execute_script(f"return {video}.currentTime")
    assert stopped == pytest.approx(3.5, abs=0.3)
    where = float(
        browser.execute_script("return document.querySelector('.playhead').getAttribute('x1')")
    )
    assert where == pytest.approx(stopped / 6 * 1000, abs=60)


def test_the_address_alone_leads_to_the_moment(browser: Any) -> None:
    video = "document.querySelector('#q1m3 video')"
    browser.execute_script(f"{video}.load(); {video}.preload = 'auto'")
    until(browser, f"{video}.readyState >= 1 && {video}.currentTime", lambda at: at == 4.0)


def test_j_and_k_go_from_card_to_card(browser: Any) -> None:
    here = "document.activeElement.id"
    for key, expected in zip(
        "jjjjjkk", ("q1m1", "q1m2", "q1m3", "q1m4", "q1m4", "q1m3", "q1m2"), strict=True
    ):
        press(browser, key)
        assert browser.execute_script(f"return {here}") == expected
        assert browser.execute_script("return document.querySelectorAll('.current').length") == 1


def test_a_click_on_the_time_line_goes_there(browser: Any) -> None:
    from selenium.webdriver import ActionChains

    def click(card: str, number: int) -> None:
        line = browser.find_elements("css selector", f"#{card} .line")[number]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", line)
        ActionChains(browser).move_to_element(line).click().perform()

    click("q1m3", 0)
    until(browser, "document.querySelector('#q1m3 video').currentTime", lambda at: 3 <= at < 4)
    click("q1m4", 1)  # the middle of the second line is the moment's
    until(browser, "document.querySelector('#q1m4 video').currentTime", lambda at: 30 <= at < 31)
    # The player tells of its new time a little after it has it.
    until(
        browser,
        "Array.from(document.querySelectorAll('#q1m4 .playhead'),"
        " (head) => parseFloat(head.getAttribute('x1')))",
        lambda heads: heads == [pytest.approx(505, abs=10), pytest.approx(500, abs=80)],
    )


def test_a_short_moment_of_a_long_video_can_be_seen(browser: Any) -> None:
    def widths() -> list[float]:
        return browser.execute_script(
            "return Array.from(document.querySelectorAll('#q1m4 .main'),"
            " (mark) => mark.getBoundingClientRect().width)"
        )

    whole, large = widths()
    assert whole > 3 and large > 25
    assert len(browser.find_elements("css selector", "#q1m1 .line")) == 1


def test_copying_gives_the_path_and_says_so(browser: Any) -> None:
    browser.execute_script(
        "window.copied = []; navigator.clipboard.writeText = async (text) => { copied.push(text); }"
    )
    for button in browser.find_elements("css selector", "#q1m1 .copy"):
        browser.execute_script("arguments[0].click()", button)
    path, times = until(browser, "window.copied", lambda copied: len(copied) == 2)
    assert path.endswith("/" + HOSTILE) and times == "0:00:02.000 0:00:03.500"
    until(browser, "document.getElementById('said').textContent.startsWith('Copied: ')")


def test_a_video_that_is_gone_plays_nothing_and_says_so(browser: Any) -> None:
    for key in "jj ":
        press(browser, key)
    until(browser, "document.getElementById('said').textContent.includes('no video')")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wide = browser.execute_script(
            "const page = document.documentElement;"
            "return [window.innerWidth, page.scrollWidth - page.clientWidth]"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide == [width, 0]


def test_dark_is_dark(browser: Any) -> None:
    papers = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        papers.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    light, dark = (sum(map(int, p.removeprefix("rgb(").rstrip(")").split(","))) for p in papers)
    assert light > 600 and dark < 120
