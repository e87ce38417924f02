"""Catalogs of every earlier schema version: opened, migrated after a copy, searched the same."""

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vmrtool.catalog import Catalog, listing, schema
from vmrtool.catalog.migration import backup_path, backups
from vmrtool.catalog.upkeep import vacuum
from vmrtool.catalog.verification import verify
from vmrtool.errors import CatalogError

VERSIONS = Path(__file__).parent / "versions"
sys.path.insert(0, str(VERSIONS))
from make import dump, fill, restore  # noqa: E402

sys.path.pop(0)
EARLIER = range(1, schema.SCHEMA_VERSION)


def stored(version: int, folder: Path) -> Path:
    text = (VERSIONS / f"v{version}.sql").read_text(encoding="utf-8")
    return restore(text, folder / "v.db")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def held(path: Path) -> dict[str, object]:
    with Catalog.open(path) as catalog:
        told = [listing.info(catalog), listing.videos(catalog), listing.failures(catalog)]
        for row in told:
            row.pop("catalog", None), row.pop("bytes", None)
        for failure in told[2]["failures"]:
            failure.pop("when")
        features = [catalog.features(row.content_hash, 1) for row in catalog.videos()]
        arrays = [a for f in features if f for a in (f.features, f.seen, f.cells)]
        arrays += [a for w in catalog.load_vectors("m", 1) for a in (w.vectors, w.spans)]
    return {"told": told, "arrays": [array.tolist() for array in arrays]}


def test_there_is_a_fixture_of_every_earlier_version() -> None:
    names = {path.name for path in VERSIONS.glob("v*.sql")}
    assert names == {f"v{version}.sql" for version in EARLIER}


def test_the_script_writes_what_it_can_read_back(tmp_path: Path) -> None:
    fill(tmp_path / "a.db")
    restored = restore(dump(tmp_path / "a.db"), tmp_path / "b.db")
    assert held(restored) == held(tmp_path / "a.db")


@pytest.mark.parametrize("version", EARLIER)
def test_an_earlier_version_holds_the_same_once_migrated(tmp_path: Path, version: int) -> None:
    path = stored(version, tmp_path)
    before = digest(path)
    fill(tmp_path / "today.db")
    assert held(path) == held(tmp_path / "today.db")
    with Catalog.open(path) as catalog:
        assert catalog.schema_version == schema.SCHEMA_VERSION
        assert verify(catalog).faults == ()
    copy = backup_path(path, version)
    assert backups(path) == [copy] and digest(path) != before
    with sqlite3.connect(copy) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        assert db.execute("SELECT count(*) FROM videos").fetchone() == (4,)
    db.close()
    names = {p.name for p in tmp_path.iterdir()} - {"today.db"}
    assert names == {"v.db", copy.name}
    Catalog.create_or_open(path).close()  # nothing is left to do


@pytest.mark.parametrize("version", EARLIER)
def test_an_earlier_version_is_searched_the_same(tmp_path: Path, version: int) -> None:
    sys.path.insert(0, str(VERSIONS.parent.parent / "search"))
    try:
        from search_catalog import write_model
    finally:
        sys.path.pop(0)
    import vmrtool

    model = write_model(tmp_path / "run")
    fill(tmp_path / "today.db")
    answers = []
    for path in (stored(version, tmp_path), tmp_path / "today.db"):
        with vmrtool.open(path, model=str(model), device="cpu") as archive:
            answers.append(archive.search("a person opens the door").moments)
    assert answers[0] == answers[1] and len(answers[0]) > 1


