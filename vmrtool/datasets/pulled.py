"""Where data sets that were pulled lie, and what of them is there."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vmrtool.assets.registry import annotation_files
from vmrtool.config import cache_folder
from vmrtool.files import whole

FEATURES = "features"
MANIFEST = "features.json"


@dataclass(frozen=True)
class Manifest:
    """Which files of which record of Zenodo have been unpacked into a data set's features."""

    record: int
    files: dict[str, str] = field(default_factory=dict)  # checksums by name
    complete: bool = False

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """That of a data set's folder; None where there is none, or its features are gone."""
        try:
            values: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            found = cls(int(values["record"]), dict(values["files"]), values["complete"] is True)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if (folder / FEATURES).is_dir() else None

    def write(self, folder: Path) -> None:
        """Replaces the manifest of a data set's folder."""
        with whole(folder / MANIFEST) as place:
            place.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def data_folder(dataset: str) -> Path:
    """Where a data set goes that is pulled without saying where to; it need not exist."""
    return cache_folder() / dataset


def pulled_annotations(dataset: str) -> Path | None:
    """The folder of a data set's annotation files, if they have all been pulled."""
    folder = data_folder(dataset)
    files = annotation_files(dataset)
    return folder if files and all((folder / known.file).is_file() for known in files) else None


def pulled_features(dataset: str, folder: Path | None = None) -> Path | None:
    """A data set's features, if they have all been pulled: a folder, or the one HDF5 file in it."""
    folder = folder or data_folder(dataset)
    manifest = Manifest.read(folder)
    if manifest is None or not manifest.complete:
        return None
    features = folder / FEATURES
    whole = [path for path in features.iterdir() if path.suffix in (".h5", ".hdf5")]
    return whole[0] if len(whole) == 1 else features
