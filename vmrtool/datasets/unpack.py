"""Feature files out of archives made by others, without trusting what those say of paths."""

import errno
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from vmrtool.assets.download import not_written
from vmrtool.errors import AssetError
from vmrtool.files import whole

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
FEATURES = (".npy", ".npz", ".pt", ".h5", ".hdf5")


@dataclass(frozen=True)
class Member:
    """A file in an archive: its path there, its size in bytes, and what opens it."""

    path: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, on_bytes: Callable[[int, int], None] = lambda done, total: None
) -> tuple[int, int]:
    """Unpacks the feature files of a zip or tar archive into one folder, each under its own name.

    Folders inside the archive are left out, as are files of other kinds. Each file appears whole;
    files of the same names are replaced.

    Args:
        archive: the archive.
        folder: where to; made if need be.
        on_bytes: told how many bytes of how many are unpacked.

    Returns:
        How many files were unpacked, and how many were left out.

    Raises:
        AssetError: it is no archive, damaged, has no feature file, two of one name, or a path
            that leads out of it (nothing is unpacked then).
        DiskError: the disk is full.
    """
    try:
        with _opened(archive) as found:
            members = list(found)
            kept = [m for m in members if m.path.lower().endswith(FEATURES)]
            names = _names(archive, members, kept)
            total = sum(member.size for member in kept)
            done = 0
            folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(folder).free < total:
                raise OSError(errno.ENOSPC, f"{total / 1e6:.1f} MB are to be unpacked")
            for member, name in zip(kept, names, strict=True):
                with (
                    whole(folder / name) as place,
                    member.open() as packed,
                    place.open("wb") as file,
                ):
                    shutil.copyfileobj(packed, file)
                done += member.size
                on_bytes(done, total)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        # RuntimeError is what zipfile has for encrypted files.
        raise AssetError(f"{archive}: cannot be unpacked ({error})") from error
    except OSError as error:
        if error.errno is None:  # what gzip and zlib raise for damaged data
            raise AssetError(f"{archive}: cannot be unpacked ({error})") from error
        raise not_written(folder, error) from error
    return len(kept), len(members) - len(kept)


def _names(archive: Path, members: list[Member], kept: list[Member]) -> list[str]:
    """The file names to unpack to; refuses archives that are not what they should be."""
    for member in members:
        path = PurePosixPath(member.path.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.path or "\0" in member.path:
            raise AssetError(
                f"{archive}: holds {member.path!r}, a path that leads out of the archive",
                remedy="Nothing was unpacked. Do not trust this file.",
            )
    names = [PurePosixPath(member.path.replace("\\", "/")).name for member in kept]
    if not names:
        raise AssetError(f"{archive}: no feature file ({', '.join(FEATURES)}) in it")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise AssetError(f"{archive}: {count} files in it are called {name}")
    return names


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    """The plain files of an archive; links and devices are none."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            yield (
                Member(info.filename, info.file_size, partial(zipped.open, info))
                for info in zipped.infolist()
                if not info.is_dir()
                and not stat.S_ISLNK(info.external_attr >> 16)
                and not info.filename.startswith("__MACOSX/")
            )
        return
    with tarfile.open(archive) as tarred:
        yield (
            Member(info.name, info.size, partial(_extracted, tarred, info))
            for info in tarred
            if info.isfile()
        )


def _extracted(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tarred.extractfile(info)
    assert file is not None  # plain files have contents
    return file
