"""Which files of an archive are videos: by suffix always, else by content."""

import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from vmrtool.addresses import Address
from vmrtool.catalog.paths import absolute
from vmrtool.catalog.rows import FoundFile
from vmrtool.errors import UsageError
from vmrtool.media import stores
from vmrtool.media.probe import HEAD, VIDEO_SUFFIXES, begins_as_video, looks_like_video

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

# Music and pictures that begin as videos do. On disk they are opened to tell, which of an object
# would cost copying it.
_BEGIN_ALIKE = frozenset({
    ".m4a", ".m4b", ".m4p", ".m4r", ".oga", ".ogg", ".opus", ".spx", ".mka", ".weba", ".wma", ".ra",
    ".heic", ".heif", ".avif", ".cr3",
})  # fmt: skip


@dataclass
class Discovery:
    """What a walk found.

    `videos` are in the order of their paths; of several names for one file through links there is
    one. `skipped` are files that are no videos; `unreadable` are folders that could not be listed;
    `notes` is what the user should know, in sentences. `listed` are all objects of stores.
    """

    videos: list[FoundFile] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listed: dict[Path, FoundFile] = field(default_factory=dict)

    def find(self, path: Path, root: Path) -> FoundFile | None:
        """The file of this name below `root`, also one that the walk passed by; None if it is gone.

        Raises:
            StoreError: it is in a store that does not answer.
        """
        if not isinstance(path, Address):
            return as_found(path, root) if path.is_file() else None
        if path in self.listed:
            return self.listed[path]
        # What no page of a web server leads to may still be there.
        there = stores.look(path) if path.scheme in stores.WEB else None
        return None if there is None else FoundFile(path, root, there.size, there.mtime_ns)


def discover(paths: Sequence[Path | str], exclude: Sequence[str] = ()) -> Discovery:
    """Find the videos in folders, recursively, and among files named one by one.

    A file with a video's suffix is one, whatever it holds: that it is not shows when it is opened,
    and is then a failure. Others are videos when their content is. A file named by itself is taken
    as it is. Hidden files and what systems leave lying about are left out, links are followed, and
    no folder is entered twice. In a store, what has no video's suffix is a video if it begins as
    one and is not named as music or a picture; it is not opened for that.

    Args:
        paths: folders and files, of this machine or of stores.
        exclude: globs; see `excluded`.

    Raises:
        UsageError: there is no such folder or file, or it is an address that must not be kept.
        MissingError: what reads a store is not installed.
        StoreError: a store does not answer, or does not let us in.
    """
    found = Discovery()
    folders, files = [], []
    for path in map(absolute, paths):
        if isinstance(path, Address):
            _look_through(path, exclude, found)
        elif path.is_dir():
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


def _look_through(root: Address, exclude: Sequence[str], found: Discovery) -> None:
    """Looks at every object below `root`, or at that one, junk and excluded ones left out."""
    there = stores.listing(root)
    if there is None:
        raise UsageError(
            f"{root}: no such bucket, folder or object", remedy="check the address and its spelling"
        )
    objects, odd = there
    if odd:
        found.notes.append(
            f"{root}: {odd} objects are left out: their names have empty parts or dots for parts"
        )
    unsure = []
    for one in objects:
        alone = one.address == root
        home = root.parent if alone else root
        file = FoundFile(one.address, home, one.size, one.mtime_ns)
        found.listed[file.path] = file
        junk = not alone and any(map(_is_junk, file.path.relative_to(home).parts))
        if junk or excluded(file.path, home, exclude):
            continue
        suffix = file.path.suffix.lower()
        if alone or suffix in VIDEO_SUFFIXES:
            found.videos.append(file)
        elif suffix in _BEGIN_ALIKE:
            found.skipped.append(file.path)
        else:
            unsure.append(file)
    heads = stores.side_by_side(lambda file: stores.first_bytes(Address(file.path), HEAD), unsure)
    for file, head in zip(unsure, heads, strict=True):
        if begins_as_video(head):
            found.videos.append(file)
        else:
            found.skipped.append(file.path)


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
    """The file at `path` with its stamp; size and time are 0 where it cannot be looked at.

    Raises:
        StoreError: it is in a store that does not answer.
    """
    if isinstance(path, Address):
        there = stores.look(path)
        stamp = (0, 0) if there is None else (there.size, there.mtime_ns)
        return FoundFile(path, root, *stamp)
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
        local = not isinstance(file.path, Address)
        real = os.path.realpath(file.path) if local else str(file.path)
        if real not in names or str(file.path) == real:
            names[real] = file
    return sorted(names.values(), key=lambda file: os.fsencode(file.path))
