"""What must not be lost or doubled: odd names and clocks, files that move, disks that fill."""

import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexing_fakes import FakeExtractor, snippets_of, write_video

from vmrtool.catalog import Catalog, connection, network
from vmrtool.catalog.verification import repair, verify
from vmrtool.cli.index_display import _one_interrupt
from vmrtool.errors import CatalogError, MediaError
from vmrtool.indexing import hosts
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.report import Event, IndexReport, Noted

_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file names, links and signals")


class Archive:
    """A folder of small videos beside its catalog."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "videos"
        self.folder.mkdir()
        self.catalog = place / "vmrtool.db"
        self.told: list[str] = []

    def run(self, extractor: FakeExtractor | None = None, **how: Any) -> IndexReport:
        def note(event: Event) -> None:
            if isinstance(event, Noted):
                self.told.append(event.text)

        source = (extractor or FakeExtractor()).source
        return index([how.pop("root", self.folder)], self.catalog, source, on_event=note, **how)

    def states(self) -> dict[str, str]:
        with Catalog.open(self.catalog) as catalog:
            return {row.path.name: row.state for row in catalog.videos()}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


# Names, links, clocks ------------------------------------------------------------------------


@_POSIX
def test_any_name_is_indexed_and_known_again(archive: Archive) -> None:
    names = ["a b.mp4", "a\nb.mp4", "-rf.mp4", "🎬.mp4", "=1+1.mp4", "\x1b[31m.mp4", "é.mp4"]
    names += ["x" * 251 + ".mp4", os.fsdecode(b"\xff\xfe.mp4")]
    plain = write_video(archive.folder.parent / "plain", 0).read_bytes()
    for number, name in enumerate(names):
        (archive.folder / name).write_bytes(plain + bytes([number]))
    assert archive.run().indexed == len(names)
    assert set(archive.states()) == set(names)
    assert archive.run().unchanged == len(names)


@_POSIX
def test_loops_of_links_end_and_two_names_are_decoded_once(archive: Archive) -> None:
    first = write_video(archive.folder / "a" / "1.mp4", 1)
    (archive.folder / "a" / "up").symlink_to(archive.folder)
    (archive.folder / "self.mp4").symlink_to("self.mp4")
    (archive.folder / "hard.mp4").hardlink_to(first)
    (archive.folder / "soft.mp4").symlink_to(first)
    extractor = FakeExtractor()
    report = archive.run(extractor)
    assert (report.indexed, report.copies) == (1, 1)  # the soft link is the same file
    assert len(extractor.asked) == 1
    assert [row.path.name for row in report.failed] == ["self.mp4"]


@pytest.mark.parametrize("when", [-5_000_000_000, 0, 2**33, 2**34])
def test_clocks_that_are_wrong(archive: Archive, when: int) -> None:
    path = write_video(archive.folder / "a.mp4", 1)
    try:
        os.utime(path, (when, when))
    except (OSError, OverflowError):
        pytest.skip("the file system holds no such time")
    assert archive.run().indexed == 1
    assert archive.run().unchanged == 1
    os.utime(path, (1, 1))  # the clock steps back
    assert archive.run().unchanged == 1


# What changes meanwhile ----------------------------------------------------------------------


def test_a_file_that_goes_while_it_is_read(archive: Archive) -> None:
    for number in range(3):
        write_video(archive.folder / f"{number}.mp4", number)

    def move(path: Path) -> None:
        if path.name == "1.mp4":
            path.rename(path.with_name("moved.mp4"))
            raise MediaError(f"{path}: no such file", stage="open")

    report = archive.run(FakeExtractor(before=move))
    assert report.indexed == 2 and [row.path.name for row in report.failed] == ["1.mp4"]
    again = archive.run()
    assert (again.indexed, again.unchanged, again.missing, again.failed) == (1, 2, 0, ())
    assert archive.states() == dict.fromkeys(("0.mp4", "2.mp4", "moved.mp4"), "indexed")


def test_a_folder_that_was_renamed_is_not_decoded_again(archive: Archive) -> None:
    for number in range(3):
        write_video(archive.folder / "2024" / f"{number}.mp4", number)
    archive.run()
    (archive.folder / "2024").rename(archive.folder / "summer")
    extractor = FakeExtractor()
    assert archive.run(extractor).renamed == 3 and not extractor.asked


def test_only_prune_forgets_and_never_a_disk_that_is_not_mounted(archive: Archive) -> None:
    for number in range(3):
        write_video(archive.folder / f"{number}.mp4", number)
    archive.run()
    (archive.folder / "1.mp4").unlink()
    assert archive.run().missing == 1
    assert archive.states()["1.mp4"] == "missing"
    assert archive.run(prune=True).missing == 0
    assert archive.states() == {"0.mp4": "indexed", "2.mp4": "indexed"}
    away = archive.folder.rename(archive.folder.with_name("away"))
    archive.folder.mkdir()
    assert archive.run(prune=True).missing == 2
    assert "a disk may not be mounted" in archive.told[-1]
    assert archive.states() == {"0.mp4": "missing", "2.mp4": "missing"}
    archive.folder.rmdir()
    away.rename(archive.folder)
    extractor = FakeExtractor()
    assert archive.run(extractor).unchanged == 2 and not extractor.asked


def test_readers_see_whole_videos_only(archive: Archive) -> None:
    for number in range(6):
        write_video(archive.folder / f"{number}.mp4", number)
    seen = []

    def look(path: Path) -> None:
        with Catalog.open(archive.catalog) as reader:
            rows = reader.videos(state="indexed")
            seen.append(len(rows))
            for row in rows:
                stored = reader.features(row.content_hash, reader.extractor.id)
                np.testing.assert_array_equal(stored.features, snippets_of(row.path).features)

    archive.run(FakeExtractor(before=look))
    assert seen == list(range(6))


def test_what_was_damaged_is_found_dropped_and_made_again(archive: Archive) -> None:
    for number in range(3):
        write_video(archive.folder / f"{number}.mp4", number)
    archive.run()
    hurt = archive.folder / "1.mp4"
    with Catalog.open(archive.catalog, readonly=False) as catalog, catalog.transaction() as db:
        row = catalog.video(hurt)
        of_it = "WHERE content_hash = ?"
        query = f"SELECT data FROM features {of_it}"
        (data,) = db.execute(query, (row.content_hash,)).fetchone()
        flipped = bytes([data[0] ^ 1]) + data[1:]
        db.execute(f"UPDATE features SET data = ? {of_it}", (flipped, row.content_hash))
    with Catalog.open(archive.catalog, readonly=False) as catalog:
        (fault,) = verify(catalog).faults
        assert repair(catalog, (fault,)) == 1
    assert archive.states() == {"0.mp4": "indexed", "1.mp4": "pending", "2.mp4": "indexed"}
    extractor = FakeExtractor()
    assert archive.run(extractor).indexed == 1 and extractor.asked == ["1.mp4"]
    with Catalog.open(archive.catalog) as catalog:
        stored = catalog.features(catalog.video(hurt).content_hash, catalog.extractor.id)
        np.testing.assert_array_equal(stored.features, snippets_of(hurt).features)
        assert verify(catalog).faults == ()


# Disks ---------------------------------------------------------------------------------------


def test_a_disk_that_is_full_and_then_is_not(
    archive: Archive, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write_video(archive.folder / f"{number}.mp4", number)
    archive.catalog = small_disk / "vmrtool.db"
    big = replace(
        snippets_of(archive.folder / "2.mp4"),
        features=np.ones((500, 256), np.float16),
        seen=np.zeros((500, 2)),
        cells=np.zeros((500, 2)),
    )
    monkeypatch.setattr(
        "indexing_fakes.snippets_of", lambda p: big if p.name == "2.mp4" else snippets_of(p)
    )
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    with pytest.raises(CatalogError, match="the disk is full"):
        archive.run()
    ballast.unlink()
    with Catalog.open(archive.catalog) as catalog:
        assert catalog._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert len(catalog.videos()) == 2
    report = archive.run()
    assert (report.unchanged, report.indexed) == (2, 2)
    assert [path.name for path in small_disk.iterdir()] == ["vmrtool.db"]


def test_a_network_disk_has_a_journal_and_one_writing_host(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(archive.folder / "a.mp4", 1)
    for module in (connection, hosts):
        monkeypatch.setattr(module, "network_type", lambda path: "nfs4")
    archive.run()
    with Catalog.open(archive.catalog, readonly=False) as catalog:
        assert catalog._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert catalog.setting("writer") is None
        catalog.remember(writer="elsewhere")
    with pytest.raises(CatalogError, match="the host elsewhere writes") as caught:
        archive.run()
    assert "--force" in caught.value.remedy
    assert archive.run(force=True).unchanged == 1
    monkeypatch.undo()
    archive.run()  # moved to a disk of this machine
    with Catalog.open(archive.catalog) as catalog:
        assert catalog._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_table_of_mounts_tells_network_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw shared:1 - ext4 /dev/a rw\n"
        "40 22 0:5 / /mnt/my\\040share rw shared:2 - nfs4 nas:/x rw\n"
        "41 40 0:6 / /mnt/my\\040share/local rw - xfs /dev/b rw\n"
    )
    monkeypatch.setattr(network, "_MOUNTS", table)
    told = {
        path: network.network_type(Path(path))
        for path in ("/a.db", "/mnt/my share/a/b.db", "/mnt/my share/local/a.db")
    }
    assert list(told.values()) == [None, "nfs4", None]


# In little what benchmarks/reliability.py does for an hour -----------------------------------


@_POSIX
def test_ctrl_c_told_twice_interrupts_once() -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background
    with pytest.raises(KeyboardInterrupt), _one_interrupt():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)  # by the supervisor, while the first is seen to
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts handles in /proc")
def test_rounds_of_change_leave_no_handles_and_no_rows(archive: Archive) -> None:
    rng = random.Random(3)
    handles = []
    for number in range(20):
        write_video(archive.folder / f"{number}.mp4", number)
        there = sorted(archive.folder.iterdir())
        if number > 2:
            rng.choice(there[:-1]).unlink()
            write_video(rng.choice(sorted(archive.folder.iterdir())), 100 + number)
        report = archive.run(prune=True)
        names = {path.name for path in archive.folder.iterdir()}
        assert report.seen == len(names) and not report.failed
        assert archive.states() == dict.fromkeys(names, "indexed")
        handles.append(len(list(Path("/proc/self/fd").iterdir())))
    assert handles[-1] <= handles[2]
    with Catalog.open(archive.catalog) as catalog:
        stored = catalog._db.execute("SELECT count(DISTINCT content_hash) FROM features")
        assert stored.fetchone()[0] == len(names)
