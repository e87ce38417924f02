"""What `index` needs of an extractor."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vmrtool.errors import MediaError


class Extracted(Protocol):
    """One video's features: float16 (N, dim), spans float64 (N, 2) in seconds, true length."""

    @property
    def features(self) -> NDArray[np.float16]: ...  # noqa: D102
    @property
    def seen(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def cells(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def duration_s(self) -> float: ...  # noqa: D102
    @property
    def truncated(self) -> str | None: ...  # noqa: D102


class FeatureExtractor(Protocol):
    """Turns videos into features, in whatever order they get done."""

    def extract_many(
        self,
        paths: Iterable[Path],
        *,
        workers: int,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Path, Extracted | MediaError]]:
        """A generator of each path with its features, or why there are none.

        `paths` may be drawn from other threads; `on_progress` is told seconds once computed.
        """
        ...


@dataclass(frozen=True)
class ExtractorSource:
    """An extractor with what identifies it: features are only ever shared where all of it agrees.

    `remember` is what the catalog keeps by name, so that the next run finds the same extractor.
    `elsewhere` says that it works on other machines, and copies what lies in stores by itself.
    """

    backbone: str
    weights_sha256: str
    settings: Mapping[str, Any]
    extractor: FeatureExtractor
    remember: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: bool = False
