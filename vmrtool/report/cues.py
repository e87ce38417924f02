"""Answers as subtitles: every moment a cue on its video's clock, in WebVTT or SubRip.

A subtitle file goes with one video. Moments of several cannot stand in one file: all cues would
show over whichever video it is opened with.
"""

import math
from collections.abc import Iterable
from typing import TextIO

from vmrtool.catalog.paths import printable
from vmrtool.errors import UsageError
from vmrtool.search.result import Moment, SearchResult

_VTT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SRT = str.maketrans("<>{}", "‹›()")  # SubRip has no escapes; players take these for commands


def write_vtt(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes WebVTT; a NOTE names the video.

    Raises:
        UsageError: the moments lie in several videos.
    """
    cues = _cues(answers)
    out.write("WEBVTT\n")
    if cues:
        out.write(f"\nNOTE {printable(cues[0][1].video)}\n")
    for query, moment in cues:
        text = _text(query, moment).translate(_VTT)
        out.write(f"\n{_stamp(moment.start, '.')} --> {_stamp(moment.end, '.')}\n{text}\n")


def write_srt(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes SubRip.

    Raises:
        UsageError: the moments lie in several videos.
    """
    for number, (query, moment) in enumerate(_cues(answers), start=1):
        text = _text(query, moment).translate(_SRT)
        out.write(
            f"{number}\n{_stamp(moment.start, ',')} --> {_stamp(moment.end, ',')}\n{text}\n\n"
        )


def _cues(answers: Iterable[SearchResult]) -> list[tuple[str, Moment]]:
    """Query and moment of every cue, in the order of time, which WebVTT asks for."""
    found = [(answer.query, moment) for answer in answers for moment in answer.moments]
    videos = {moment.path: moment.video for _, moment in found}
    if len(videos) > 1:
        first = printable(next(iter(videos.values())))
        raise UsageError(
            f"cues are of one video, and these moments lie in {len(videos)}",
            remedy=f"Name one, for instance the best: --video '{first}'",
        )
    return sorted(found, key=lambda cue: (cue[1].start, cue[1].end))


def _text(query: str, moment: Moment) -> str:
    return f"{moment.rank}. {printable(query)} ({moment.score:.3f})"


def _stamp(seconds: float, point: str) -> str:
    """Seconds as hh:mm:ss and milliseconds, rounded half up."""
    whole, milliseconds = divmod(math.floor(seconds * 1000 + 0.5), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}{point}{milliseconds:03d}"
