"""Files that Zenodo keeps: which a record has, where they are, their md5 sums.

The record is read from Zenodo's interface at `api/records/NUMBER`. A mirror that $VMRTOOL_ASSETS
names is asked first: it has the answer under the same path, and the files under their names.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmrtool.assets.download import download
from vmrtool.assets.progress import SILENT, Progress
from vmrtool.assets.registry import Asset, Source
from vmrtool.config import OFFLINE_VARIABLE, cache_folder, mirror, offline
from vmrtool.errors import AssetError

ZENODO = "https://zenodo.org"


@dataclass(frozen=True)
class Deposit:
    """A record: its files as assets, the licence it is under, and its page."""

    number: int
    licence: str
    page: str
    files: tuple[Asset, ...]


def read_record(number: int, *, progress: Progress = SILENT) -> Deposit:
    """Reads a record.

    Raises:
        AssetError: it cannot be had, or is not as expected.
    """
    where = f"api/records/{number}"
    base = mirror()
    if isinstance(base, Path) and (base / where).is_file():
        path = base / where
    else:
        path = cache_folder() / "zenodo" / f"{number}.json"
        _fetch(where, path, progress)
    page = f"{ZENODO}/records/{number}"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        licence = (record.get("metadata", {}).get("license") or {}).get("id")
        licence = f"{licence}" if licence else f"see {page}"
        files = tuple(_file(row, number, licence, page) for row in record["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AssetError(
            f"{path}: not a record of Zenodo ({type(error).__name__}: {error})",
            remedy=f"Its files can be fetched by hand from {page}.",
        ) from error
    return Deposit(number, licence, page, files)


def _fetch(where: str, path: Path, progress: Progress) -> None:
    """Downloads a record from the first place that has it."""
    if offline():
        raise AssetError(f"{ZENODO}/{where}: ${OFFLINE_VARIABLE} forbids downloads")
    base = mirror()
    bases = [base, ZENODO] if isinstance(base, str) else [ZENODO]
    failures = []
    for place in bases:
        try:
            download(f"{place}/{where}", path, progress=progress, plain=place == base)
            return
        except AssetError as error:
            failures.append(str(error))
    raise AssetError(
        "; ".join(failures),
        remedy=f"Try again later, or fetch the files by hand from {ZENODO}/records/"
        f"{where.rpartition('/')[2]}.",
    )


def _file(row: dict[str, Any], number: int, licence: str, page: str) -> Asset:
    """A file of a record, as an asset."""
    name = row["key"]
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise ValueError(f"a file called {name!r}")
    if not row["checksum"].startswith("md5:"):
        raise ValueError(f"{name} has the checksum {row['checksum']!r}")
    return Asset(
        name=name,
        kind="features",
        folder=f"zenodo/{number}",
        file=name,
        sources=(Source(row["links"]["self"]),),
        homepage=page,
        licence=licence,
        description=f"of Zenodo's record {number}",
        checksum=row["checksum"],
        size=int(row["size"]),
    )
