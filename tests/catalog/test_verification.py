"""`verify` finds what is wrong with a catalog, `repair` drops it, and nothing crashes a reader."""

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmrtool.catalog import Catalog, listing
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets, StoredWindow
from vmrtool.catalog.verification import Fault, repair, verify
from vmrtool.errors import VmrtoolError
from vmrtool.indexing.hashing import content_hash


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos with windows of a model, one in two chunks, and one that failed."""
    folder = tmp_path_factory.mktemp("sound")
    with Catalog.create_or_open(folder / "v.db") as catalog:
        extractor = catalog.extractor_id("i3d", "ab", {"stride": 16})
        catalog.use_extractor(extractor)
        for name, n in (("long", 4100), ("short", 3)):
            (folder / name).write_text(name)
            facts = (folder / name).stat()
            file = FoundFile(folder / name, folder, facts.st_size, facts.st_mtime_ns)
            edges = np.arange(n + 1) / 2
            cells = np.stack([edges[:-1], edges[1:]], axis=1)
            stored = StoredSnippets(np.ones((n, 4), np.float16), cells, cells)
            content = content_hash(folder / name)
            catalog.save_video(file, content, FileFacts(duration_s=n / 2), extractor, stored)
            spans = np.array([[0, 1]], np.int32)
            windows = [StoredWindow(content, 0, 3, np.ones((1, 2), np.float32), spans)]
            catalog.save_vectors("m", extractor, windows)
        file = FoundFile(folder / "broken", folder, 1, 1)
        catalog.set_failure(file, None, FileFacts(), extractor, stage="open", error="empty")
        catalog.model = "blocks"
    return folder / "v.db"


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "v.db"))


def spoil(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        assert db.execute(statement).rowcount != 0, statement
    db.commit()
    db.close()


def faults(path: Path, **options: Any) -> tuple[Fault, ...]:
    with Catalog.open(path) as catalog:
        return verify(catalog, **options).faults


def test_a_sound_catalog_has_no_faults_and_everything_is_counted(path: Path) -> None:
    rows: list[int] = []
    with Catalog.open(path) as catalog:
        verdict = verify(catalog, hash_file=content_hash, on_row=rows.append)
    assert verdict.faults == ()
    assert vars(verdict.counts) == {
        "videos": 3, "features": 3, "windows": 2, "failures": 1, "files": 2,
    }  # fmt: skip
    assert rows == sorted(rows) and rows[-1] == 11


WRONG = [
    ("UPDATE features SET data = substr(data, 2) WHERE chunk = 1", "features", "data has 31 bytes"),
    ("UPDATE features SET data = 'x' WHERE n = 3", "features", "no bytes"),
    ("UPDATE features SET data = x'" + "00" * 22 + "007c' WHERE n = 3", "features", "not a finite"),
    ("UPDATE features SET cells = x'" + "00" * 40 + "000000000000f87f' WHERE n = 3", "features",
     "a span of cells is not finite"),
    ("UPDATE features SET cells = x'000000000000f03f" + "00" * 40 + "' WHERE n = 3", "features",
     "runs backwards"),
    ("UPDATE features SET seen = zeroblob(64) WHERE chunk = 1", "features", "runs backwards"),
    ("UPDATE features SET n = 4 WHERE n = 3", "features", "not 32"),
    ("UPDATE features SET n = -1 WHERE n = 3", "features", "cannot be"),
    ("UPDATE features SET dim = 0 WHERE n = 3", "features", "cannot be"),
    ("UPDATE features SET dim = 5 WHERE chunk = 1", "features", "5 columns, the first 4"),
    ("DELETE FROM features WHERE n = 4096", "features", "chunk 0 is not there"),
    ("UPDATE windows SET n = 9 WHERE n = 3", "windows", "past the features"),
    ("UPDATE windows SET first = -1", "windows", "cannot be"),
    ("DELETE FROM vectors WHERE rowid = 1", "windows", "no vectors"),
    ("UPDATE vectors SET spans = x'0000000003000000'", "windows", "that the window has not"),
    ("UPDATE vectors SET data = x'0000807f00000000'", "windows", "not finite"),
    ("UPDATE vectors SET data = zeroblob(7)", "windows", "not 8 bytes"),
    ("UPDATE vectors SET dim = 1, data = zeroblob(4) WHERE window_id = 2", "windows", "1 columns"),
    ("UPDATE videos SET path_bytes = x'2e2e2f61' WHERE id = 1", "videos", "no path below"),
    ("UPDATE videos SET path_bytes = 'text' WHERE id = 1", "videos", "no path below"),
    ("UPDATE videos SET state = 'gone' WHERE id = 1", "videos", "state gone"),
    ("UPDATE videos SET size = 'big' WHERE id = 1", "videos", "size"),
    ("UPDATE videos SET duration_s = 9e999 WHERE id = 1", "videos", "duration_s is inf"),
    ("UPDATE videos SET width = x'00' WHERE id = 1", "videos", "width"),
    ("UPDATE videos SET path = CAST(x'ff' AS TEXT), fps = 'x' WHERE id = 1", "videos", "fps"),
    ("UPDATE videos SET root_id = 77 WHERE id = 1", "videos", "points to a row of roots"),
    ("UPDATE videos SET path = 'shorT' WHERE path = 'short'", "videos", "path_bytes differ"),
    ("UPDATE roots SET path_bytes = x'61'", "roots", "no absolute path"),
    ("UPDATE roots SET path_bytes = x'2f61'", "roots", "path_bytes differ"),
    ("UPDATE features SET digest = NULL WHERE n = 3", "features", "its digest differs"),
    ("UPDATE vectors SET digest = zeroblob(16)", "windows", "its digest differs"),
    ("UPDATE failures SET attempts = 'many'", "failures", "cannot be read"),
    ("UPDATE failures SET video_id = 77", "failures", "points to a row of videos"),
    ("UPDATE extractors SET settings = '[1]'", "extractors", "settings cannot be read"),
    ("UPDATE settings SET value = '9' WHERE key = 'extractor'", "settings", "not among"),
    ("UPDATE settings SET value = '[' WHERE key = 'model'", "settings", "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "table", "error"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_found_and_repaired(
    path: Path, statement: str, table: str, error: str
) -> None:
    spoil(path, statement)
    found = faults(path)
    assert any(fault.table == table and error in fault.error for fault in found), found
    assert all(fault.remedy for fault in found)
    with Catalog.open(path, readonly=False) as catalog:
        assert repair(catalog, found) == len(found)
        assert verify(catalog).faults == ()
        if table == "features":
            states = {row.path.name: row.state for row in catalog.videos()}
            name = "short" if "n = 3" in statement else "long"
            assert states.pop(name) == "pending" and "indexed" in states.values()


BLOBS = [("features", name) for name in ("data", "seen", "cells")]
BLOBS += [("vectors", name) for name in ("data", "spans")]


@pytest.mark.parametrize(("table", "column"), BLOBS)
def test_a_single_flipped_bit_is_found(path: Path, table: str, column: str) -> None:
    """Where another value of the same kind comes of it, nothing but the digest can tell."""
    db = sqlite3.connect(path)
    rowid, blob = db.execute(
        f"SELECT rowid, {column} FROM {table} ORDER BY length({column}) DESC"
    ).fetchone()
    rng = random.Random(0)
    for place in [0, 8 * len(blob) - 1, *(rng.randrange(8 * len(blob)) for _ in range(10))]:
        changed = bytearray(blob)
        changed[place // 8] ^= 1 << place % 8
        db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (bytes(changed), rowid))
        db.commit()
        assert len(faults(path)) >= 1, f"bit {place}"
    db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (blob, rowid))
    db.commit()
    db.close()
    assert faults(path) == ()


def test_features_under_another_videos_name_are_found(path: Path) -> None:
    spoil(
        path,
        "UPDATE features SET content_hash = 'x' WHERE n = 3",
        "UPDATE windows SET content_hash = 'x' WHERE content_hash NOT IN "
        "(SELECT content_hash FROM features)",
    )
    assert {fault.table for fault in faults(path)} == {"features", "windows"}


def test_a_changed_file_is_found_only_where_its_time_says_it_has_not_changed(sound: Path) -> None:
    import os

    file = sound.with_name("short")
    facts = file.stat()
    file.write_text("SHORT")
    try:
        assert faults(sound, hash_file=content_hash) == ()  # `index` sees that by itself
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        (fault,) = faults(sound, hash_file=content_hash)
        assert fault.row == str(file) and "not the one that was indexed" in fault.error
        assert faults(sound) == ()
    finally:
        file.write_text("short")
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_an_index_that_lacks_rows_is_made_anew(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    was = "CREATE INDEX idx_videos_content_hash ON videos (content_hash)"
    db.execute("UPDATE sqlite_master SET sql = ? WHERE sql = ?", (f"{was} WHERE id > 5", was))
    db.commit()
    db.close()
    spoil(path, "UPDATE videos SET content_hash = 'moved' WHERE id = 1")
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_master SET sql = ? WHERE sql = ?", (was, f"{was} WHERE id > 5"))
    db.commit()
    db.close()
    found = faults(path)
    assert any("index" in fault.error and fault.drop for fault in found)
    with Catalog.open(path, readonly=False) as catalog:
        repair(catalog, found)
        assert verify(catalog).faults == ()


def test_a_file_damaged_beyond_repair_is_told_as_such(path: Path) -> None:
    db = sqlite3.connect(path)
    query = "SELECT rootpage FROM sqlite_master WHERE name = 'features'"
    page, size = db.execute(query).fetchone()[0], db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\x5a" * size
    path.write_bytes(content)
    lasting = [fault for fault in faults(path) if fault.drop is None]
    assert lasting and all("copy" in fault.remedy for fault in lasting)


# Whatever a catalog holds ----------------------------------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=9),
    st.binary(max_size=40),
)
CELLS = [
    *(("videos", name) for name in ("root_id", "path_bytes", "path", "size", "mtime_ns", "state")),
    *(("videos", name) for name in ("content_hash", "duration_s", "width", "fps", "codec")),
    *(("features", name) for name in ("chunk", "n", "dim", "data", "seen", "cells", "digest")),
    *(("windows", name) for name in ("model", "content_hash", "first", "n")),
    *(("vectors", name) for name in ("n", "dim", "data", "spans", "digest")),
    *(("failures", name) for name in ("path", "stage", "error", "attempts", "when")),
    *(("settings", name) for name in ("key", "value")),
    *(("extractors", name) for name in ("backbone", "settings")),
    ("roots", "path_bytes"),
]


def read_all(path: Path) -> None:
    """All ways into a catalog; an error of ours is an answer."""
    for look in (
        listing.info,
        listing.failures,
        listing.videos,
        lambda catalog: [listing.show(catalog, row) for row in catalog.videos()],
        lambda catalog: catalog.load_vectors("m", 1),
        lambda catalog: [catalog.features(row.content_hash, 1) for row in catalog.videos()],
    ):
        try:
            with Catalog.open(path) as catalog:
                look(catalog)
        except VmrtoolError as error:
            assert str(path) in str(error) and error.remedy


@given(cell=st.sampled_from(CELLS), value=VALUES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_value_in_a_cell_crashes_the_reader(
    sound: Path, tmp_path: Path, cell: tuple[str, str], value: Any
) -> None:
    path = Path(shutil.copy(sound, tmp_path / "v.db"))
    table, column = cell
    db = sqlite3.connect(path)
    db.execute("PRAGMA ignore_check_constraints = ON")
    try:
        first = f"(SELECT min(rowid) FROM {table})"
        db.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = {first}', (value,))
    except sqlite3.IntegrityError:
        return
    finally:
        db.commit()
        db.close()
    read_all(path)
    with Catalog.open(path, readonly=False) as catalog:
        repair(catalog, verify(catalog).faults)
        assert all(fault.drop is None for fault in verify(catalog).faults)
    read_all(path)


@given(place=st.integers(100, 10**9), value=st.integers(0, 255))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_flipped_byte_crashes_the_reader(
    sound: Path, tmp_path: Path, place: int, value: int
) -> None:
    path = Path(shutil.copy(sound, tmp_path / "v.db"))
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    read_all(path)
    try:
        faults(path)
    except VmrtoolError as error:
        assert error.remedy