def test_the_copy_has_what_lies_in_the_log(tmp_path: Path) -> None:
    path = stored(1, tmp_path)
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE videos SET codec = 'late' WHERE id = 1")
    writer.commit()
    assert path.with_name("v.db-wal").stat().st_size
    Catalog.create_or_open(path).close()
    writer.close()
    with sqlite3.connect(backup_path(path, 1)) as db:
        assert db.execute("SELECT codec FROM videos WHERE id = 1").fetchone() == ("late",)
    db.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_migration_killed_midway_leaves_the_old_one(tmp_path: Path) -> None:
    """Killed inside the transaction, after the copy and half of the statements."""
    path = stored(1, tmp_path)
    before = held_as_it_is(path)
    code = f"""
import os, signal
from vmrtool.catalog import Catalog, schema
views = list(schema._VIEWS)
class Killing(str):
    pass
def statements():
    yield views[0]
    os.kill(os.getpid(), signal.SIGKILL)
schema._VIEWS = statements()
Catalog.create_or_open({str(path)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert held_as_it_is(path) == before
    fill(tmp_path / "today.db")
    assert held(path) == held(tmp_path / "today.db")
    assert backups(path) == [backup_path(path, 1)]


def held_as_it_is(path: Path) -> tuple[int, list[tuple[object, ...]]]:
    db = sqlite3.connect(path)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    rows = db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    rows += db.execute("SELECT * FROM videos ORDER BY id").fetchall()
    db.close()
    return version, rows


def test_without_room_for_the_copy_nothing_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmrtool.catalog import migration

    def full(path: Path, place: Path) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    path = stored(1, tmp_path)
    before = held_as_it_is(path)
    monkeypatch.setattr(migration, "_copy", full)
    with pytest.raises(CatalogError, match="disk is full"):
        Catalog.create_or_open(path)
    assert held_as_it_is(path) == before and backups(path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions")
def test_an_earlier_version_that_cannot_be_written_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmrtool.catalog import connection

    path = stored(1, tmp_path)

    def refuse(*_: object) -> None:
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        raise error

    monkeypatch.setattr("vmrtool.catalog.catalog.migrate", refuse)
    with pytest.raises(CatalogError, match="cannot be written"):
        Catalog.open(path)
    monkeypatch.setattr(connection, "can_be_written", lambda path: False)
    with Catalog.open(path) as catalog:
        assert len(catalog.videos()) == 4 and not catalog.writable
        assert verify(catalog).faults == ()
    with pytest.raises(CatalogError, match="cannot be written"):
        Catalog.open(path, readonly=False)


def test_vacuum_removes_the_copies(tmp_path: Path) -> None:
    path = stored(1, tmp_path)
    Catalog.create_or_open(path).close()
    with Catalog.open(path, readonly=False) as catalog:
        assert vacuum(catalog).backups == (backup_path(path, 1),)
        assert vacuum(catalog).backups == ()
    assert backups(path) == []


# Views -----------------------------------------------------------------------------------------


def test_views_read_well(tmp_path: Path) -> None:
    fill(tmp_path / "v.db")
    db = sqlite3.connect(tmp_path / "v.db")
    rows = db.execute("SELECT path, state, meaning, seconds, snippets FROM video_list").fetchall()
    assert sorted(rows) == [
        ("/archive/broken.mp4", "failed", "failed: the file is empty", None, 0),
        ("/archive/copy.mp4", "missing", "its file is gone", 6.0, 12),
        ("/archive/door \ufffd.mp4", "indexed", "can be searched", 2.5, 5),
        ("/archive/kitchen.mp4", "indexed", "can be searched", 6.0, 12),
    ]
    changed = db.execute("SELECT DISTINCT changed_utc, pixels FROM video_list WHERE seconds > 5")
    assert changed.fetchall() == [("2023-11-14 22:13:20", "320x240")]
    [failure] = db.execute("SELECT path, stage, attempts, backbone FROM failure_list").fetchall()
    assert failure == ("/archive/broken.mp4", "open", 1, "stand-in")
    held = dict(db.execute("SELECT name, bytes FROM storage_by_table").fetchall())
    assert held["features"] == 17 * (7 * 2 + 32) and held["vectors"] == 2 * (16 + 8)
    db.close()


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3 program here")
def test_the_sqlite3_program_opens_it(tmp_path: Path) -> None:
    fill(tmp_path / "v.db")
    words = ["sqlite3", "-readonly", str(tmp_path / "v.db"), "SELECT count(*) FROM video_list"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "4\n"


def test_arrays_are_what_the_page_says(tmp_path: Path) -> None:
    fill(tmp_path / "v.db")
    db = sqlite3.connect(tmp_path / "v.db")
    n, dim, data = db.execute("SELECT n, dim, data FROM features ORDER BY n").fetchone()
    assert np.frombuffer(data, "<f2").reshape(n, dim).shape == (5, 7)
    db.close()
