"""An archive split among several runs: which videos belong to shard I of N."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from vmrtool.catalog.rows import FoundFile
from vmrtool.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard written "I/N".

        Raises:
            UsageError: it is not written so, or I does not lie in 1..N.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise UsageError(f"--shard {text}: not of the form I/N", remedy="e.g. --shard 1/4")
        shard = cls(int(index), int(count))
        if not 1 <= shard.index <= shard.count:
            raise UsageError(
                f"--shard {text}: I must lie between 1 and N", remedy=f"e.g. --shard 1/{count}"
            )
        return shard

    def select(self, files: Sequence[FoundFile]) -> list[FoundFile]:
        """Every N-th of the files, sorted by the hash of their POSIX path below their folder.

        The hash mixes long and short videos of one folder; being of the relative path, it is the
        same on machines that mount the archive elsewhere.
        """
        ordered = sorted(files, key=_order)
        return ordered[self.index - 1 :: self.count]


def _order(file: FoundFile) -> tuple[str, bytes]:
    relative = os.fsencode(file.path.relative_to(file.root).as_posix())
    return hashlib.sha256(relative).hexdigest(), os.fsencode(file.path)
