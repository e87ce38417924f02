"""Small real video files, and an extractor that makes features from a file's bytes."""

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from vmrtool.errors import MediaError
from vmrtool.indexing.source import ExtractorSource

DIM = 6


def write_video(path: Path, seed: int, frames: int = 12) -> Path:
    """A few grey frames of 32x32 at 24 fps; another `seed`, another content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 32
        for _ in range(frames):
            picture = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


@dataclass(frozen=True)
class FakeSnippets:
    features: np.ndarray
    seen: np.ndarray
    cells: np.ndarray
    duration_s: float
    truncated: str | None = None


def snippets_of(path: Path) -> FakeSnippets:
    """One to five snippets that follow from the file's bytes alone."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    n = 1 + digest[0] % 5
    features = np.frombuffer(digest[: 2 * DIM], np.uint8)[None, :DIM] + np.arange(n)[:, None]
    edges = np.arange(n + 1) * 0.5
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    return FakeSnippets(features.astype(np.float16), np.maximum(cells - 0.25, 0), cells, n * 0.5)


@dataclass
class FakeExtractor:
    """Keeps what it was asked for in `asked`; `before` is called with each path first."""

    settings: Mapping[str, Any] = field(default_factory=lambda: {"stride": 16})
    before: Callable[[Path], None] = lambda path: None
    asked: list[str] = field(default_factory=list)
    ahead: int = 1

    def source(self, **remember: Any) -> ExtractorSource:
        return ExtractorSource("fake", "ab" * 32, self.settings, self, remember)

    def extract_many(
        self,
        paths: Iterable[Path],
        *,
        workers: int,
        on_progress: Callable[[float], None] | None = None,
    ) -> Generator[tuple[Path, Any], None, None]:
        waiting: list[Path] = []
        for path in paths:
            waiting.append(path)
            if len(waiting) >= self.ahead:
                yield self._one(waiting.pop(0), on_progress)
        for path in waiting:
            yield self._one(path, on_progress)

    def _one(self, path: Path, on_progress: Callable[[float], None] | None) -> tuple[Path, Any]:
        self.asked.append(path.name)
        try:
            self.before(path)
        except MediaError as error:
            return path, error
        result = snippets_of(path)
        if on_progress is not None:
            on_progress(result.duration_s)
        return path, result


def slowly(seconds: float) -> Callable[[Path], None]:
    """For `before`: takes its time over each video."""
    return lambda path: time.sleep(seconds)
