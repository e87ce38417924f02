"""Bringing an older catalog up to date: a copy beside it, then all of it in one transaction."""

import json
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from vmrtool.catalog import connection, schema
from vmrtool.files import whole


def migrate(db: Database, path: Path) -> None:
    """Brings the schema up to date; when two programs come at once, the second finds it done.

    However it ends, killed in the middle too, the catalog is the old one or the new one.

    Raises:
        sqlite3.Error, OSError: it cannot be written, or the disk has no room for the copy.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        if not connection.check_version(db, path):
            if schema.version(db):
                _copy(path, backup_path(path, schema.version(db)))
            schema.migrations.apply(db)
            db.execute(
                "INSERT INTO settings (key, value) VALUES ('catalog', ?) ON CONFLICT DO NOTHING",
                (json.dumps(uuid.uuid4().hex),),
            )
        db.conn.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


def backup_path(path: Path, version: int) -> Path:
    """Where the copy of a catalog of this schema version lies: `vmrtool.db.v1-backup`."""
    return path.with_name(f"{path.name}.v{version}-backup")


def backups(path: Path) -> list[Path]:
    """The copies that migrations have left beside a catalog."""
    places = (backup_path(path, version) for version in range(1, schema.SCHEMA_VERSION))
    return [place for place in places if place.is_file()]


def _copy(path: Path, place: Path) -> None:
    """A whole copy of the catalog as it is committed, its log included."""
    with whole(place) as part:
        part.unlink(missing_ok=True)  # what a killed program left
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
