"""Where notes, warnings and progress go: stderr, unless they are not wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

quiet = False
"""Whether only results and errors are told: `--quiet`."""

verbose = False
"""Whether more is told than usual: `--verbose`."""


def message_console() -> Console:
    """A console on stderr for all that is no result; mute with `--quiet`."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False, quiet=quiet)
