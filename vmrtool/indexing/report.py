"""What `index` tells while it works and when it is done."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vmrtool.catalog.paths import base64_unless_utf8, display, path_key
from vmrtool.catalog.rows import FailureRow

SCHEMA = "vmrtool.index/1"

Outcome = Literal["indexed", "unchanged", "renamed", "copies", "failed"]
"""What became of one video seen.

indexed: decoded in this run. unchanged: its features were here. renamed, copies: a file of the
same content was known, which is gone from there, or still there. failed: see the failures.
"""


@dataclass(frozen=True)
class Started:
    """The archive has been looked through.

    Of `videos` in all, `unchanged` are as the catalog knows them and `failed` have failed before;
    the rest, `todo_bytes` in size, are to do.
    """

    videos: int
    unchanged: int
    failed: int
    todo_bytes: int


@dataclass(frozen=True)
class Opened:
    """A video's turn has come; `claimed_s` is its length as its container says, if it does."""

    path: Path
    size: int
    claimed_s: float | None


@dataclass(frozen=True)
class Decoded:
    """`seconds` more of video have been decoded."""

    seconds: float


@dataclass(frozen=True)
class Settled:
    """One video that was to do is done with. `failure` says why where it failed."""

    path: Path
    size: int
    outcome: Outcome
    failure: FailureRow | None = None


@dataclass(frozen=True)
class Noted:
    """Something that the user should know, in words."""

    text: str


Event = Started | Opened | Decoded | Settled | Noted


@dataclass(frozen=True)
class IndexReport:
    """What `index` did. Counts are of videos; `missing` are known ones whose files are gone.

    `seconds_of_video` is the length of what was decoded in this run, `elapsed_s` how long it took,
    `removed` how many missing ones were taken out of the catalog.
    """

    catalog: Path
    indexed: int
    unchanged: int
    renamed: int
    copies: int
    missing: int
    failed: tuple[FailureRow, ...]
    seconds_of_video: float
    elapsed_s: float
    removed: int = 0

    @property
    def seen(self) -> int:
        """Videos seen in this run."""
        return self.indexed + self.unchanged + self.renamed + self.copies + len(self.failed)

    def to_dict(self) -> dict[str, Any]:
        """The report as the JSON object `vmrtool.index/1`."""
        return {
            "schema": SCHEMA,
            "catalog": display(path_key(self.catalog)),
            "indexed": self.indexed,
            "unchanged": self.unchanged,
            "renamed": self.renamed,
            "copies": self.copies,
            "missing": self.missing,
            "removed": self.removed,
            "failed": [failure_to_dict(failure) for failure in self.failed],
            "seconds_of_video": self.seconds_of_video,
            "elapsed_s": self.elapsed_s,
        }


def failure_to_dict(failure: FailureRow) -> dict[str, Any]:
    """A failure as in the JSON; `path_b64` only where the file's name is not UTF-8."""
    fields = {
        "path": display(path_key(failure.path)),
        "stage": failure.stage,
        "error": failure.error,
        "remedy": failure.remedy,
    }
    encoded = base64_unless_utf8(failure.path)
    return fields if encoded is None else {**fields, "path_b64": encoded}
