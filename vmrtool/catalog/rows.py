"""What goes into the catalog and comes out of it: plain frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmrtool.catalog.paths import from_key, join_key

State = Literal["indexed", "failed", "pending", "missing"]
"""What the catalog knows of a video under the extractor in use.

indexed: its features are here. failed: it has a row in `failures`. pending: its features were made
by another extractor only. missing: its file was not there when last looked for.
"""


@dataclass(frozen=True)
class FoundFile:
    """A file as found on disk: its absolute path, the folder it was looked for in, its stamp.

    `size` in bytes and `mtime_ns` tell an unchanged file without reading it.
    """

    path: Path
    root: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class FileFacts:
    """What is known of a video's file; None where it could not be told.

    `duration_s` is where the last decoded frame ends, on the player's clock, once decoded. Width
    and height are as displayed, `rotation` in degrees. `truncated` says why decoding ended early.
    """

    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    fps: float | None = None
    codec: str | None = None
    container: str | None = None
    truncated: str | None = None


@dataclass(frozen=True)
class StoredSnippets:
    """Features (N, dim) float16 of N snippets with their spans in seconds, (N, 2) float64 each.

    `seen` is the stretch a feature was computed from, `cells` the stretch it stands for.
    """

    features: NDArray[np.float16]
    seen: NDArray[np.float64]
    cells: NDArray[np.float64]


@dataclass(frozen=True)
class VideoRow:
    """One video of the catalog.

    `path_bytes` is its name relative to the folder `root`, whose key is `root_bytes`; neither is
    always UTF-8. Paths are made when they are asked for: a search reads all rows and names few.
    """

    id: int
    root_bytes: bytes
    path_bytes: bytes
    size: int
    mtime_ns: int
    content_hash: str | None
    state: State
    facts: FileFacts

    @cached_property
    def root(self) -> Path:
        """The folder it was looked for in, absolute."""
        return from_key(self.root_bytes)

    @cached_property
    def path(self) -> Path:
        """Its file, absolute."""
        return from_key(self.key)

    @property
    def key(self) -> bytes:
        """The bytes under which its path is kept."""
        return join_key(self.root_bytes, self.path_bytes)

    @property
    def duration_s(self) -> float | None:
        """Length in seconds, None where unknown."""
        return self.facts.duration_s


@dataclass(frozen=True)
class ExtractorRow:
    """What made features: a backbone, its weights, and every setting that changes the result."""

    id: int
    backbone: str
    weights_sha256: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class FailureRow:
    """Why a video could not be indexed, how often it was tried, and when last (UTC, ISO 8601)."""

    path: Path
    stage: str
    error: str
    remedy: str | None
    attempts: int
    when: str


@dataclass(frozen=True)
class StoredEncoding:
    """What a grounding network makes of a window before it is asked anything.

    `data` is (n, dim) float16, a row a snippet, `cells` (n, 2) float64 the stretches these stand
    for, in seconds.
    """

    data: NDArray[np.float16]
    cells: NDArray[np.float64]


@dataclass(frozen=True)
class StoredWindow:
    """A window of one video's snippets with its pooled vectors under one grounding model.

    The window is snippets [first, first + n) of the video. `vectors` is (P, d) float32, `spans`
    (P, 2) int32: the first and last snippet of each pooled stretch, counted from the
    window's own first. `encoding` goes in with a window where it is to be kept, and is read by
    itself.
    """

    content_hash: str
    first: int
    n: int
    vectors: NDArray[np.float32]
    spans: NDArray[np.int32]
    encoding: StoredEncoding | None = None


Windows = tuple[tuple[int, int, int], ...]
"""A content's windows in the order of time: id, first snippet, number of snippets.

An id is used once: a window that was made again has another.
"""


class ListedWindows(NamedTuple):
    """What a catalog knows of a content's windows without reading their vectors.

    `vectors` is how many these are in all.
    """

    windows: Windows
    vectors: int


@dataclass(frozen=True)
class Relocation:
    """What `relocate` did: videos moved, of those found on disk, and rows already known there."""

    moved: int
    found: int
    merged: int
