"""How long a decoder may take: limits, and work that is given up when it exceeds them.

A thread that hangs in a library cannot be ended. It is left behind, and its work counts as failed.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vmrtool.errors import MediaError

Result = TypeVar("Result")

STALL_S = 120.0  # for one step: opening a file, the next picture
_LEAST_S = 60.0
_SLOWEST = 10.0  # times the video's length: single-threaded 8k decoders need a few


def allowance(claimed_s: float | None) -> float:
    """Seconds that a decoder may spend on a video which says it is `claimed_s` long.

    One that does not say may take an hour.
    """
    return _LEAST_S + _SLOWEST * (354.0 if claimed_s is None else claimed_s)


def too_slow(path: Path, seconds: float) -> MediaError:
    """The error for a video that was given up after so many seconds of decoding."""
    return MediaError(
        f"{path}: given up: the decoder was at it for {seconds:.0f} s",
        stage="decode",
        remedy="Check that the file plays; then give it more time with --retry-failed --timeout S, "
        "or leave it out with --exclude.",
    )


def within(seconds: float, path: Path, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, from a thread of its own.

    Raises:
        MediaError: it has not come back after so many seconds; the thread is left behind.
    """
    done: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # the caller's to judge
            failed.append(error)

    thread = threading.Thread(target=run, name=f"open {path.name!r}", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise too_slow(path, seconds)
    return done[0]
