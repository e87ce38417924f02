"""An HTML page taken apart, so that tests ask for what is in it rather than for how it is spelt."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "img", "br", "link", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    own_text: str = ""

    def all(self, tag: str, **wanted: str) -> list["Element"]:
        """The elements below with this tag, and these values among their attributes' words."""
        found = []
        for child in self.children:
            fits = all(
                value in child.attributes.get(name.rstrip("_"), "").split()
                for name, value in wanted.items()
            )
            found += [child] if child.tag == tag and fits else []
            found += child.all(tag, **wanted)
        return found

    @property
    def text(self) -> str:
        return self.own_text + "".join(child.text for child in self.children)


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("page", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        # In a place of its own, so that text keeps its order among the elements.
        self.open[-1].children.append(Element("", {}, [], data))


def parse(html: str) -> Element:
    """The page as a tree; every element is closed where it must be."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder.open == [builder.root]
    return builder.root


def answers_in(page: Element) -> Any:
    """The JSON that the page carries."""
    (script,) = [s for s in page.all("script") if s.attributes.get("id") == "answers"]
    return json.loads(script.text)
