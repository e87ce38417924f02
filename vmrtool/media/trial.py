"""Decodes one video in a process of its own: `python -m vmrtool.media.trial FILE`.

Whether the process comes to its end is all there is to know; see `vmrtool.cli.supervision`.
"""

import sys
from contextlib import suppress
from pathlib import Path

from vmrtool.errors import MediaError
from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing
from vmrtool.media.probe import probe


def main() -> None:
    """Opens the file as `index` does, and decodes all of it."""
    path = Path(sys.argv[1])
    with suppress(MediaError):
        probe(path)
        with FrameReader(path, fps=24.0, framing=Framing(("exact", (64, 64)))) as reader:
            for _ in reader:
                pass


if __name__ == "__main__":
    main()
