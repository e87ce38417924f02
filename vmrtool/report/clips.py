"""A search's moments as clips in a folder, each with a JSON file beside it that says what it is."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmrtool.errors import MediaError, StoreError, UsageError
from vmrtool.files import whole
from vmrtool.media.clips import Cut, clip_suffix, cut_clip
from vmrtool.media.stores import LocalFile
from vmrtool.search.result import Moment, SearchResult

SCHEMA = "vmrtool.clip/1"
_LONGEST_NAME = 100  # bytes of the video's name in a clip's


@dataclass
class ClipFolder:
    """Cuts the moments of answers into a folder; what cannot be cut is in `failed`, with why.

    Attributes:
        folder: made where it is not there; files of the same names are replaced.
        pad: seconds to add before and after each moment, as far as the video goes.
        reencode: whether clips are exact and encoded anew, or copied from a key frame.
        many: whether there are several answers, which names then tell apart.
        written: how many clips there are.
        failed: clips that could not be made: the video, and the error.
    """

    folder: Path
    pad: float = 0.0
    reencode: bool = False
    many: bool = False
    written: int = 0
    failed: list[tuple[Path, MediaError | StoreError]] = field(default_factory=list)
    _answers: int = 0

    def __post_init__(self) -> None:
        """Raises UsageError where the folder is a file."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--clips {self.folder}: a file, not a folder")

    def add(self, result: SearchResult) -> None:
        """Cuts every moment of an answer; a video in a store is copied here for that.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._answers += 1
        query = f"q{self._answers:03d}-" if self.many else ""
        for video in dict.fromkeys(moment.path for moment in result.moments):
            with LocalFile(video) as local:
                for moment in result.moments:
                    if moment.path == video:
                        self._cut(local, query, moment, result)

    def _cut(self, local: LocalFile, query: str, moment: Moment, result: SearchResult) -> None:
        target = self.folder / (query + clip_name(moment, reencode=self.reencode))
        begin, end = max(0.0, moment.start - self.pad), moment.end + self.pad
        try:
            cut = cut_clip(local.path, target, begin, end, reencode=self.reencode)
        except MediaError as error:
            self.failed.append((moment.path, local.named(error)))
            return
        except StoreError as error:
            self.failed.append((moment.path, error))
            return
        beside = target.with_name(target.name + ".json")
        text = json.dumps(self._facts(target, result, moment, cut), indent=2)
        with whole(beside) as place:
            place.write_text(text + "\n", "utf-8")
        self.written += 1

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


def clip_name(moment: Moment, *, reencode: bool) -> str:
    """The clip's file name: rank, video and start, fit for any file system.

    `/archive/a b.mp4` from 63.04 s as third is `03-a_b-0h01m03.0s.mp4`.
    """
    video = re.sub(r"[^\w.-]+", "_", Path(moment.video).stem)
    video = video.encode()[:_LONGEST_NAME].decode("utf-8", "ignore")
    tenths = int(moment.start * 10)
    minutes, rest = divmod(tenths, 600)
    time = f"{minutes // 60}h{minutes % 60:02d}m{rest // 10:02d}.{rest % 10}s"
    suffix = clip_suffix(moment.path, reencode=reencode)
    return f"{moment.rank:02d}-{video}-{time}{suffix}"
