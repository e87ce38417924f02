"""The catalog: what goes in comes out, whole or not at all, and other files are refused."""

import os
import shutil
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmrtool.catalog import Catalog, schema, snippets
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets, StoredWindow
from vmrtool.errors import CatalogError

FACTS = FileFacts(12.5, 320, 240, 90, 29.97, "h264", "mov", "ends at 12.50 s")


def make_snippets(n: int, dim: int = 8, seed: int = 0) -> StoredSnippets:
    rng = np.random.default_rng(seed)
    return StoredSnippets(
        rng.standard_normal((n, dim)).astype(np.float16),
        rng.standard_normal((n, 2)),
        rng.standard_normal((n, 2)),
    )


def found(root: Path, name: str | bytes = "a.mp4", size: int = 7, mtime_ns: int = 9) -> FoundFile:
    return FoundFile(root / os.fsdecode(name), root, size, mtime_ns)


@pytest.fixture
def catalog(tmp_path: Path):
    with Catalog.create_or_open(tmp_path / "vmrtool.db") as opened:
        opened.use_extractor(opened.extractor_id("i3d", "ab", {"stride": 16, "fps": 24.0}))
        yield opened


def same(a: StoredSnippets, b: StoredSnippets) -> bool:
    pairs = ((a.features, b.features), (a.seen, b.seen), (a.cells, b.cells))
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


# Round trips ---------------------------------------------------------------------------------


def test_video_and_features_come_back_after_reopening(tmp_path: Path) -> None:
    stored = make_snippets(5)
    with Catalog.create_or_open(tmp_path / "v.db") as catalog:
        extractor = catalog.extractor_id("i3d", "ab", {"stride": 16})
        catalog.use_extractor(extractor)
        catalog.save_video(found(tmp_path), "hash", FACTS, extractor, stored)
    with Catalog.open(tmp_path / "v.db") as catalog:
        (video,) = catalog.videos()
        assert (video.path, video.size, video.mtime_ns) == (tmp_path / "a.mp4", 7, 9)
        assert (video.content_hash, video.state, video.facts) == ("hash", "indexed", FACTS)
        back = catalog.features("hash", extractor)
        assert back is not None and same(back, stored)
        assert catalog.extractor is not None
        assert catalog.extractor.settings == {"stride": 16}


def test_long_videos_lie_in_chunks_and_any_stretch_reads_alone(catalog: Catalog) -> None:
    n = 2 * snippets.CHUNK + 100
    stored = make_snippets(n, dim=2)
    extractor = catalog.extractor.id
    catalog.save_video(found(catalog.path.parent), "long", FACTS, extractor, stored)
    rows = sqlite3.connect(catalog.path).execute("SELECT chunk, n FROM features").fetchall()
    assert rows == [(0, 4096), (1, 4096), (2, 100)]
    assert catalog.snippet_count("long", extractor) == n
    for first, count in ((0, None), (0, 1), (4095, 2), (4096, 4096), (5000, 3000), (n - 1, 1)):
        part = catalog.features("long", extractor, first, count)
        stop = n if count is None else first + count
        assert part is not None and np.array_equal(part.features, stored.features[first:stop])
        assert np.array_equal(part.cells, stored.cells[first:stop])


@given(name=st.binary(min_size=1, max_size=40).filter(lambda b: not set(b) & set(b"\0/")))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_file_name_is_found_again(catalog: Catalog, name: bytes) -> None:
    root = catalog.path.parent
    file = found(root, b"x" + name)
    catalog.save_video(file, "h", FACTS, catalog.extractor.id, make_snippets(1))
    row = catalog.video(file.path)
    assert row is not None and row.path == file.path and row.path_bytes == b"x" + name


