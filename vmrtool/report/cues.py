"""Answers as subtitles: every moment a cue on its video's clock, in WebVTT or SubRip.

A subtitle file goes with one video. Moments of several cannot stand in one file: all cues would
show over whichever video it is opened with. They have a folder, with a file for each video.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from vmrtool.catalog.paths import printable
from vmrtool.errors import UsageError
from vmrtool.files import whole
from vmrtool.search.result import Moment, SearchResult

_VTT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SRT = str.maketrans("<>{}", "‹›()")  # SubRip has no escapes; players take these for commands
_LONGEST_NAME = 240  # bytes; a file system takes 255, and a file in the making has a longer name

_Cue = tuple[str, Moment]


def write_vtt(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes WebVTT; a NOTE names the video.

    Raises:
        UsageError: the moments lie in several videos.
    """
    _write_vtt(_of_one_video(answers), out)


def write_srt(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes SubRip.

    Raises:
        UsageError: the moments lie in several videos.
    """
    _write_srt(_of_one_video(answers), out)


def write_cue_files(answers: Iterable[SearchResult], folder: Path, suffix: str) -> None:
    """Writes a file for each video, called as it is: `kitchen.srt` for `kitchen.mp4`.

    So named, players find it beside the video by themselves. Where videos of several folders have
    one name, those found later have a number after it.

    Args:
        answers: all their moments become cues.
        folder: made where it is not there; files of the same names are replaced.
        suffix: one of `CUE_FILES`, ".vtt" or ".srt".

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for path, cues in _by_video(answers).items():
        name = _free_name(path, taken)
        taken.add(name.casefold())  # not every file system tells cases apart
        with (
            whole(folder / f"{name}{suffix}") as place,
            place.open("w", encoding="utf-8", newline="") as out,
        ):
            CUE_FILES[suffix](cues, out)


def _free_name(path: Path, taken: set[str]) -> str:
    """The video's name without its suffix, as long as fits, and as no other file has it."""
    number = 1
    while True:
        mark = f"-{number}" if number > 1 else ""
        stem = path.stem.encode("utf-8", "surrogateescape")[: _LONGEST_NAME - len(mark)]
        name = stem.decode("utf-8", "surrogateescape") + mark
        if name.casefold() not in taken:
            return name
        number += 1


def _by_video(answers: Iterable[SearchResult]) -> dict[Path, list[_Cue]]:
    """Query and moment of every cue, in the order of time, which WebVTT asks for."""
    found: dict[Path, list[_Cue]] = {}
    for answer in answers:
        for moment in answer.moments:
            found.setdefault(moment.path, []).append((answer.query, moment))
    for cues in found.values():
        cues.sort(key=lambda cue: (cue[1].start, cue[1].end))
    return found


def _of_one_video(answers: Iterable[SearchResult]) -> list[_Cue]:
    videos = list(_by_video(answers).values())
    if len(videos) > 1:
        first = printable(videos[0][0][1].video)
        raise UsageError(
            f"a file of cues is of one video, and these moments lie in {len(videos)}",
            remedy="Name a folder, for a file each: --output cues/. Or one video, for instance "
            f"the best: --video '{first}'",
        )
    return videos[0] if videos else []


def _write_vtt(cues: list[_Cue], out: TextIO) -> None:
    out.write("WEBVTT\n")
    if cues:
        out.write(f"\nNOTE {printable(cues[0][1].video)}\n")
    for query, moment in cues:
        text = _text(query, moment).translate(_VTT)
        out.write(f"\n{_stamp(moment.start, '.')} --> {_stamp(moment.end, '.')}\n{text}\n")


def _write_srt(cues: list[_Cue], out: TextIO) -> None:
    for number, (query, moment) in enumerate(cues, start=1):
        text = _text(query, moment).translate(_SRT)
        out.write(
            f"{number}\n{_stamp(moment.start, ',')} --> {_stamp(moment.end, ',')}\n{text}\n\n"
        )


CUE_FILES: dict[str, Callable[[list[_Cue], TextIO], None]] = {
    ".vtt": _write_vtt,
    ".srt": _write_srt,
}
"""The files of cues by their suffixes, and what writes them."""


def _text(query: str, moment: Moment) -> str:
    return f"{moment.rank}. {printable(query)} ({moment.score:.3f})"


def _stamp(seconds: float, point: str) -> str:
    """Seconds as hh:mm:ss and milliseconds, rounded half up."""
    rounded, milliseconds = divmod(math.floor(seconds * 1000 + 0.5), 1000)
    minutes, second = divmod(rounded, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}{point}{milliseconds:03d}"
