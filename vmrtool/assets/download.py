"""One file from a URL to a path, whole or not at all.

What has come is kept in FILE.part, and in FILE.part.json which version of the file it belongs to.
An interrupted download goes on where it broke off if the server still has that version (HTTP's
Range with If-Range), else it starts again. The file takes its place only once it has been checked.
"""

import errno
import json
import shutil
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from vmrtool import __version__
from vmrtool.assets.progress import SILENT, Progress
from vmrtool.errors import AssetError, DiskError

TIMEOUT_S = 30.0
ATTEMPTS = 3  # in a row that bring no new byte
PAUSE_S = 1.0  # after the first of them, twice as long after each further one
BLOCK = 1 << 18
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _BrokenError(Exception):
    """The transfer ended early in a way that another try may mend."""


def download(
    url: str,
    target: Path,
    *,
    check: Callable[[Path], str | None] = lambda _: None,
    progress: Progress = SILENT,
    plain: bool = False,
) -> None:
    """Downloads a file.

    Only one process at a time may download to the same target; see `vmrtool.assets.lock`.

    Args:
        url: an https address; http only of this machine, or where `plain` allows it.
        target: where to; its folder is made if need be.
        check: says what is wrong with the file that came, None if nothing is.
        progress: told how far it is.
        plain: allow unencrypted http, for a mirror that the user has named.

    Raises:
        AssetError: an address that is not allowed, a server that has no such file, cannot be
            reached or breaks off again and again, a file that fails its check. What has come is
            kept unless it failed the check.
        DiskError: the disk is full, or cannot be written to.
    """
    _allowed(url, plain)
    part = _Part(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            resumed = part.known_as(url) is not None
            _transfer_all(url, part, progress, plain)
            wrong = check(part.path)
            if wrong is None:
                break
            part.discard()
            # Only a whole download in one go proves that the server has the wrong file.
            if not resumed:
                raise AssetError(f"{url}: {wrong}")
        part.path.replace(target)
        part.discard()
    except OSError as error:
        raise not_written(target, error) from error


class _Part:
    """The beginning of a file, and what it is the beginning of."""

    def __init__(self, target: Path) -> None:
        self.file = target.name
        self.path = target.with_name(target.name + ".part")
        self._about = target.with_name(target.name + ".part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def known_as(self, url: str) -> str | None:
        """What tells the version these bytes are of, for If-Range; None to start again."""
        if not self.size:
            return None
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            version = about["version"] if about["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return version if isinstance(version, str) else None

    def begin(self, url: str, response: HTTPResponse) -> None:
        """Forgets what there is and notes what is coming."""
        self.path.unlink(missing_ok=True)
        tag = response.headers.get("ETag")
        # A weak tag promises a like meaning, not like bytes.
        version = response.headers.get("Last-Modified") if not tag or tag[:2] == "W/" else tag
        self._about.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def open(self) -> BinaryIO:
        """The file, to write at its end."""
        return self.path.open("ab")

    def discard(self) -> None:
        """Removes it."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)


def _transfer_all(url: str, part: _Part, progress: Progress, plain: bool) -> None:
    """Transfers until the file is whole, over as many connections as it takes."""
    fruitless = 0
    while True:
        before = part.size
        try:
            _transfer(url, part, progress, plain)
            return
        except _BrokenError as error:
            fruitless = 0 if part.size > before else fruitless + 1
            if fruitless == ATTEMPTS:
                kept = f"; {_megabytes(part.size)} have come and are kept" if part.size else ""
                raise AssetError(f"{url}: {error}{kept}") from error
            time.sleep(PAUSE_S * 2 ** max(0, fruitless - 1))


def _transfer(url: str, part: _Part, progress: Progress, plain: bool) -> None:
    """Transfers what is missing over one connection."""
    headers = {"User-Agent": f"vmrtool/{__version__}", "Accept-Encoding": "identity"}
    version = part.known_as(url)
    if version is not None:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": version}
    try:
        response = _opener(url, plain).open(Request(url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == 416 and version is not None:
            if error.headers.get("Content-Range", "").strip() == f"bytes */{part.size}":
                return  # all of it had come already
            part.discard()
            raise _BrokenError("the server's file is another one now") from error
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _BrokenError(f"the server answers {error.code} ({error.reason})") from error
        raise AssetError(f"{url}: the server answers {error.code} ({error.reason})") from error
    except URLError as error:
        raise _BrokenError(f"cannot be reached ({_reason(error.reason)})") from error
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"cannot be reached ({_reason(error)})") from error
    with response:
        if response.status != 206:
            part.begin(url, response)
        elif _first_byte(response) != part.size:
            part.discard()
            raise _BrokenError("the server sent another part than was asked for")
        length = response.headers.get("Content-Length", "")
        total = part.size + int(length) if length.isdecimal() else None
        _room_for(part, total)
        _receive(response, part, progress, total)


def _receive(response: HTTPResponse, part: _Part, progress: Progress, total: int | None) -> None:
    """Writes what comes to the end of the part."""
    done = part.size
    progress.at(part.file, done, total)
    with part.open() as file:
        while True:
            try:
                block = response.read1(BLOCK)
            except (OSError, HTTPException) as error:
                raise _BrokenError(f"broke off ({_reason(error)})") from error
            if not block:
                break
            file.write(block)
            done += len(block)
            progress.at(part.file, done, total)
    if total is not None and done < total:
        raise _BrokenError(f"broke off after {_megabytes(done)} of {_megabytes(total)}")


def _first_byte(response: HTTPResponse) -> int:
    """Where the bytes of a partial answer begin; -1 where it does not say."""
    given = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(given) if given.isdecimal() else -1


def _room_for(part: _Part, total: int | None) -> None:
    """Refuses to begin what the disk cannot hold."""
    missing = 0 if total is None else total - part.size
    if shutil.disk_usage(part.path.parent).free < missing:
        raise OSError(errno.ENOSPC, f"{_megabytes(missing)} are still to come")


def not_written(target: Path, error: OSError) -> DiskError:
    """The error for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(
            f"{target}: the disk is full ({error.strerror})",
            remedy="Free some space; the same command then goes on from where it stopped.",
        )
    return DiskError(f"{target}: cannot be written ({error.strerror or error})")


def _allowed(url: str, plain: bool) -> None:
    """Refuses addresses other than https, or http of this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (
        parts.scheme == "http" and (plain or parts.hostname in _LOOPBACK)
    ):
        return
    raise AssetError(f"{url}: only https addresses are downloaded from")


class _Redirects(HTTPRedirectHandler):
    """Follows redirections to where a download may come from."""

    def __init__(self, plain: bool) -> None:
        self._plain = plain

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        _allowed(newurl, self._plain)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str, plain: bool) -> OpenerDirector:
    handlers: list[Any] = [_Redirects(plain)]
    if urlsplit(url).hostname in _LOOPBACK:
        handlers.append(ProxyHandler({}))  # no proxy stands between a machine and itself
    return build_opener(*handlers)


def _reason(error: object) -> str:
    """An error in words, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
