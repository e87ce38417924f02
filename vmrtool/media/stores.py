"""Videos in stores (S3, Google Cloud Storage, http), through fsspec: listing them, copying them.

libav is given a copy of an object, never the store: a connection that breaks is then told from a
video that does, and the bytes that are hashed are the ones that are decoded. Credentials are the
store's own business (environment variables, profiles); none is asked for or kept here.
"""

import atexit
import contextlib
import errno
import itertools
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from vmrtool.addresses import Address
from vmrtool.assets.lock import held, is_free
from vmrtool.errors import DiskError, MediaError, MissingError, StoreError, VmrtoolError
from vmrtool.media.at_hand import refuse_quarantined

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

PAUSE_S = 2.0
"""Seconds before a copy that broke off is begun again."""

WEB = ("http", "https")
"""Stores that do not list what they have: there are pages with links."""

_TRIES = 3
_AT_ONCE = 16  # requests on their way
_DEEPEST = 20  # folders of a web server, some of which say yes to every name
_SILENT_S = 60.0
_NEEDS = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
# What a store answers about one object; other refusals are of all that is asked.
_DENIED = ("AccessDenied", "AllAccessDisabled", "InvalidObjectState", "401", "403")
_SECOND_NS = 1_000_000_000

_COPIES = "vmrtool-copies-"
_LOCK = "lock"
_ORIGIN = ".address"
_LONGEST_NAME = 200  # bytes; a file system's limit is 255, a store's 1,024
_YOUNG_S = 60.0


@dataclass(frozen=True)
class Stored:
    """An object of a store, as its listing tells.

    `mtime_ns` tells an unchanged object without reading it: when it was last modified, to the
    second, and below the second a checksum of its ETag.
    """

    address: Address
    size: int
    mtime_ns: int


def listing(root: Address) -> tuple[list[Stored], int] | None:
    """All objects at an address and below it, in no order; None where there is nothing.

    The second value is how many are left out since their names have empty parts or dots in them
    ("a//b"), which no path keeps.

    Raises:
        MissingError: what reads such stores is not installed.
        StoreError: the store does not answer, or does not let us in.
    """
    files = _filesystem(root)
    try:
        with _asking(root):
            if root.scheme in WEB:
                infos = _crawled(files, root)
            else:
                infos = list(files.find(str(root), detail=True).values())
                if not infos and len(root.parts) > 2:
                    infos = [files.info(str(root))]
    except FileNotFoundError:
        return None
    scheme = "" if root.scheme in WEB else f"{root.scheme}://"
    found, odd = [], 0
    for info in infos:
        name = scheme + info["name"]
        if info["type"] != "file" or name.endswith("/"):
            continue
        address = Address(name)
        if str(address) == name and ".." not in address.parts:
            found.append(_stored(address, info))
        else:
            odd += 1
    return found, odd


def look(address: Address) -> Stored | None:
    """One object as it is now; None where there is none.

    Raises:
        StoreError: the store does not answer, or does not let us in.
    """
    try:
        with _asking(address):
            return _stored(address, _filesystem(address).info(str(address)))
    except FileNotFoundError:
        return None


def first_bytes(address: Address, count: int) -> bytes:
    """The first bytes of an object; none where it is gone or must not be read.

    Raises:
        StoreError: the store does not answer.
    """
    files = _filesystem(address)
    try:
        with _asking(address):
            if address.scheme not in WEB:
                return bytes(files.cat_file(str(address), start=0, end=count))
            # Not every server gives parts of a file: this one answer is broken off.
            head = b""
            with files.open(str(address), "rb", block_size=0) as file:
                while len(head) < count and (more := file.read(count - len(head))):
                    head += more
            return head
    except (FileNotFoundError, _DeniedError):
        return b""


