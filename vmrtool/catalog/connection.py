"""Opening the catalog's file, and saying in words what SQLite says in codes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from vmrtool.catalog import schema
from vmrtool.catalog.network import network_type
from vmrtool.errors import CatalogError

_MAGIC = b"SQLite format 3\0"
_BUSY_S = 60.0  # how long a writer waits for another one; each of theirs takes milliseconds
_NO_WAL_ACCESS = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def connect(path: Path, *, create: bool, readonly: bool) -> tuple[Database, bool]:
    """Open the SQLite file at `path`; returns the database and whether it can be written.

    With `create`, a file that is not there, or is empty, becomes an empty database. A read-only
    catalog whose folder cannot be written, where SQLite's own working files cannot be made, is
    opened `immutable`.

    Raises:
        CatalogError: there is no such file, it is not SQLite or cannot be opened.
    """
    _look_at(path, create=create)
    with explained(path):
        connection = _open(path, "rwc" if create else "rw")
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if not readonly or _code(error) not in _NO_WAL_ACCESS:
                raise
            return _immutable(path), False
        connection.execute("PRAGMA foreign_keys = ON")
        if readonly:
            connection.execute("PRAGMA query_only = ON")
        return Database(connection, execute_plugins=False), not readonly


def _open(path: Path, mode: str) -> sqlite3.Connection:
    # The catalog is shared by a feeding thread and a committing one; Catalog holds a lock around
    # every transaction, and SQLite itself is built serialized.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        check_same_thread=False,
    )


def _immutable(path: Path) -> Database:
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise CatalogError(
            f"{path}: the last program that wrote here was cut off, and its folder cannot be "
            "written to finish its work",
            remedy=f"copy it together with {log.name} to a folder you can write to",
        )
    return Database(_open(path, "ro&immutable=1"), execute_plugins=False)


def _look_at(path: Path, *, create: bool) -> None:
    """Refuses what is no SQLite file before SQLite touches it."""
    if path.is_dir():
        raise CatalogError(
            f"{path}: a folder, not a catalog", remedy="name the catalog's file, e.g. vmrtool.db"
        )
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        if not create:
            raise CatalogError(
                f"{path}: no such catalog",
                remedy=f"make one: vmrtool index DIR --catalog {path}",
            ) from None
        if not path.parent.is_dir():
            raise CatalogError(
                f"{path}: there is no folder {path.parent}", remedy="make the folder first"
            ) from None
        return
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error.strerror}") from error
    if head != _MAGIC and (head or not create):
        raise CatalogError(
            f"{path}: not a catalog ({'not an SQLite file' if head else 'the file is empty'})",
            remedy="name another file with --catalog, or move this one away and index again",
        )


def check_version(db: Database, path: Path) -> bool:
    """Whether the open file is a catalog as this program writes it; False for an older one.

    Raises:
        CatalogError: it is a newer catalog, or another program's database.
    """
    with explained(path):
        version = schema.version(db)
        mark = schema.application_id(db)
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if mark != schema.APPLICATION_ID and (tables or mark or version):
        raise CatalogError(
            f"{path}: an SQLite file, but not a vmrtool catalog",
            remedy="name another file with --catalog",
        )
    if version > schema.SCHEMA_VERSION:
        raise CatalogError(
            f"{path}: written by a newer vmrtool (schema {version}, this one knows "
            f"{schema.SCHEMA_VERSION})",
            remedy="upgrade: pip install --upgrade vmrtool",
        )
    return version == schema.SCHEMA_VERSION


def choose_journal(db: Database, path: Path) -> None:
    """Puts the catalog into the journal mode that suits its disk; see `vmrtool.catalog.network`.

    Raises:
        CatalogError: another program has it open, so that it cannot be changed.
    """
    wanted = "wal" if network_type(path) is None else "delete"
    with explained(path):
        if db.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
            db.execute(f"PRAGMA journal_mode = {wanted}").fetchone()


def checkpoint(db: Database) -> None:
    """Moves the write-ahead log into the file. Left to the next exit where others are at work."""
    db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error did not come from SQLite itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into CatalogError with the way on."""
    try:
        yield
    except sqlite3.Error as error:
        code = _code(error)
        if code == sqlite3.SQLITE_FULL:
            raise CatalogError(
                f"{path}: the disk is full; the catalog keeps what was finished before",
                remedy="free some space and run the same command again: it goes on where it ended",
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CatalogError(
                f"{path}: another program has held the catalog for {_BUSY_S:.0f} s",
                remedy="wait for it to end, then run the same command again",
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise CatalogError(
                f"{path}: the catalog is damaged ({error})",
                remedy="move it away and index again, or restore it from a copy",
            ) from error
        if code in _NO_WAL_ACCESS:
            raise CatalogError(
                f"{path}: the catalog cannot be {_lacking(path)}",
                remedy="check the permissions of the file and its folder, or choose another place "
                "with --catalog",
            ) from error
        if code == sqlite3.SQLITE_IOERR:
            raise CatalogError(
                f"{path}: reading or writing the catalog failed ({error})",
                remedy="check the disk; the catalog keeps what was finished before",
            ) from error
        raise broken(path, str(error)) from error
    except UnicodeDecodeError as error:  # in SQLite's own message of something damaged
        raise broken(path, "it names things in no known letters") from error


def broken(path: Path, what: str) -> CatalogError:
    """What to raise where a catalog holds something that no vmrtool has written."""
    return CatalogError(
        f"{path}: the catalog is broken ({what})",
        remedy=f"see what is wrong: vmrtool catalog verify --catalog {path}; with --repair it is "
        "dropped, and `vmrtool index` makes it again",
    )


def can_be_written(path: Path) -> bool:
    """Whether a catalog's file and its folder, where SQLite's own files go, can be written."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _lacking(path: Path) -> str:
    readable = not path.exists() or os.access(path, os.R_OK)
    return "written" if readable else "read"
