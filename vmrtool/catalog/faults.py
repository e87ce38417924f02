"""What is wrong with a catalog, in words, and the SQL that takes it away."""

import os
from dataclasses import dataclass
from typing import Any

from vmrtool.catalog.paths import display

INDEX_AGAIN = "--repair drops it; `vmrtool index` then makes it again"
POOL_AGAIN = "--repair drops it; the next search makes it again"
FROM_COPY = "restore the catalog from a copy, or move it away and index again"


@dataclass(frozen=True)
class Fault:
    """Something wrong: in which table and row, what, and what to do.

    `drop` is the SQL that takes it away, with its parameters; None where nothing short of another
    copy helps.
    """

    table: str
    row: str
    error: str
    remedy: str
    drop: tuple[str, tuple[Any, ...]] | None = None


def dropping(table: str, rowid: Any) -> tuple[str, tuple[Any, ...]]:
    """One row."""
    return f"DELETE FROM {table} WHERE rowid = ?", (rowid,)


def dropping_whole(table: str, key: str, rowid: Any) -> tuple[str, tuple[Any, ...]]:
    """All rows that have their `key` in common with one: parts of one thing."""
    of_row = f"SELECT {key} FROM {table} WHERE rowid = ?"
    return f"DELETE FROM {table} WHERE ({key}) IN ({of_row})", (rowid,)


def text(value: Any) -> str:
    """A value from the catalog as text, whatever it is, and not too long."""
    shown = display(value) if isinstance(value, bytes) else str(value)
    return os.fsencode(shown).decode("utf-8", "replace")[:200]
