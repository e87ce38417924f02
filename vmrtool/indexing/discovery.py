"""Which files of an archive are videos: by suffix always, else by content."""

import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from vmrtool.catalog.paths import absolute
from vmrtool.catalog.rows import FoundFile
from vmrtool.errors import UsageError
from vmrtool.media.probe import VIDEO_SUFFIXES, looks_like_video

_Inode = tuple[int, int]

# What systems and NAS boxes leave lying about; names that begin with a dot are left out as well.
_JUNK = frozenset(
    name.lower()
    for name in (
        "$RECYCLE.BIN",
        "System Volume Information",
        "RECYCLER",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "@eaDir",
        "#recycle",
        "@Recycle",
        "#snapshot",
        "lost+found",
        "__MACOSX",
    )
)


@dataclass
class Discovery:
    """What a walk found.

    `videos` are in the order of their paths; of several names for one file through links there is
    one. `skipped` are files that are no videos; `unreadable` are folders that could not be listed.
    """

    videos: list[FoundFile] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)


def discover(paths: Sequence[Path | str], exclude: Sequence[str] = ()) -> Discovery:
    """Find the videos in folders, recursively, and among files named one by one.

    A file with a video's suffix is one, whatever it holds: that it is not shows when it is opened,
    and is then a failure. Others are videos when their content is. A file named by itself is taken
    as it is. Hidden files and what systems leave lying about are left out, links are followed, and
    no folder is entered twice.

    Args:
        paths: folders and files.
        exclude: globs; see `excluded`.

    Raises:
        UsageError: there is no such folder or file.
    """
    found = Discovery()
    folders, files = [], []
    for path in map(absolute, paths):
        if path.is_dir():
            folders.append(path)
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(
                f"{path}: no such folder or file", remedy="check the path; is the disk mounted?"
            )
    entered: set[_Inode] = set()
    for folder in folders:
        _walk(folder, exclude, found, entered)
    for path in files:
        if not excluded(path, path.parent, exclude):
            found.videos.append(as_found(path, path.parent))
    found.videos = _each_once(found.videos)
    return found


def excluded(path: Path, root: Path, exclude: Sequence[str]) -> bool:
    """Whether a glob fits the file, or a folder between it and `root`, by name or by path.

    A path is matched absolute and relative to `root`, with '/' between its parts; `*` matches
    '/' too, so that "raw/*" leaves out everything below raw.
    """
    parts = path.relative_to(root).parts
    return bool(exclude) and any(
        _fits(root.joinpath(*parts[: i + 1]), root, exclude) for i in range(len(parts))
    )


def _fits(path: Path, root: Path, exclude: Sequence[str]) -> bool:
    names = (path.name, path.as_posix(), path.relative_to(root).as_posix())
    return any(
        fnmatchcase(name, glob.rstrip("/").removeprefix("./")) for glob in exclude for name in names
    )


def _walk(root: Path, exclude: Sequence[str], found: Discovery, entered: set[_Inode]) -> None:
    """Looks at every file below `root`, junk and excluded ones left out."""
    # Links to folders come last, so that what they lead to is found under its own name if it has
    # one in here; they may be many, and lead back.
    folders, links = [root], deque[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.popleft()
        try:
            status = folder.stat()
            entries = sorted(folder.iterdir())
        except OSError:
            found.unreadable.append(folder)
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        for path in entries:
            if _is_junk(path.name) or _fits(path, root, exclude):
                continue
            if not path.is_dir():
                _consider(path, root, found)
            elif path.is_symlink():
                links.append(path)
            else:
                folders.append(path)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _consider(path: Path, root: Path, found: Discovery) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        # A broken link, or gone since: by its name it should have been a video.
        mode = stat.S_IFREG if path.is_symlink() else 0
    # Reading a pipe or a device could take for ever.
    if stat.S_ISREG(mode) and (path.suffix.lower() in VIDEO_SUFFIXES or looks_like_video(path)):
        found.videos.append(as_found(path, root))
    else:
        found.skipped.append(path)


def as_found(path: Path, root: Path) -> FoundFile:
    """The file at `path` with its stamp; size and time are 0 where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return FoundFile(path, root, 0, 0)
    # A clock gone wrong may set a time that 64 bits of nanoseconds do not hold.
    mtime_ns = max(-(2**63), min(2**63 - 1, status.st_mtime_ns))
    return FoundFile(path, root, status.st_size, mtime_ns)


def _each_once(files: list[FoundFile]) -> list[FoundFile]:
    """One name for each file: its own where that was found, else the first link to it."""
    names: dict[str, FoundFile] = {}
    for file in sorted(files, key=lambda file: os.fsencode(file.path)):
        real = os.path.realpath(file.path)
        if real not in names or file.path == Path(real):
            names[real] = file
    return sorted(names.values(), key=lambda file: os.fsencode(file.path))
