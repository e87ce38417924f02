"""Several runs on one catalog share the work: who is at which content right now.

A claim is a lock on one byte of a file beside the catalog, its place taken from the content's hash.
The system lets go of it when the program ends, however that comes about, so nothing is ever left
locked. Claims only save work: what keeps the catalog right are its transactions.
"""

import contextlib
import os
import sys
from pathlib import Path
from types import TracebackType


class Claims:
    """This run's claims on contents of the catalog at `catalog`; a context manager.

    Where the file system knows no locks, everybody gets every claim.
    """

    def __init__(self, catalog: Path) -> None:
        """Opens the file that the locks are on."""
        self.path = catalog.with_name(catalog.name + "-claims")
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)

    def __enter__(self) -> "Claims":
        """Nothing to do: the file is open from the start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets go of everything; the last run to do so removes the file.

        A run that opened it this very moment keeps its locks on the removed file, unseen by later
        ones: a video may then be decoded twice, which is all that can come of it.
        """
        alone = _lock_all(self._file)
        os.close(self._file)
        if alone:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def take(self, content_hash: str) -> bool:
        """Claims a content; False where another run has it."""
        return _lock(self._file, _place(content_hash))

    def release(self, content_hash: str) -> None:
        """Gives a content free again."""
        _unlock(self._file, _place(content_hash))


def _place(content_hash: str) -> int:
    return int(content_hash[:14], 16)  # 56 bits: below the largest offset a lock may have


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, place: int) -> bool:
        os.lseek(file, place, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        with contextlib.suppress(OSError):
            msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

    def _lock_all(file: int) -> bool:
        return True  # Windows does not remove a file that somebody else has open

else:
    import errno
    import fcntl

    def _lock(file: int, place: int) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def _lock_all(file: int) -> bool:
        with contextlib.suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _unlock(file: int, place: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_UN, 1, place)
