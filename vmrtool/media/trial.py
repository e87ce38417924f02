"""Decodes one video in a process of its own: `python -m vmrtool.media.trial FILE`.

Whether the process comes to its end is all there is to know; see `vmrtool.cli.supervision`. It does
where the decoder hangs too: that is for the run to find, which knows how long it may take.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from vmrtool.errors import MediaError
from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing
from vmrtool.media.probe import probe

_STALL_S = 10.0  # without a picture


def main() -> None:
    """Opens the file as `index` does, and decodes all of it."""
    path = Path(sys.argv[1])
    last = time.monotonic()

    def watch() -> None:
        while time.monotonic() - last < _STALL_S:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    with suppress(MediaError):
        probe(path)
        with FrameReader(path, fps=24.0, framing=Framing(("exact", (64, 64)))) as reader:
            for _ in reader:
                last = time.monotonic()


if __name__ == "__main__":
    main()
