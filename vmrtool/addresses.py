"""Where a video of a store lies: s3://bucket/a.mp4, as a path among paths."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from vmrtool.errors import UsageError

SCHEMES = ("s3", "gs", "http", "https")
"""The stores that addresses may be in."""

# A path that was made of an address has lost one of the slashes.
_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+[^/]")
_FILE = re.compile(r"file:/+")

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # before Python 3.12, Path itself has no subclasses


class Address(_Path):
    """An address in a store, used as paths are: it has a name, a suffix, parents.

    No file of this machine lies there: `exists` and `is_file` are False, and it cannot be opened.
    What is there, `vmrtool.media.stores` tells.
    """

    __slots__ = ()

    def __str__(self) -> str:
        """The address as it is written, with two slashes after the scheme."""
        text = super().__str__().replace(os.sep, "/")
        scheme = self.scheme
        return text if scheme is None else f"{scheme}://{text[len(scheme) + 2 :]}"

    @property
    def scheme(self) -> str | None:
        """The kind of store; None for a part of an address that does not begin with it."""
        first = self.parts[0] if self.parts else ""
        return first[:-1] if first.endswith(":") and first[:-1] in SCHEMES else None

    def is_absolute(self) -> bool:
        """Whether it begins with a scheme."""
        return self.scheme is not None

    def absolute(self) -> "Address":
        """The address itself."""
        return self

    def as_uri(self) -> str:
        """The address with all that a URL cannot hold percent-encoded."""
        return quote(str(self), safe="/:%")


def is_address(text: str) -> bool:
    """Whether a text is an address in a store."""
    return _ADDRESS.match(text) is not None


def as_path(text: Path | str) -> Path:
    """The address, or the path of this machine, that a text is; `file://` is the latter.

    Raises:
        UsageError: the address holds a password, or a query such as a signature: it would be kept
            in the catalog. The message does not repeat it.
    """
    if isinstance(text, Address):
        return text
    written = os.fspath(text)
    if _FILE.match(written):
        return Path(unquote(_FILE.sub("/", written)))
    if not is_address(written):
        return Path(text)
    address = Address(written)
    if "@" in address.parts[1]:
        raise UsageError(
            "an address with a user or password in it: catalogs keep addresses, and no secrets",
            remedy="Give credentials in the store's own way: its environment variables, profile, "
            "or for http a ~/.netrc.",
        )
    if address.scheme in ("http", "https") and re.search("[?#]", written):
        raise UsageError(
            "an address with a query (?...) in it: signed ones end, and catalogs keep no secrets",
            remedy="Name the object itself, or its folder; copy it here where that cannot be read.",
        )
    return address
