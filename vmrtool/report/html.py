"""Answers as one HTML file that needs nothing else: no server, no network, no script to be read.

The page's frame, style and script are the files `page.*` beside this one. All that comes from
outside, names of files and queries, is escaped here and nowhere else.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from vmrtool.catalog.paths import printable
from vmrtool.files import whole
from vmrtool.report.timeline import Row, Stretch, around, lens, timeline
from vmrtool.report.times import clock
from vmrtool.search.curves import Curves


@dataclass(frozen=True)
class Fact:
    """A figure of a moment, what it means in a few words, and how much of its whole it is."""

    name: str
    value: str
    meaning: str
    share: float | None = None


@dataclass(frozen=True)
class Card:
    """A moment of a video and what there is to show of it.

    `file` is the video's, None where it cannot be played; `problem` then says why, or why there
    are no pictures. `pictures` are JPEGs from the middle of equal parts of the moment, `n_parts`
    of them in all (the last may be missing). `curves` are None where the model gives none.
    """

    title: str
    path: str
    file: Path | None
    start: float
    end: float
    duration: float
    facts: tuple[Fact, ...]
    rows: tuple[Row, ...]
    curves: Curves | None = None
    pictures: tuple[bytes, ...] = ()
    n_parts: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Section:
    """A query, its cards, a line on how they came to be, and what the reader should know of it."""

    query: str
    cards: tuple[Card, ...]
    summary: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """What is on a page.

    `sections` are queries, each with what `section_html` gave for it; `reading` says in a few
    sentences how the figures are read.
    """

    title: str
    sections: Sequence[tuple[str, str]]
    reading: str


def write_page(path: Path, page: Page, data: Sequence[Mapping[str, Any]]) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: the HTML file.
        page: what is on it.
        data: JSON objects of the answers, which the page carries for programs.

    Raises:
        OSError: it cannot be written.
    """
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    entries = "".join(
        f'<li><a href="#q{number}">{_text(query)}</a></li>'
        for number, (query, _) in enumerate(page.sections, start=1)
    )
    contents = f'<nav aria-label="Queries"><ol>{entries}</ol></nav>'
    text = Template(_resource("page.html")).substitute(
        title=_text(page.title),
        contents=contents if len(page.sections) > 1 else "",
        reading=_text(page.reading),
        style=_resource("page.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        sections="\n".join(section for _, section in page.sections),
        data=_json(list(data)),
    )
    with whole(path) as unfinished:
        # Not every surrogate that a file's name may hold is text.
        unfinished.write_bytes(text.encode("utf-8", "replace"))


def section_html(section: Section, number: int) -> str:
    """A query and its cards as HTML; `number` counts the page's queries from 1."""
    name = f"q{number}"
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in section.notes)
    cards = "".join(
        _card(card, f"{name}m{place}") for place, card in enumerate(section.cards, start=1)
    )
    if not section.cards:
        cards = '<p class="nothing">No moments.</p>'
    return (
        f'<section id="{name}" aria-labelledby="{name}h">'
        f'<h2 id="{name}h"><q>{_text(section.query)}</q></h2>'
        f'<p class="summary">{_text(section.summary)}</p>{notes}{cards}</section>'
    )


def _card(card: Card, name: str) -> str:
    times = f"{_short(card.start, card)} to {_short(card.end, card)}"
    shown = f"{_text(card.title)}, {times}"
    pictures = "".join(_picture(card, place) for place in range(len(card.pictures)))
    strip = f'<ol class="strip" aria-label="Pictures of the moment">{pictures}</ol>'
    problem = f'<p class="problem">{_text(card.problem)}</p>' if card.problem else ""
    facts = "".join(_fact(fact) for fact in card.facts)
    exact = f"{_exact(card.start)} {_exact(card.end)}"
    return (
        f'<article class="card" id="{name}" tabindex="-1" aria-labelledby="{name}h" '
        f'data-start="{card.start!r}" data-end="{card.end!r}">'
        f'<div class="screen">{_video(card, shown)}{problem}</div>'
        f'<div class="about"><h3 id="{name}h">{_text(card.title)}</h3>'
        f'<p class="when"><b>{_time(card.start, card)}</b> to <b>{_time(card.end, card)}</b>'
        f" <span>of {_short(card.duration, card)}</span></p>"
        f'<dl class="facts">{facts}</dl>'
        f'<p class="path"><code>{_text(card.path)}</code></p>'
        '<p class="actions" hidden><button type="button" class="play">Play the moment</button>'
        f'<button type="button" class="copy" data-copy="{_attribute(card.path)}">Copy path</button>'
        f'<button type="button" class="copy" data-copy="{exact}">Copy times</button></p></div>'
        f"{strip if card.pictures else ''}{_figure(card, shown)}</article>"
    )