def side_by_side(work: Callable[[Asked], Answer], asked: Iterable[Asked]) -> Iterator[Answer]:
    """What `work` gives for each, in order; several are asked for at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(work, asked)


class LocalFile:
    """A video's file on this machine: itself, or of one in a store a copy until it is closed."""

    def __init__(self, path: Path) -> None:
        """Nothing is copied before `path` is asked for."""
        self.original = path
        self._copy: Path | None = None

    @property
    def path(self) -> Path:
        """The file. Of an object it is copied now, if it has not been.

        Raises:
            MediaError: the object is gone, must not be read, or has brought a decoder down.
            StoreError: the store does not answer.
            DiskError: there is no room for a copy.
        """
        if not isinstance(self.original, Address):
            return self.original
        if self._copy is None:
            refuse_quarantined(self.original)
            self._copy = _copied(self.original)
        return self._copy

    def named(self, error: MediaError) -> MediaError:
        """The error with the video's own name, where it speaks of a copy."""
        if self._copy is None:
            return error
        text = str(error).replace(str(self._copy), str(self.original))
        return MediaError(text, stage=error.stage, remedy=error.remedy)

    def close(self) -> None:
        """Removes the copy."""
        if self._copy is not None:
            shutil.rmtree(self._copy.parent, ignore_errors=True)
            self._copy = None

    def __enter__(self) -> "LocalFile":
        """Nothing to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Removes the copy."""
        self.close()


def original(path: Path) -> Path:
    """The address that a copy was made of, also by a process that is gone; else `path`."""
    if path.parent.parent.name.startswith(_COPIES):
        with contextlib.suppress(OSError):
            return Address(os.fsdecode((path.parent / _ORIGIN).read_bytes()))
    return path


# Inside ------------------------------------------------------------------------------------------


class _DeniedError(StoreError):
    """The store is there and does not let us read this."""


@cache
def _of_scheme(scheme: str) -> Any:
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        import fsspec

        if scheme in WEB:
            import aiohttp

            # By itself it would let a transfer take five minutes in all.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENT_S, sock_read=_SILENT_S)
            options["client_kwargs"] = {"trust_env": True, "timeout": timeout}
        return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        extra = "gcsfs" if scheme == "gs" else "'vmrtool[remote]'"
        raise MissingError(
            f"{scheme}:// needs {_NEEDS[scheme]}, which is not installed",
            remedy=f"Install it, on every node of a cluster too: pip install {extra}",
        ) from error


def _filesystem(address: Address) -> Any:
    return _of_scheme(str(address.scheme))


@contextlib.contextmanager
def _asking(address: Address) -> Iterator[None]:
    """Has what goes wrong come out as FileNotFoundError or StoreError; libraries raise anything."""
    try:
        yield
    except VmrtoolError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise  # this machine's disk
        cause = _cause(error)
        if isinstance(cause, FileNotFoundError) or _status(cause) in (404, 410):
            raise FileNotFoundError(str(address)) from error
        kind, said = StoreError, "the store cannot be read"
        if _status(cause) in (401, 403) or isinstance(cause, PermissionError):
            kind, said = _DeniedError if _code(cause) in _DENIED else StoreError, "access denied"
        reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
        raise kind(
            f"{address}: {said}: {reason}",
            remedy="Check address, network and credentials, which are the store's usual ones "
            "(environment, profile). What was done is kept, and the same command goes on.",
        ) from error


def _cause(error: BaseException) -> BaseException:
    """What is behind an error: to fsspec's http everything that goes wrong is a missing file."""
    behind = error.__cause__
    masked = isinstance(error, FileNotFoundError) and behind is not None
    return behind if masked and _code(error) is None and behind is not None else error


def _status(error: BaseException) -> int | None:
    return getattr(error, "status", None)


def _code(error: BaseException) -> str | None:
    """What a store calls an error; of a web server the status."""
    answer = getattr(error.__cause__, "response", None)
    if isinstance(answer, dict):
        return str(answer.get("Error", {}).get("Code"))
    return None if _status(error) is None else str(_status(error))


