"""One process at a time: a lock that the system lets go of however its holder ends."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def held(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the lock on the file `path`, made where there is none, for the length of a block.

    `on_wait` is called once if somebody else has it. The file is left lying: removing it would
    part those that have it open from those that come later. Where the file system knows no locks,
    everybody gets it.

    Raises:
        OSError: the file cannot be made.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _take(file, wait=False) is False:
            on_wait()
            _take(file, wait=True)
        yield
    finally:
        os.close(file)


def hold(file: int) -> None:
    """Holds the lock on an open file until that is closed, unless somebody has it.

    On Windows there is none: it would keep the holder itself from reading the file by another
    handle, and nobody removes there what somebody has open.
    """
    if sys.platform != "win32":
        _take(file, wait=False)


def is_free(path: Path) -> bool:
    """Whether the lock on the file `path` is known to be held by nobody.

    Raises:
        OSError: there is no such file.
    """
    file = os.open(path, os.O_RDWR)
    try:
        return _take(file, wait=False) is True
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt
    import time

    def _take(file: int, wait: bool) -> bool:
        while True:
            os.lseek(file, 0, os.SEEK_SET)
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    return False
                time.sleep(0.2)
            else:
                return True

else:
    import fcntl

    def _take(file: int, wait: bool) -> bool | None:
        # Unlike a lock by `lockf`, one by `flock` also keeps two threads of a process apart.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:
            return None  # the file system knows no locks
        return True
