"""What a search gives back: plain values, and the JSON object documented as `vmrtool.search/1`."""

import base64
import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

SCHEMA = "vmrtool.search/1"


@dataclass(frozen=True)
class Moment:
    """One stretch of one video that may show what the query says.

    `start` and `end` are seconds on the player's clock, inside the video. `score` in [0, 1] orders
    the ranking; a trained model means by it the probability that a true moment overlaps this one by
    an IoU of at least 0.5. It is made of `similarity`, the cosine between the query and the
    moment's own snippets, and of `grounding`: P_start P_end of the span, or the IoU with the truth
    that the network expects where it decodes by that.
    """

    rank: int
    video: str
    start: float
    end: float
    score: float
    similarity: float
    grounding: float
    video_b64: str | None = None

    @property
    def path(self) -> Path:
        """The video file, or its address in a store.

        It is right also where the name is not UTF-8 and `video` only shows it.
        """
        from vmrtool.catalog.paths import from_key  # not before it is needed: SQLite comes with it

        if self.video_b64 is None:
            return from_key(os.fsencode(self.video))
        return from_key(base64.b64decode(self.video_b64))

    def to_dict(self) -> dict[str, Any]:
        """The moment as in the JSON; `video_b64` only where the file's name is not UTF-8."""
        fields = {
            "rank": self.rank,
            "video": self.video,
            "start": self.start,
            "end": self.end,
            "score": self.score,
            "similarity": self.similarity,
            "grounding": self.grounding,
        }
        return fields if self.video_b64 is None else {**fields, "video_b64": self.video_b64}


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query: its moments, best first, and what was looked at to find them.

    `catalog` is the catalog's file; where several were searched it is the first of `catalogs`.
    `unknown_words` are the words of the query that the model has never seen; `notes` are sentences
    on what else the user should know; `zero_shot` says that no grounding model answered, but class
    names. None of these is part of the JSON.
    """

    query: str
    model: str
    catalog: str
    videos_searched: int
    shortlisted: int
    windows_grounded: int
    elapsed_ms: float
    moments: tuple[Moment, ...]
    unknown_words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    zero_shot: bool = False
    catalogs: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The moments as a table, which is how a notebook shows an answer."""
        rows = "".join(
            f"<tr><td>{m.rank}</td><td>{_shown(m.video)}</td><td>{m.start:.1f} s</td>"
            f"<td>{m.end:.1f} s</td><td>{m.score:.3f}</td></tr>"
            for m in self.moments
        )
        heads = "".join(f"<th>{head}</th>" for head in ("", "video", "from", "to", "score"))
        table = f"<table><tr>{heads}</tr>{rows}</table>" if rows else "no moments"
        notes = "".join(f"<p>{_shown(note)}</p>" for note in self.notes)
        return f"<p><b>{_shown(self.query)}</b></p>{table}{notes}"

    def to_dict(self) -> dict[str, Any]:
        """The answer as the JSON object `vmrtool.search/1`; `catalogs` only where there are any."""
        return {
            "schema": SCHEMA,
            "query": self.query,
            "model": self.model,
            "catalog": self.catalog,
            **({"catalogs": list(self.catalogs)} if self.catalogs else {}),
            "videos_searched": self.videos_searched,
            "shortlisted": self.shortlisted,
            "windows_grounded": self.windows_grounded,
            "elapsed_ms": self.elapsed_ms,
            "moments": [moment.to_dict() for moment in self.moments],
        }


def _shown(text: str) -> str:
    """Text for a page: a file may be called anything."""
    from vmrtool.catalog.paths import printable

    return escape(printable(text))
