"""What MkDocs does not do by itself: model cards and other pages from outside docs/ in the site.

They stay where they belong in the repository; here they get a place in the site, and links to and
from them are turned to it.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).parent.parent
PAGES = {
    **{
        f"models/{card.parent.name}/README.md": f"zoo/{card.parent.name}.md"
        for card in sorted(REPOSITORY.glob("models/*/README.md"))
    },
    "benchmarks/README.md": "zoo/benchmarks.md",
    "CHANGELOG.md": "zoo/changelog.md",
}
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages from outside docs/."""
    for source, place in PAGES.items():
        text = (REPOSITORY / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns links to where their targets are in the site; those that have no place become text."""
    here = page.file.src_uri
    places = {place: source for source, place in PAGES.items()}
    source = places.get(here, f"docs/{here}")

    def turned(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = PAGES.get(path) or path.removeprefix("docs/")
        if path not in PAGES and not path.startswith("docs/"):
            return text
        return f"[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(turned, markdown)
