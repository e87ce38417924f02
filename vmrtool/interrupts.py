"""Ctrl-C seen to by those who have something to finish first."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Has `handler` see to Ctrl-C inside the block, and whoever did before afterwards.

    Outside the main thread nothing changes: whoever runs this thread sees to signals.
    """
    try:
        before = signal.signal(signal.SIGINT, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