def _video(card: Card, shown: str) -> str:
    if card.file is None:
        return ""
    address = f"{card.file.absolute().as_uri()}#t={card.start:.3f},{card.end:.3f}"
    poster, preload = "", "metadata"
    if card.pictures:
        middle = card.pictures[(len(card.pictures) - 1) // 2]
        poster, preload = f' poster="{_jpeg(middle)}"', "none"
    return (
        f'<video controls playsinline preload="{preload}"{poster} src="{_attribute(address)}" '
        f'aria-label="Video {shown}"></video>'
        '<p class="problem unplayable" hidden>This browser cannot play the file from here. '
        "Open it in a player: copy its path and times.</p>"
    )


def _picture(card: Card, place: int) -> str:
    part = (card.end - card.start) / card.n_parts
    time = card.start + (place + 0.5) * part
    text = _short(time, card)
    return (
        f'<li data-time="{time:.3f}"><img src="{_jpeg(card.pictures[place])}" '
        f'alt="At {text}"><span aria-hidden="true">{text}</span></li>'
    )


def _fact(fact: Fact) -> str:
    bar = ""
    if fact.share is not None:
        share = min(max(fact.share, 0.0), 1.0) * 100
        bar = (
            '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="lane" width="100" height="6"/><rect width="{share:.1f}" height="6"/>'
            "</svg>"
        )
    return (
        f"<div><dt>{_text(fact.name)}</dt><dd><b>{_text(fact.value)}</b>{bar}"
        f"<small>{_text(fact.meaning)}</small></dd></div>"
    )


def _figure(card: Card, shown: str) -> str:
    """The time line under its legend, over the times it begins and ends with."""
    said = [f"Time line of {_text(card.title)}, {_short(card.duration, card)} long."]
    keys = []
    for row in card.rows:
        spans = "; ".join(f"{_short(s.start, card)} to {_short(s.end, card)}" for s in row.spans)
        said.append(f"{_text(row.name)}: {spans}.")
        keys.append(f'<span class="key {row.kind}">{_text(row.name)}</span>')
    if card.curves is None:
        keys.append('<span class="key none">this model gives no start and end curves</span>')
    else:
        for kind, values in (("start", card.curves.start), ("end", card.curves.end)):
            cell = card.curves.cells[int(values.argmax())]
            middle = _short(float(cell.mean()), card)
            said.append(f"The {kind} is most likely at {middle}, p = {values.max():.2g}.")
            keys.append(f'<span class="key {kind}">P({kind})</span>')
        if card.curves.inside is not None:
            keys.append('<span class="key inside">P(inside)</span>')
    whole = Stretch(0.0, card.duration)
    part = around(card.start, card.end, card.duration)
    line = (
        f'<svg class="line" role="img" aria-label="{" ".join(said)}" '
        f"{timeline(whole, card.rows, card.curves)}</svg>"
    )
    ends = _ends(whole, card, "" if part is None else "the whole video")
    # Nothing comes between the whole line and what leads from it to its part.
    lines = line + ends if part is None else ends + line + _zoomed(card, part, whole)
    return (
        f'<figure class="timeline">{lines}<figcaption class="keys">{"".join(keys)}</figcaption>'
        "</figure>"
    )


def _zoomed(card: Card, part: Stretch, whole: Stretch) -> str:
    """A part of the time line drawn large, to stand under the whole."""
    first, last = _short(part.start, card), _short(part.end, card)
    return (
        f'<svg aria-hidden="true" {lens(part, whole)}</svg>'
        f'<svg class="line" role="img" aria-label="The time line from {first} to {last}, large." '
        f"{timeline(part, card.rows, card.curves)}</svg>{_ends(part, card, 'around the moment')}"
    )


def _ends(stretch: Stretch, card: Card, what: str) -> str:
    """The times that a time line begins and ends with, and what it shows."""
    first, last = _short(stretch.start, card), _short(stretch.end, card)
    return f'<div class="ends"><span>{first}</span><span>{what}</span><span>{last}</span></div>'


def _time(seconds: float, card: Card) -> str:
    return f'<time datetime="PT{seconds:.3f}S">{_short(seconds, card)}</time>'


def _short(seconds: float, card: Card) -> str:
    """A time as shown, without hours in a video of less than one."""
    text = clock(seconds)
    return text if card.duration >= 3600 else text.removeprefix("0:")


def _exact(seconds: float) -> str:
    """A time as ffmpeg and players take it, to the millisecond: 0:00:03.040."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _jpeg(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"


def _text(text: str) -> str:
    """Text for the page: escaped, spaces of all kinds as one, what cannot be printed as U+FFFD."""
    return escape(printable(" ".join(text.split())))


def _attribute(text: str) -> str:
    """Text to be had back exactly from an attribute."""
    return escape(text).replace("\r", "&#13;").replace("\n", "&#10;")


def _json(value: Any) -> str:
    """JSON that no text in it can end early: `<` and its like are written as escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@cache
def _resource(name: str) -> str:
    return files("vmrtool.report").joinpath(name).read_text(encoding="utf-8")