def test_a_video_below_two_roots_is_one_video(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id
    inner = FoundFile(root / "sub" / "a.mp4", root / "sub", 1, 1)
    outer = FoundFile(root / "sub" / "a.mp4", root, 1, 1)
    for file in (inner, outer, inner):
        catalog.save_video(file, "h", FACTS, extractor, make_snippets(1))
    assert [row.path for row in catalog.videos()] == [inner.path]


def test_glob_fits_name_relative_and_absolute_path(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id
    for name in ("a.mp4", "b.mkv", "sub/c.mp4"):
        catalog.save_video(found(root, name), name, FACTS, extractor, make_snippets(1))

    def names(glob: str) -> list[str]:
        return [row.path.name for row in catalog.videos(glob)]

    assert names("*.mp4") == ["a.mp4", "c.mp4"]
    assert names("sub/*") == ["c.mp4"]
    assert names(f"{root}/b*") == ["b.mkv"]
    assert names("nothing*") == []


# Extractors ----------------------------------------------------------------------------------


def test_other_settings_are_another_extractor_and_share_no_features(catalog: Catalog) -> None:
    first = catalog.extractor.id
    catalog.save_video(found(catalog.path.parent), "h", FACTS, first, make_snippets(2))
    second = catalog.extractor_id("i3d", "ab", {"fps": 24.0, "stride": 64})
    assert second != first
    assert catalog.extractor_id("i3d", "ab", {"fps": 24.0, "stride": 16}) == first
    assert catalog.extractor_id("i3d", "cd", {"fps": 24.0, "stride": 16}) not in (first, second)
    assert catalog.features("h", second) is None
    catalog.use_extractor(second)
    assert [row.state for row in catalog.videos()] == ["pending"]
    catalog.use_extractor(first)
    assert [row.state for row in catalog.videos()] == ["indexed"]


def test_a_failure_belongs_to_the_extractor_it_happened_under(catalog: Catalog) -> None:
    first = catalog.extractor.id
    catalog.set_failure(
        found(catalog.path.parent), "h", FACTS, first, stage="extract", error="not finite"
    )
    catalog.use_extractor(catalog.extractor_id("i3d", "ab", {"stride": 64}))
    assert catalog.failures() == [] and catalog.videos()[0].state == "pending"
    catalog.use_extractor(first)
    assert [row.error for row in catalog.failures()] == ["not finite"]


# Failures ------------------------------------------------------------------------------------


def test_attempts_count_on_until_the_file_changes_or_succeeds(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id

    def fail(mtime_ns: int) -> int:
        file = found(root, mtime_ns=mtime_ns)
        return catalog.set_failure(
            file, "h", FACTS, extractor, stage="open", error="no", remedy="do"
        ).attempts

    assert [fail(1), fail(1), fail(1), fail(2)] == [1, 2, 3, 1]
    (failure,) = catalog.failures()
    assert (failure.path, failure.stage, failure.error) == (root / "a.mp4", "open", "no")
    assert failure.remedy == "do" and failure.when.startswith("20")
    catalog.save_video(found(root), "h", FACTS, extractor, make_snippets(1))
    assert catalog.failures() == []
    assert fail(9) == 1


# Whole or not at all -------------------------------------------------------------------------


def test_a_full_disk_leaves_nothing_half_written(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id
    catalog.save_video(found(root, "a.mp4"), "a", FACTS, extractor, make_snippets(3))
    pages = catalog._db.execute("PRAGMA page_count").fetchone()[0]
    catalog._db.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone()
    with pytest.raises(CatalogError, match="disk is full") as caught:
        catalog.save_video(found(root, "b.mp4"), "b", FACTS, extractor, make_snippets(9000, dim=64))
    assert "free some space" in caught.value.remedy
    assert [row.path.name for row in catalog.videos()] == ["a.mp4"]
    assert catalog.features("b", extractor) is None
    assert catalog.snippet_count("a", extractor) == 3


def test_a_video_that_cannot_be_written_is_not_begun(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id
    wrong = StoredSnippets(np.zeros((3, 2), np.float16), np.zeros((2, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="do not fit"):
        catalog.save_video(found(root), "h", FACTS, extractor, wrong)
    with pytest.raises(ValueError, match="no features"):
        catalog.save_video(found(root), "h", FACTS, extractor, None)
    assert catalog.videos() == []


def test_an_error_inside_a_transaction_takes_all_of_it_back(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError), catalog.transaction():
        catalog.remember(colour="red")
        catalog.model = "charades"
        raise RuntimeError
    assert catalog.setting("colour") is None and catalog.model is None
    catalog.model = "charades"
    assert catalog.model == "charades"
    catalog.model = None
    assert catalog.model is None


# Files that are no catalog -------------------------------------------------------------------


def refused(path: Path, match: str, *, create: bool = True) -> CatalogError:
    """Both ways in refuse the file, with a way on, and leave it as it is."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CatalogError, match=match) as caught:
        Catalog.open(path)
    if create:
        with pytest.raises(CatalogError, match=match) as caught:
            Catalog.create_or_open(path)
    assert caught.value.exit_code == 3 and caught.value.remedy
    assert before is None or path.read_bytes() == before
    return caught.value


def test_what_is_not_sqlite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.db"
    path.write_text("shopping list\n" * 100)
    refused(path, "not an SQLite file")
    path.write_bytes(b"")
    refused(path, "the file is empty", create=False)
    refused(tmp_path, "a folder")
    refused(tmp_path / "none.db", "no such catalog", create=False)
    refused(tmp_path / "none" / "v.db", "no such catalog", create=False)
    with pytest.raises(CatalogError, match="no folder"):
        Catalog.create_or_open(tmp_path / "none" / "v.db")


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "v.db") as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    refused(tmp_path / "v.db", "not a vmrtool catalog")


def test_a_newer_catalog_is_refused(tmp_path: Path) -> None:
    Catalog.create_or_open(tmp_path / "v.db").close()
    with sqlite3.connect(tmp_path / "v.db") as db:
        db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    db.close()
    assert "upgrade" in refused(tmp_path / "v.db", "written by a newer vmrtool").remedy


def test_a_damaged_catalog_is_named_so(tmp_path: Path) -> None:
    path = tmp_path / "v.db"
    with Catalog.create_or_open(path) as catalog:
        extractor = catalog.extractor_id("i3d", "ab", {})
        catalog.save_video(found(tmp_path), "h", FACTS, extractor, make_snippets(4000))
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\x5a" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match="damaged"), Catalog.open(path) as catalog:
        catalog.features("h", extractor)


def test_an_empty_file_becomes_a_catalog(tmp_path: Path) -> None:
    (tmp_path / "v.db").touch()
    with Catalog.create_or_open(tmp_path / "v.db") as catalog:
        assert catalog.videos() == []


# Migrations ----------------------------------------------------------------------------------


def test_every_migration_raises_the_version_by_one(tmp_path: Path) -> None:
    with Catalog.create_or_open(tmp_path / "v.db") as catalog:
        applied = schema.migrations.applied(catalog._db)
        assert len(applied) == schema.SCHEMA_VERSION == schema.version(catalog._db)


@pytest.mark.parametrize("way", [Catalog.open, Catalog.create_or_open])
def test_an_older_catalog_is_migrated_and_keeps_its_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way
) -> None:
    stored = make_snippets(4)
    with Catalog.create_or_open(tmp_path / "v.db") as catalog:
        extractor = catalog.extractor_id("i3d", "ab", {})
        catalog.save_video(found(tmp_path), "h", FACTS, extractor, stored)
        identity = catalog.id
    newer = schema.Migrations("vmrtool")
    newer._migrations = list(schema.migrations._migrations)

    following = schema.SCHEMA_VERSION + 1

    @newer()
    def m_notes(db) -> None:
        db.table("videos").add_column("note", str)
        db.execute(f"PRAGMA user_version = {following}")

    monkeypatch.setattr(schema, "migrations", newer)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", following)
    with way(tmp_path / "v.db") as catalog:
        assert schema.version(catalog._db) == following and catalog.id == identity
        assert "note" in catalog._db.table("videos").columns_dict
        back = catalog.features("h", extractor)
        assert back is not None and same(back, stored)
        assert len(catalog.videos()) == 1


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Catalog.create_or_open(tmp_path / "v.db").close()
    broken = schema.Migrations("vmrtool")
    broken._migrations = list(schema.migrations._migrations)
    present, following = schema.SCHEMA_VERSION, schema.SCHEMA_VERSION + 1

    @broken()
    def m_broken(db) -> None:
        db.execute("CREATE TABLE half (x)")
        db.execute(f"PRAGMA user_version = {following}")
        db.execute("CREATE TABLE half (x)")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", broken)
        patch.setattr(schema, "SCHEMA_VERSION", following)
        with pytest.raises(CatalogError, match="half"):
            Catalog.create_or_open(tmp_path / "v.db")
    with Catalog.open(tmp_path / "v.db") as catalog:
        assert schema.version(catalog._db) == present
        assert not catalog._db.table("half").exists()


# The file ------------------------------------------------------------------------------------


def test_nothing_lies_beside_a_closed_catalog(tmp_path: Path) -> None:
    with Catalog.create_or_open(tmp_path / "v.db") as catalog:
        catalog.remember(colour="red")
        assert catalog._db.journal_mode == "wal"
    with Catalog.open(tmp_path / "v.db") as catalog:
        assert catalog.setting("colour") == "red"
    assert [path.name for path in tmp_path.iterdir()] == ["v.db"]


def test_the_log_is_written_back_while_others_read(tmp_path: Path) -> None:
    with Catalog.create_or_open(tmp_path / "v.db") as reader:
        with Catalog.create_or_open(tmp_path / "v.db") as writer:
            writer.remember(text="x" * 10_000)
        assert (tmp_path / "v.db-wal").stat().st_size == 0
        assert reader.setting("text") == "x" * 10_000


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Catalog.create_or_open(tmp_path / "v.db").close()
    with Catalog.open(tmp_path / "v.db") as catalog:
        assert not catalog.writable
        with pytest.raises(CatalogError, match="cannot be written"):
            catalog.remember(colour="red")


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions")
def test_a_catalog_in_a_folder_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path,
) -> None:
    """In a process of its own, without root's rights."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    with Catalog.create_or_open(folder / "v.db") as catalog:
        extractor = catalog.extractor_id("i3d", "ab", {})
        catalog.save_video(found(tmp_path), "h", FACTS, extractor, make_snippets(3))
        # Another one, as a program leaves it that was cut off: its log not written back.
        for end in ("", "-wal"):
            shutil.copy(folder / f"v.db{end}", folder / f"cut.db{end}")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555)
    script = f"""
import os
from vmrtool.catalog import Catalog
from vmrtool.errors import CatalogError
os.chdir({str(folder)!r})
if os.getuid() == 0:
    os.setuid(65534)
with Catalog.open("v.db") as catalog:
    print(len(catalog.videos()), len(catalog.features("h", 1).features), catalog.writable)
try:
    Catalog.create_or_open("v.db")
except CatalogError as error:
    print(error, "|", error.remedy)
try:
    Catalog.open("cut.db")
except CatalogError as error:
    print(error, "|", error.remedy)
"""
    for parent in (folder, *folder.parents):  # pytest's own folders are root's alone
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == "1 3 False"
    assert "cannot be written" in second and "permissions" in second
    assert "was cut off" in third and "copy it together with cut.db-wal" in third
    assert sorted(path.name for path in folder.iterdir()) == ["cut.db", "cut.db-wal", "v.db"]


# Windows and vectors -------------------------------------------------------------------------


def window(content: str, first: int, n: int, seed: int) -> StoredWindow:
    rng = np.random.default_rng(seed)
    stretches = n // 4 + 1
    return StoredWindow(
        content,
        first,
        n,
        rng.standard_normal((stretches, 5)).astype(np.float32),
        rng.integers(0, n, (stretches, 2)).astype(np.int32),
    )


def test_vectors_come_back_by_model_and_extractor(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id
    for name in ("a", "b"):
        catalog.save_video(found(root, name), name, FACTS, extractor, make_snippets(40))
    assert catalog.without_vectors("m1", extractor) == ["a", "b"]
    windows = [window("b", 0, 40, 1), window("a", 24, 16, 2), window("a", 0, 32, 3)]
    catalog.save_vectors("m1", extractor, windows)
    assert catalog.without_vectors("m1", extractor) == []
    assert catalog.without_vectors("m2", extractor) == ["a", "b"]
    assert catalog.load_vectors("m2", extractor) == []
    back = catalog.load_vectors("m1", extractor)
    assert [(w.content_hash, w.first, w.n) for w in back] == [
        ("a", 0, 32),
        ("a", 24, 16),
        ("b", 0, 40),
    ]
    for stored, loaded in zip((windows[2], windows[1], windows[0]), back, strict=True):
        assert np.array_equal(stored.vectors, loaded.vectors)
        assert np.array_equal(stored.spans, loaded.spans)
        assert loaded.vectors.dtype == np.float32 and loaded.spans.dtype == np.int32


def test_the_stamp_tells_every_change_of_a_models_windows(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id
    stamps = [catalog.vectors_stamp("m", extractor)]
    for name in ("a", "b"):
        catalog.save_video(found(root, name), name, FACTS, extractor, make_snippets(8))
        catalog.save_vectors("m", extractor, [window(name, 0, 8, 0)])
        stamps.append(catalog.vectors_stamp("m", extractor))
    catalog.save_vectors("m", extractor, [window("b", 0, 8, 1)])  # the same again, replaced
    stamps.append(catalog.vectors_stamp("m", extractor))
    catalog.save_vectors("other", extractor, [window("b", 0, 8, 1)])
    assert catalog.vectors_stamp("m", extractor) == stamps[-1]
    # New features take their windows with them.
    catalog.save_video(found(root, "b"), "b", FACTS, extractor, make_snippets(9))
    stamps.append(catalog.vectors_stamp("m", extractor))
    assert catalog.without_vectors("m", extractor) == ["b"]
    assert all(before != after for before, after in pairwise(stamps))


def test_garbage_is_what_no_video_holds(catalog: Catalog) -> None:
    root, extractor = catalog.path.parent, catalog.extractor.id
    catalog.save_video(found(root, "a"), "old", FACTS, extractor, make_snippets(8))
    catalog.save_vectors("m", extractor, [window("old", 0, 8, 0)])
    catalog.save_video(found(root, "b"), "kept", FACTS, extractor, make_snippets(8))
    assert catalog.collect_garbage() == 0
    catalog.save_video(found(root, "a", mtime_ns=10), "new", FACTS, extractor, make_snippets(8))
    assert catalog.collect_garbage() == 1
    assert catalog.features("old", extractor) is None
    assert catalog.load_vectors("m", extractor) == []
    assert catalog.features("kept", extractor) is not None
