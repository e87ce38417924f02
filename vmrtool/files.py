"""Files that are there whole or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path, *, mark: str = "part") -> Iterator[Path]:
    """Gives a hidden place beside `path` to write to; at the end of the block it becomes `path`.

    Where the block fails, `path` is as it was and nothing is left beside it. A killed program
    leaves its place behind, which the next writer takes over.

    Args:
        path: the file to be made or replaced; its folder is made if need be.
        mark: ends the place's name; writers that may be at one file at once each need their own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.{mark}")
    try:
        yield place
        place.replace(path)
    finally:
        # A full or vanished disk must not hide why the block failed.
        with suppress(OSError):
            place.unlink(missing_ok=True)


def safe_name(text: str, longest: int) -> str:
    """Text as a part of a file name that any file system takes, of at most `longest` bytes."""
    return re.sub(r"[^\w.-]+", "_", text).encode()[:longest].decode("utf-8", "ignore")
