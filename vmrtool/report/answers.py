"""A search's answer as a section of the HTML page: its moments as cards, with their pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmrtool.addresses import Address
from vmrtool.errors import MediaError, UsageError
from vmrtool.media.stills import as_jpeg, moment_stills
from vmrtool.report.html import Card, Fact, Page, Section, section_html, write_page
from vmrtool.report.table import looked_at, name_of
from vmrtool.report.timeline import Row, Span
from vmrtool.search.curves import Evidence
from vmrtool.search.result import Moment, SearchResult

_PICTURES = 6
_HEIGHT = 180  # pixels

_MOST_SHOWN = 200  # cards with pictures and curves; a page of more would be slow to open
_READING = (
    "Moments are ranked by their score, from 0 to 1: how likely the moment is right, as far as the "
    "model can tell. It is made of the similarity between the query and the moment's own snippets, "
    "and, where a network looked into the video, of how well it thinks this start and end fit."
)

EvidenceOf = Callable[[Moment, str], Evidence | None]
"""Gives what stands behind a moment that was found for a query."""


class AnswersPage:
    """An HTML page of one answer or many; add them, then write it."""

    def __init__(self, path: Path, evidence_of: EvidenceOf, base: Path | None = None) -> None:
        """Takes the page's file, and where curves come from.

        Args:
            path: the HTML file.
            evidence_of: asked once for each video of an answer.
            base: videos inside this folder are named relative to it.

        Raises:
            UsageError: the path is a folder.
        """
        if path.is_dir():
            raise UsageError(f"--html {path}: a folder, not a file", remedy="Name the page itself.")
        self._path, self._evidence_of, self._base = path, evidence_of, base
        self._sections: list[tuple[str, str]] = []
        self._data: list[dict[str, Any]] = []
        self._cards = 0

    def add(self, result: SearchResult) -> None:
        """Adds an answer under those that are there, reading its pictures and curves."""
        shown = self._cards < _MOST_SHOWN
        self._cards += len(result.moments)
        section = answer_section(result, self._evidence_of, self._base, shown=shown)
        number = len(self._sections) + 1
        self._sections.append((result.query, section_html(section, number)))
        self._data.append(result.to_dict())

    def write(self) -> None:
        """Writes the page, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        n = len(self._sections)
        title = f"Moments for {n} queries" if n != 1 else "Moments found"
        write_page(self._path, Page(title, self._sections, _READING), self._data)


def answer_section(
    result: SearchResult,
    evidence_of: EvidenceOf,
    base: Path | None = None,
    *,
    shown: bool = True,
) -> Section:
    """The section of one answer.

    Args:
        result: the answer.
        evidence_of: asked once for each video.
        base: videos inside this folder are named relative to it.
        shown: whether to read pictures and curves; without them cards are small.
    """
    behind: dict[Path, Evidence | None] = {}
    cards = []
    for moment in result.moments:
        if shown and moment.path not in behind:
            behind[moment.path] = evidence_of(moment, result.query)
        cards.append(_card(moment, result, behind.get(moment.path), base, shown=shown))
    notes = list(result.notes)
    if result.unknown_words:
        unknown = ", ".join(result.unknown_words)
        notes.insert(0, f"Words that model {result.model} has never seen: {unknown}")
    return Section(result.query, tuple(cards), looked_at(result), tuple(notes))


def _card(
    moment: Moment,
    result: SearchResult,
    evidence: Evidence | None,
    base: Path | None,
    *,
    shown: bool,
) -> Card:
    of_video = [other for other in result.moments if other.path == moment.path]
    duration = max(evidence.duration if evidence else 0.0, *(other.end for other in of_video))
    pictures: list[bytes] = []
    problem = None
    here = _is_here(moment.path)
    if isinstance(moment.path, Address):
        problem = "This video is in a store: copy it to see pictures of it and to play it."
    elif not here:
        problem = (
            "This file is no longer there: it was moved, renamed or deleted since it was indexed. "
            "Run vmrtool index again, or vmrtool catalog relocate if its folder has moved."
        )
    elif shown:
        try:
            stills = moment_stills(
                moment.path, moment.start, moment.end, count=_PICTURES, height=_HEIGHT
            )
            pictures = [as_jpeg(still) for still in stills]
        except MediaError as error:
            problem = f"No pictures: {error}"
    spans = tuple(Span(other.start, other.end, other is moment) for other in of_video)
    return Card(
        title=f"{moment.rank}. {name_of(moment, base)}",
        path=moment.video,
        file=moment.path if here else None,
        start=moment.start,
        end=moment.end,
        duration=duration,
        facts=_facts(moment, zero_shot=result.zero_shot),
        rows=(Row("moments found", "found", spans),),
        curves=evidence.curves if evidence else None,
        pictures=tuple(pictures),
        n_parts=_PICTURES,
        problem=problem,
    )


def _facts(moment: Moment, *, zero_shot: bool) -> tuple[Fact, ...]:
    sure = "how sure the network is of just this start and end"
    if zero_shot:
        sure = "how far its likeness stands out from the rest of the video"
    return (
        Fact("score", f"{moment.score:.3f}", "orders the ranking, from 0 to 1", moment.score),
        Fact(
            "similarity",
            f"{moment.similarity:.3f}",
            "how alike the query and these pictures are, from -1 to 1",
        ),
        Fact(
            "grounding",
            f"{moment.grounding:.3g}",
            sure,
        ),
    )


def _is_here(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
