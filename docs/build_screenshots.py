"""Write docs/images: what the page, the table of answers and the progress of indexing look like.

    python docs/build_screenshots.py [FOLDER]

Everything is made by the program itself, in FOLDER or a temporary one: it renders the demo archive,
indexes it and searches it, on a terminal of which the screen is taken as SVG. The page is taken by
headless Chromium, through selenium: Debian's packages chromium and chromium-driver.
"""

import base64
import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parent / "images"
QUERY = "the blue triangle jumps up and down"
COLUMNS = 84
PAGES = (  # name, width, height, dark
    ("page-light", 1040, 900, False),
    ("page-dark", 1040, 900, True),
    ("page-phone", 390, 844, False),
)


def on_terminal(folder: Path, *words: str) -> str:
    """Everything that a command writes to a terminal, with its colours and cursor movements."""
    ours, theirs = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": "40", "TERM": "xterm-256color"}
    environment = {**os.environ, **size, "VMRTOOL_CATALOG": "vmrtool.db"}
    command = [sys.executable, "-m", "vmrtool", *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as running:
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so at the end
                break
            if not part:
                break
            written += part
    os.close(ours)
    if running.returncode:
        sys.exit(f"vmrtool {' '.join(words)} failed:\n{written.decode()}")
    return written.decode()


def screen(command: str, text: str, name: str) -> None:
    """Writes what a terminal shows after `command` as SVG, without fonts from elsewhere."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "dim"), command))
    console.print(Text.from_ansi(text.replace("\r\n", "\n").rstrip()))
    svg = console.export_svg(title="vmrtool")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (IMAGES / f"{name}.svg").write_text(svg, encoding="utf-8")


def half_way(written: str) -> str:
    """The screen when half of the videos were indexed: what came before, and the live line."""
    live = [part for part in re.split(r"\r|\x1b\[2K", written) if re.search(r"\d/\d+ videos", part)]
    head = written.split("━")[0]  # the bar
    head = re.sub(r"\x1b\[\?25[hl]|\x1b\[\d*[AK]|\r(?!\n)", "", head)

    def distance(line: str) -> int:
        done, videos = map(int, re.findall(r"(\d+)/(\d+) videos", line)[0])
        return abs(2 * done - videos)

    line = min(reversed(live), key=distance)
    head = re.sub(r"(\s|\x1b\[[\d;]*m)+$", "", head) + "\x1b[0m"
    return head + "\n" + line.strip("\r\n")


def pictures_of(page: Path) -> None:
    """Takes the page in light, in dark and on a phone."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    browser: Any = webdriver.Chrome(
        options=options, service=Service(shutil.which("chromedriver") or "chromedriver")
    )
    try:
        for name, width, height, dark in PAGES:
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            size = {"width": width, "height": height, "deviceScaleFactor": 1.5, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(page.as_uri())
            time.sleep(2)  # players show that they load
            taken = browser.execute_cdp_cmd(
                "Page.captureScreenshot", {"format": "webp", "quality": 82}
            )
            (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))
    finally:
        browser.quit()


def main(folder: Path) -> None:
    """Makes all pictures, with the demo archive in `folder`."""
    IMAGES.mkdir(exist_ok=True)
    on_terminal(folder, "demo", "render", "demo", "--videos", "6", "--seed", "5")
    words = ("index", "demo", "--model", "blocks")
    screen("vmrtool index demo", half_way(on_terminal(folder, *words)), "progress")
    words = ("search", QUERY, "--top", "5")
    on_terminal(folder, *words, "--html", "found.html")
    screen(f'vmrtool search "{QUERY}" --top 5', on_terminal(folder, *words), "table")
    page = folder / "found.html"
    text = page.read_text(encoding="utf-8")
    # Where the archive lay while pictures were taken is of no interest.
    page.write_text(text.replace(f"<code>{folder}", "<code>/home/me"), encoding="utf-8")
    pictures_of(page)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
