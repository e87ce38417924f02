"""Answers as an edit decision list, CMX 3600: the moments one after another on a time line.

Editors read it beside the videos: source timecode says which frames of a reel, record timecode
where they lie on the time line. mpv's files of the same name are another thing (`playlists`).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from vmrtool.catalog.paths import printable
from vmrtool.errors import MediaError
from vmrtool.media.stores import LocalFile
from vmrtool.media.timecode import TimecodeSource, frame_count, timecode, timecode_source
from vmrtool.search.result import SearchResult

_REEL = 8  # letters of a reel's name, all that CMX 3600 has room for
_TITLE = 70


def write_edl(answers: Iterable[SearchResult], out: TextIO) -> None:
    """Writes one list of all moments, best first; the first video's rate is the time line's.

    Raises:
        MediaError: a video cannot be opened to ask for its frame rate and timecode.
    """
    sources: dict[Path, tuple[str, TimecodeSource]] = {}
    taken = {"AX", "BL", "BLACK", "BARS"}  # reels that mean something else
    line: TimecodeSource | None = None
    titled = False
    drop: bool | None = None
    number = position = 0
    for answer in answers:
        query = printable(answer.query)
        if not titled:
            out.write(f"TITLE: {query[:_TITLE]}\n")
            titled = True
        for moment in answer.moments:
            if moment.path not in sources:
                name = _reel(moment.path.stem, taken)
                sources[moment.path] = (name, _source(moment.path))
            reel, source = sources[moment.path]
            if line is None:
                line = source
                # Time lines begin at one hour, so that there is room before the first event.
                position = frame_count("01:00:00:00", line.base, drop=line.drop)
            if source.drop != drop:
                drop = source.drop
                out.write(f"FCM: {'DROP FRAME' if drop else 'NON-DROP FRAME'}\n")
            number += 1
            begin = source.at(moment.start)
            end = max(begin + 1, source.at(moment.end))
            length = max(1, round((end - begin) / source.rate * line.rate))
            stamps = (
                *(timecode(count, source.base, drop=source.drop) for count in (begin, end)),
                timecode(position, line.base, drop=line.drop),
                timecode(position + length, line.base, drop=line.drop),
            )
            position += length
            tracks = "AA/V" if source.sound else "V"
            out.write(
                f"{number:03d}  {reel:<8} {tracks:<5} C        {' '.join(stamps)}\n"
                f"* FROM CLIP NAME: {printable(Path(moment.video).name)}\n"
                f"* SOURCE FILE: {printable(moment.video)}\n"
                f"* FRAME RATE: {float(source.rate):.3f}\n"
                f"* COMMENT: {moment.rank}. {query} ({moment.score:.3f})\n"
            )
    if drop is None:
        out.write("FCM: NON-DROP FRAME\n")


def _source(path: Path) -> TimecodeSource:
    """The video's rate and timecode; one in a store is copied here to be asked."""
    with LocalFile(path) as local:
        try:
            return timecode_source(local.path)
        except MediaError as error:
            raise local.named(error) from error


def _reel(stem: str, taken: set[str]) -> str:
    """A reel's name after a file's: letters and digits, short, and of this file alone."""
    name = re.sub(r"[^A-Z0-9]", "", stem.upper()) or "REEL"
    reel, more = name[:_REEL], 1
    while reel in taken:
        more += 1
        reel = f"{name[: _REEL - len(str(more))]}{more}"
    taken.add(reel)
    return reel
