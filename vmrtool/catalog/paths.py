"""File names as the catalog keeps them: bytes, since a name need not be UTF-8.

Paths are absolute, normalised, with '/' between their parts on every system. Symbolic links are
kept as the user wrote them, so that an archive reached through a link stays under that name.
Videos in stores are kept by their addresses, which are like paths in all this.
"""

import base64
import os
from pathlib import Path

from vmrtool.addresses import Address, as_path, is_address


def absolute(path: Path | str) -> Path:
    """`path` made absolute and without '.' and '..', links left alone; addresses stay themselves.

    Raises:
        UsageError: it is an address that must not be kept; see `as_path`.
    """
    path = as_path(path)
    if isinstance(path, Address):
        return path
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links


def path_key(path: Path | str) -> bytes:
    """The bytes under which an absolute path is kept."""
    return os.fsencode(absolute(path)).replace(os.fsencode(os.sep), b"/")


def from_key(key: bytes) -> Path:
    """The path, or the address in a store, kept under `key`."""
    text = os.fsdecode(key)
    return Address(text) if is_address(text) else Path(text)


def join_key(root: bytes, relative: bytes) -> bytes:
    """The key of the file `relative` below the folder `root`."""
    return root.rstrip(b"/") + b"/" + relative


def relative_key(root: bytes, key: bytes) -> bytes | None:
    """`key` relative to the folder `root`; None where it does not lie below it."""
    prefix = root.rstrip(b"/") + b"/"
    return key[len(prefix) :] if key.startswith(prefix) and key != prefix else None


def display(key: bytes) -> str:
    """`key` as text for people; bytes that are not UTF-8 become U+FFFD."""
    return key.decode("utf-8", errors="replace")


def printable(text: str) -> str:
    """`text` fit for a terminal: a file's name may hold anything, terminal commands too."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def base64_unless_utf8(path: Path) -> str | None:
    """The path's bytes in base64 where its name is not UTF-8, so that JSON can carry it."""
    key = os.fsencode(path)
    try:
        key.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(key).decode("ascii")
    return None