def _crawled(files: Any, root: Address) -> list[dict[str, Any]]:
    """The files that a web server's pages lead to, from `root` downwards."""
    told = _told(files, str(root))
    if told is not None and told.get("mimetype") != "text/html":
        return [told]
    first = f"{root}/"
    found, folders, seen = set[str](), [(first, 0)], set[str]()
    while folders:
        folder, depth = folders.pop()
        if folder in seen or depth > _DEEPEST:
            continue
        seen.add(folder)
        try:
            entries = files.ls(folder, detail=True)
        except FileNotFoundError:
            if folder == first:
                raise
            continue
        for entry in entries:
            name = entry["name"]
            if "?" in name or "#" in name or ".." in name.split("/"):
                continue  # other orders of a list, places in a page, the way back
            if name.endswith("/"):
                folders.append((name, depth + 1))
            else:
                found.add(name)
    infos = side_by_side(lambda name: _told(files, name), sorted(found))
    return [info for info in infos if info is not None]


def _told(files: Any, name: str) -> dict[str, Any] | None:
    """What a web server says of a file; None where there is none."""
    try:
        info: dict[str, Any] = files.info(name)
    except FileNotFoundError as error:
        if _status(_cause(error)) in (404, 410):
            return None
        raise
    return info


def _stored(address: Address, info: dict[str, Any]) -> Stored:
    names = ("LastModified", "Last-Modified", "updated", "mtime")
    time = next((info[name] for name in names if info.get(name)), None)
    tag = next((str(info[name]) for name in ("ETag", "etag") if info.get(name)), "")
    below = zlib.crc32(tag.encode()) % _SECOND_NS
    return Stored(address, int(info.get("size") or 0), _seconds(time) * _SECOND_NS + below)


def _seconds(time: Any) -> int:
    """Seconds since 1970 of a time as stores tell it; 0 where it is none."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        if isinstance(time, str):
            try:
                time = datetime.fromisoformat(time)
            except ValueError:
                time = parsedate_to_datetime(time)
        return int(time.timestamp() if isinstance(time, datetime) else time)
    return 0


@cache
def _folder() -> Path:
    """This process's folder for copies; those that processes left which were killed are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_COPIES}*"):
        with contextlib.suppress(OSError):
            young = time.time() - left.stat().st_mtime < _YOUNG_S  # and perhaps not locked yet
            if not young and is_free(left / _LOCK):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_COPIES))
    _lasting.enter_context(held(folder / _LOCK))
    _lasting.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


_lasting = contextlib.ExitStack()
atexit.register(_lasting.close)
_numbers = itertools.count(1)


def _copied(address: Address) -> Path:
    """A copy of an object in a folder of its own, beside a file that says what it is of."""
    folder = _folder() / str(next(_numbers))
    name = address.name
    if name.startswith(".") or "\0" in name or len(os.fsencode(name)) > _LONGEST_NAME:
        name = "video"
    copy = folder / name
    try:
        folder.mkdir()
        (folder / _ORIGIN).write_bytes(os.fsencode(address))
        for tries_left in reversed(range(_TRIES)):
            try:
                _fetch(address, copy)
                break
            except StoreError:
                if not tries_left:
                    raise
                time.sleep(PAUSE_S)
        return copy
    except OSError as error:
        raise DiskError(
            f"no copy of {address} can be made in {folder.parent}: {error.strerror}",
            remedy="Make room, or name another folder for copies: TMPDIR=/large/disk.",
        ) from error
    finally:
        if not copy.exists():
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(address: Address, copy: Path) -> None:
    """Copies an object.

    Raises:
        MediaError: it is gone, or must not be read.
        StoreError: the store does not answer.
        OSError: there is no room.
    """
    unfinished = copy.with_name(".unfinished")
    try:
        with _asking(address):
            _filesystem(address).get_file(str(address), str(unfinished))
    except FileNotFoundError as error:
        raise MediaError(f"{address}: no such object any more", stage="open") from error
    except _DeniedError as error:
        raise MediaError(
            str(error),
            stage="open",
            remedy="Have it allowed, then use --retry-failed; or leave it out with --exclude.",
        ) from error
    unfinished.replace(copy)
