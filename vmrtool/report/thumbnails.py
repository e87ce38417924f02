"""A search's moments as pictures in a folder: the one on display in the middle of each."""

from dataclasses import dataclass
from pathlib import Path

from vmrtool.errors import MediaError
from vmrtool.files import whole
from vmrtool.media.probe import probe
from vmrtool.media.stills import as_jpeg, moment_stills
from vmrtool.report.moment_files import MomentFolder
from vmrtool.search.result import Moment, SearchResult

_HIGHEST = 360  # pixels; smaller videos keep their size


@dataclass
class ThumbnailFolder(MomentFolder):
    """Writes a JPEG of every moment of answers into a folder."""

    kind = "thumbnail"

    def _write(self, file: Path, result: SearchResult, moment: Moment, name: str) -> None:
        start, end = moment.start, moment.end
        height = min(_HIGHEST, probe(file).height)
        pictures = moment_stills(file, start, end, count=1, height=height)
        if not pictures:
            raise MediaError(f"{file}: no pictures from {start:.2f} to {end:.2f} s", stage="decode")
        with whole(self.folder / f"{name}.jpg") as place:
            place.write_bytes(as_jpeg(pictures[0]))
