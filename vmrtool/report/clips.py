"""A search's moments as clips in a folder, each with a JSON file beside it that says what it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmrtool.files import whole
from vmrtool.media.clips import Cut, clip_suffix, cut_clip
from vmrtool.report.moment_files import MomentFolder
from vmrtool.search.result import Moment, SearchResult

SCHEMA = "vmrtool.clip/1"


@dataclass
class ClipFolder(MomentFolder):
    """Cuts the moments of answers into a folder.

    Attributes:
        pad: seconds to add before and after each moment, as far as the video goes.
        reencode: whether clips are exact and encoded anew, or copied from a key frame.
    """

    pad: float = 0.0
    reencode: bool = False

    kind = "clip"

    def _write(self, file: Path, result: SearchResult, moment: Moment, name: str) -> None:
        target = self.folder / (name + clip_suffix(moment.path, reencode=self.reencode))
        begin, end = max(0.0, moment.start - self.pad), moment.end + self.pad
        cut = cut_clip(file, target, begin, end, reencode=self.reencode)
        beside = target.with_name(target.name + ".json")
        text = json.dumps(self._facts(target, result, moment, cut), indent=2)
        with whole(beside) as place:
            place.write_text(text + "\n", "utf-8")

    def _facts(
        self, target: Path, result: SearchResult, moment: Moment, cut: Cut
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "clip": target.name,
            "query": result.query,
            "model": result.model,
            **moment.to_dict(),
            "pad": self.pad,
            "mode": "reencode" if self.reencode else "copy",
            "clip_start": cut.start,
            "clip_end": cut.end,
        }
