"""Answers as playlists: extended M3U for VLC, and mpv's own EDL.

VLC takes start and stop from EXTVLCOPT lines. mpv plays such a list too, but reads no more than
names and titles from it, so it begins each video at its beginning. A list of moments for mpv is
its own kind of file, which has nothing in common with the EDL of editors.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from vmrtool.catalog.paths import printable
from vmrtool.report.times import clock
from vmrtool.search.result import Moment, SearchResult


def write_m3u(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes an extended M3U: an entry a moment, best first."""
    out.write("#EXTM3U\n")
    for answer in answers:
        for moment in answer.moments:
            # VLC takes what stands before a comma, or before " - ", for an artist.
            title = _title(answer, moment).replace(",", ";").replace(" - ", " – ")
            length = max(1, round(moment.end - moment.start))
            out.write(
                f"#EXTINF:{length},{title}\n"
                f"#EXTVLCOPT:start-time={moment.start!r}\n"
                f"#EXTVLCOPT:stop-time={moment.end!r}\n"
                f"{_location(moment.path)}\n"
            )
        out.flush()


def write_mpv(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes an mpv EDL: the moments joined, each a chapter with a title."""
    out.write("# mpv EDL v0\n")
    for answer in answers:
        for moment in answer.moments:
            length = round(moment.end - moment.start, 6)
            title = _counted(_title(answer, moment))
            out.write(
                f"{_counted(str(moment.path))},start={moment.start!r},length={length!r},"
                f"title={title}\n"
            )
        out.flush()


def _title(answer: SearchResult, moment: Moment) -> str:
    name = printable(Path(moment.video).name)
    return f"{moment.rank}. {printable(answer.query)}: {name}, {clock(moment.start)}"


def _location(path: Path) -> str:
    """The path as it is, or as a file URL where a line cannot hold it."""
    text = str(path)
    if text.isprintable() and text == text.strip():
        return text
    return "file://" + quote(os.fsencode(path))


def _counted(text: str) -> str:
    """Text with its length in bytes before it, which may then hold any character."""
    return f"%{len(os.fsencode(text))}%{text}"
