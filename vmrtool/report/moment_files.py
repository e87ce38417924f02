"""A search's moments as files of a folder, one each: what clips and thumbnails have in common."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from vmrtool.errors import MediaError, StoreError, UsageError
from vmrtool.files import safe_name
from vmrtool.media.stores import LocalFile
from vmrtool.search.result import Moment, SearchResult

_LONGEST_NAME = 100  # bytes of the video's name in a file's


@dataclass
class MomentFolder:
    """Writes a file for every moment of answers; what cannot be made is in `failed`, with why.

    Attributes:
        folder: made where it is not there; files of the same names are replaced.
        many: whether there are several answers, which names then tell apart.
        kind: what one such file is called; `--kind` is the option that names the folder.
        written: how many files there are.
        failed: files that could not be made: the video, and the error.
    """

    folder: Path
    many: bool = False
    written: int = field(default=0, init=False)
    failed: list[tuple[Path, MediaError | StoreError]] = field(default_factory=list, init=False)
    _answers: int = field(default=0, init=False)

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        """Raises UsageError where the folder is a file."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--{self.kind}s {self.folder}: a file, not a folder")

    def add(self, result: SearchResult) -> None:
        """Writes the files of an answer's moments; a video in a store is copied here for that.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._answers += 1
        query = f"q{self._answers:03d}-" if self.many else ""
        for video in dict.fromkeys(moment.path for moment in result.moments):
            with LocalFile(video) as local:
                for moment in result.moments:
                    if moment.path == video:
                        self._add(local, result, moment, query + moment_name(moment))

    def _add(self, local: LocalFile, result: SearchResult, moment: Moment, name: str) -> None:
        try:
            self._write(local.path, result, moment, name)
        except MediaError as error:
            self.failed.append((moment.path, local.named(error)))
        except StoreError as error:
            self.failed.append((moment.path, error))
        else:
            self.written += 1

    def _write(self, file: Path, result: SearchResult, moment: Moment, name: str) -> None:
        """Writes the moment's file, `name` and a suffix, whole or not at all.

        Args:
            file: the video, or the copy of one that is in a store.
            result: the answer that the moment is of.
            moment: what to write.
            name: of the file, without suffix.

        Raises:
            MediaError: the video cannot be read.
            OSError: the folder cannot be written to.
        """
        raise NotImplementedError


def moment_name(moment: Moment) -> str:
    """A file name without suffix: rank, video and start, fit for any file system.

    `/archive/a b.mp4` from 63.04 s as third is `03-a_b-0h01m03.0s`.
    """
    video = safe_name(Path(moment.video).stem, _LONGEST_NAME)
    tenths = int(moment.start * 10)
    minutes, rest = divmod(tenths, 600)
    time = f"{minutes // 60}h{minutes % 60:02d}m{rest // 10:02d}.{rest % 10}s"
    return f"{moment.rank:02d}-{video}-{time}"
