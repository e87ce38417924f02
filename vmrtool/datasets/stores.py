"""Where a data set's features come from: one interface, and the catalog as a store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vmrtool.catalog import Catalog
from vmrtool.datasets.samples import Sample
from vmrtool.errors import DataError


@dataclass(frozen=True)
class StoredVideo:
    """One video's features: (N, dim), and the cell of every snippet, (N, 2) seconds.

    `file` is the video itself, where the store knows it.
    """

    features: NDArray[np.float16]
    cells: NDArray[np.float64]
    file: Path | None = None


class FeatureStore(Protocol):
    """Gives the features of a sample's video.

    `source` says where they are, for messages. `extractor` tells how they were made (backbone,
    weights' sha256, settings) where the store knows, and goes into the trained model.
    """

    source: str
    extractor: dict[str, Any] | None

    def get(self, sample: Sample) -> StoredVideo | None:
        """The features of the sample's video, or None where the store has none."""
        ...

    def close(self) -> None:
        """Lets go of files."""
        ...


class CatalogStore:
    """A catalog as a feature store.

    A sample that names its video file is matched by the file's absolute path; one that does
    not, or whose file lies elsewhere, by the file's name without suffix being the `vid`.
    """

    def __init__(self, path: Path) -> None:
        """Opens the catalog read-only and lists its videos.

        Raises:
            CatalogError: it is no catalog.
            DataError: it holds no features.
        """
        self.source = str(path)
        self._catalog = Catalog.open(path, readonly=True)
        row = self._catalog.extractor
        if row is None:
            self._catalog.close()
            raise DataError(
                f"{path}: the catalog holds no features yet",
                remedy="fill it first: vmrtool index DIR --catalog " + str(path),
            )
        self._extractor_id = row.id
        self.extractor: dict[str, Any] | None = {
            "backbone": row.backbone,
            "weights_sha256": row.weights_sha256,
            "settings": dict(row.settings),
        }
        self._by_path: dict[Path, str] = {}
        self._by_stem: dict[str, dict[str, Path]] = {}  # name -> content -> a file that has it
        for video in self._catalog.videos():
            if video.content_hash is None:
                continue
            self._by_path[video.path] = video.content_hash
            self._by_stem.setdefault(video.path.stem, {})[video.content_hash] = video.path

    def close(self) -> None:
        """Closes the catalog."""
        self._catalog.close()

    def _find(self, sample: Sample) -> tuple[str, Path] | None:
        """Content hash and file of the sample's video, or None where the catalog has it not.

        Raises:
            DataError: several different videos of the catalog bear the sample's name.
        """
        if sample.video is not None and sample.video in self._by_path:
            return self._by_path[sample.video], sample.video
        named = self._by_stem.get(sample.vid, {})
        if len(named) > 1:
            raise DataError(
                f"{self.source}: {len(named)} different videos are called {sample.vid!r}",
                remedy='name the file in the data set: "video": path relative to the JSONL',
            )
        return next(iter(named.items()), None)

    def get(self, sample: Sample) -> StoredVideo | None:
        """The features of the sample's video, or None where it is not indexed."""
        found = self._find(sample)
        if found is None:
            return None
        content_hash, file = found
        stored = self._catalog.features(content_hash, self._extractor_id)
        if stored is None or len(stored.features) == 0:
            return None
        return StoredVideo(stored.features, stored.cells, file)
