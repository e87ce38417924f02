"""`index`: what becomes of each video, on the first run and on later ones."""

import json
import os
import shutil
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexing_fakes import FakeExtractor, snippets_of, write_video

from vmrtool.catalog import Catalog
from vmrtool.errors import CatalogError, MediaError, ModelError, UsageError
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.report import Decoded, Event, IndexReport, Noted, Opened, Settled, Started
from vmrtool.indexing.shards import Shard


class Archive:
    """A folder of small videos, its catalog, and a run over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "videos"
        self.folder.mkdir()
        self.catalog = folder / "vmrtool.db"
        self.extractor = FakeExtractor()

    def add(self, name: str, seed: int) -> Path:
        return write_video(self.folder / name, seed)

    def run(self, *roots: Path, extractor: FakeExtractor | None = None, **how: Any) -> IndexReport:
        self.extractor = extractor or FakeExtractor()
        return index(list(roots) or [self.folder], self.catalog, self.extractor.source, **how)

    def states(self) -> dict[str, str]:
        with Catalog.open(self.catalog) as catalog:
            return {
                row.path.relative_to(self.folder).as_posix(): row.state for row in catalog.videos()
            }

    def contents(self) -> dict[str, list[bytes]]:
        """What is stored, by name: to be compared between catalogs."""
        with Catalog.open(self.catalog) as catalog:
            extractor = catalog.extractor
            assert extractor is not None
            stored = {}
            for row in catalog.videos(state="indexed"):
                assert row.content_hash is not None
                snippets = catalog.features(row.content_hash, extractor.id)
                assert snippets is not None
                stored[row.path.name] = [
                    snippets.features.tobytes(),
                    snippets.seen.tobytes(),
                    snippets.cells.tobytes(),
                    repr(row.facts).encode(),
                ]
            return stored


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def counts(report: IndexReport) -> dict[str, int]:
    fields = ("indexed", "unchanged", "renamed", "copies", "missing")
    told = {name: getattr(report, name) for name in fields} | {"failed": len(report.failed)}
    return {name: n for name, n in told.items() if n}


# The first run -------------------------------------------------------------------------------


def test_videos_are_stored_with_their_facts(archive: Archive) -> None:
    path = archive.add("sub/a.mp4", 1)
    report = archive.run()
    assert counts(report) == {"indexed": 1} and report.seen == 1
    expected = snippets_of(path)
    assert report.seconds_of_video == expected.duration_s
    with Catalog.open(archive.catalog) as catalog:
        row = catalog.video(path)
        assert row is not None and row.state == "indexed" and row.size == path.stat().st_size
        facts = row.facts
        assert (facts.width, facts.height, facts.codec) == (32, 32, "mpeg4")
        assert (facts.duration_s, facts.fps, facts.truncated) == (expected.duration_s, 24.0, None)
        stored = catalog.features(row.content_hash, catalog.extractor.id)
        assert np.array_equal(stored.features, expected.features)
        assert np.array_equal(stored.seen, expected.seen)
        assert np.array_equal(stored.cells, expected.cells)


def test_the_report_as_json_has_designs_fields(archive: Archive) -> None:
    archive.add("a.mp4", 1)
    (archive.folder / "text.mp4").write_text("no video")
    told = json.loads(json.dumps(archive.run().to_dict()))
    assert list(told) == [
        "schema",
        "catalog",
        "indexed",
        "unchanged",
        "renamed",
        "copies",
        "missing",
        "removed",
        "failed",
        "seconds_of_video",
        "elapsed_s",
    ]
    assert told["schema"] == "vmrtool.index/1" and told["catalog"] == str(archive.catalog)
    (failure,) = told["failed"]
    assert list(failure) == ["path", "stage", "error", "remedy"]
    assert failure["path"] == str(archive.folder / "text.mp4") and failure["stage"] == "open"
    assert not failure["error"].startswith(str(archive.folder))


def test_events_tell_every_video_once(archive: Archive) -> None:
    for i in range(3):
        archive.add(f"{i}.mp4", i)
    (archive.folder / "empty.mp4").touch()
    archive.run(archive.folder / "0.mp4")
    events: list[Event] = []
    report = archive.run(on_event=events.append)
    started = [event for event in events if isinstance(event, Started)]
    size = sum((archive.folder / f"{i}.mp4").stat().st_size for i in (1, 2))
    assert started == [Started(videos=4, unchanged=1, failed=0, todo_bytes=size)]
    settled = {e.path.name: e.outcome for e in events if isinstance(e, Settled)}
    assert settled == {
        "1.mp4": "indexed",
        "2.mp4": "indexed",
        "empty.mp4": "failed",
    }
    opened = [e for e in events if isinstance(e, Opened)]
    assert [(e.path.name, e.claimed_s) for e in opened] == [("1.mp4", 0.5), ("2.mp4", 0.5)]
    decoded = sum(e.seconds for e in events if isinstance(e, Decoded))
    assert decoded == report.seconds_of_video


def test_a_folder_without_videos(archive: Archive) -> None:
    (archive.folder / "notes.txt").write_text("notes")
    assert counts(archive.run()) == {}
    with Catalog.open(archive.catalog) as catalog:
        assert catalog.videos() == []


def test_nothing_is_left_where_there_is_nothing_to_work_with(archive: Archive) -> None:
    archive.add("a.mp4", 1)

    def no_weights() -> Any:
        raise ModelError("no weights")

    with pytest.raises(ModelError):
        index([archive.folder], archive.catalog, no_weights)
    with pytest.raises(UsageError):
        archive.run(archive.folder / "none")
    assert not archive.catalog.exists()


def test_many_at_once_give_the_same(archive: Archive, tmp_path: Path) -> None:
    for i in range(5):
        archive.add(f"{i}.mp4", i)
    archive.run()
    one = archive.contents()
    archive.catalog = tmp_path / "other.db"
    archive.run(extractor=FakeExtractor(ahead=3))
    assert archive.contents() == one and len(one) == 5


# Later runs ----------------------------------------------------------------------------------


def test_a_second_run_decodes_nothing(archive: Archive) -> None:
    archive.add("a.mp4", 1)
    archive.add("b.mp4", 2)
    archive.run()
    assert counts(archive.run()) == {"unchanged": 2}
    assert archive.extractor.asked == []


def test_touched_files_are_read_but_not_decoded(archive: Archive) -> None:
    path = archive.add("a.mp4", 1)
    archive.run()
    os.utime(path, ns=(1, 1))
    assert counts(archive.run()) == {"unchanged": 1} and archive.extractor.asked == []
    assert counts(archive.run()) == {"unchanged": 1} and archive.extractor.asked == []


def test_changed_files_are_decoded_again_and_their_old_features_go(archive: Archive) -> None:
    archive.add("a.mp4", 1)
    archive.add("b.mp4", 2)
    archive.run()
    with Catalog.open(archive.catalog) as catalog:
        before = catalog.video(archive.folder / "a.mp4")
    path = archive.add("a.mp4", 3)
    os.utime(path, ns=(5, 5))
    assert counts(archive.run()) == {"indexed": 1, "unchanged": 1}
    with Catalog.open(archive.catalog) as catalog:
        after = catalog.video(path)
        assert after.id == before.id and after.content_hash != before.content_hash
        assert catalog.features(before.content_hash, 1) is None
        stored = catalog.features(after.content_hash, 1)
        assert np.array_equal(stored.features, snippets_of(path).features)


def test_renames_and_moves_are_not_decoded(archive: Archive) -> None:
    archive.add("a.mp4", 1)
    archive.add("b.mp4", 2)
    archive.run()
    (archive.folder / "sub").mkdir()
    (archive.folder / "a.mp4").rename(archive.folder / "new name.mp4")
    (archive.folder / "b.mp4").rename(archive.folder / "sub" / "b.mp4")
    assert counts(archive.run()) == {"renamed": 2} and archive.extractor.asked == []
    assert archive.states() == {"new name.mp4": "indexed", "sub/b.mp4": "indexed"}
    assert counts(archive.run()) == {"unchanged": 2}


def test_swapped_names_are_renames(archive: Archive) -> None:
    a, b = archive.add("a.mp4", 1), archive.add("b.mp4", 2)
    archive.run()
    before = archive.contents()
    a.rename(archive.folder / "c")
    b.rename(a)
    (archive.folder / "c").rename(b)
    for path in (a, b):
        os.utime(path, ns=(7, 7))
    report = archive.run()
    assert archive.extractor.asked == [] and report.renamed + report.copies == 2
    after = archive.contents()
    assert after["a.mp4"] == before["b.mp4"] and after["b.mp4"] == before["a.mp4"]


def test_copies_are_not_decoded(archive: Archive) -> None:
    path = archive.add("a.mp4", 1)
    shutil.copy(path, archive.folder / "b.mp4")
    assert counts(archive.run(extractor=FakeExtractor(ahead=4))) == {"indexed": 1, "copies": 1}
    assert archive.extractor.asked == ["a.mp4"]
    shutil.copy(path, archive.folder / "c.mp4")
    assert counts(archive.run()) == {"unchanged": 2, "copies": 1}
    contents = archive.contents()
    assert contents["a.mp4"] == contents["b.mp4"] == contents["c.mp4"]
    # The first one goes; its copies keep what was made from it.
    path.unlink()
    assert counts(archive.run()) == {"unchanged": 2, "missing": 1}
    assert archive.contents() == {name: contents[name] for name in ("b.mp4", "c.mp4")}


def test_missing_videos_are_counted_and_come_back_without_decoding(archive: Archive) -> None:
    path = archive.add("a.mp4", 1)
    archive.add("b.mp4", 2)
    archive.run()
    path.rename(archive.folder.parent / "away.mp4")
    for _ in range(2):
        assert counts(archive.run()) == {"unchanged": 1, "missing": 1}
    assert archive.states() == {"a.mp4": "missing", "b.mp4": "indexed"}
    (archive.folder.parent / "away.mp4").rename(path)
    assert counts(archive.run()) == {"unchanged": 2} and archive.extractor.asked == []
    assert archive.states() == {"a.mp4": "indexed", "b.mp4": "indexed"}


def test_a_run_answers_only_for_where_it_looked(archive: Archive) -> None:
    archive.add("x/a.mp4", 1)
    archive.add("y/b.mp4", 2)
    archive.run()
    shutil.rmtree(archive.folder / "y")
    assert counts(archive.run(archive.folder / "x")) == {"unchanged": 1}
    assert counts(archive.run(exclude=["y"])) == {"unchanged": 1}
    assert archive.states() == {"x/a.mp4": "indexed", "y/b.mp4": "indexed"}
    assert counts(archive.run()) == {"unchanged": 1, "missing": 1}


def test_what_was_once_named_by_itself_stays(archive: Archive) -> None:
    hidden = archive.add(".hidden.mp4", 1)
    archive.add("a.mp4", 2)
    assert counts(archive.run(hidden)) == {"indexed": 1}
    assert counts(archive.run()) == {"indexed": 1, "unchanged": 1}


def test_a_root_above_another_doubles_nothing(archive: Archive) -> None:
    archive.add("sub/a.mp4", 1)
    archive.add("b.mp4", 2)
    archive.run(archive.folder / "sub")
    assert counts(archive.run()) == {"indexed": 1, "unchanged": 1}
    assert counts(archive.run(archive.folder / "sub")) == {"unchanged": 1}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_names_that_are_not_utf8(archive: Archive) -> None:
    path = archive.add(os.fsdecode(b"caf\xe9.mp4"), 1)
    broken = archive.folder / os.fsdecode(b"\xff.mp4")
    broken.touch()
    report = archive.run()
    assert counts(report) == {"indexed": 1, "failed": 1}
    (told,) = report.to_dict()["failed"]
    assert told["path"].endswith("\ufffd.mp4") and told["path_b64"]
    assert counts(archive.run()) == {"unchanged": 1, "failed": 1}
    path.rename(archive.folder / "cafe.mp4")
    assert counts(archive.run()) == {"renamed": 1, "failed": 1}


# Settings ------------------------------------------------------------------------------------


def test_other_settings_decode_everything_again_and_keep_both(archive: Archive) -> None:
    path = archive.add("a.mp4", 1)
    archive.run()
    other = FakeExtractor(settings={"stride": 64})
    assert counts(archive.run(extractor=other)) == {"indexed": 1}
    with Catalog.open(archive.catalog) as catalog:
        assert catalog.extractor.settings == {"stride": 64}
        assert len(catalog.extractors()) == 2
        content = catalog.video(path).content_hash
        assert all(catalog.has_features(content, row.id) for row in catalog.extractors())
    # And back: the first extractor's features are still here.
    assert counts(archive.run()) == {"unchanged": 1} and archive.extractor.asked == []


def test_a_switch_leaves_the_rest_pending_and_renames_are_still_known(archive: Archive) -> None:
    archive.add("x/a.mp4", 1)
    archive.add("y/b.mp4", 2)
    archive.run()
    other = FakeExtractor(settings={"stride": 64})
    events: list[Event] = []
    archive.run(archive.folder / "x", extractor=other, on_event=events.append)
    (note,) = [event.text for event in events if isinstance(event, Noted)]
    assert note.startswith("1 more videos") and note.endswith(str(archive.folder))
    assert archive.states() == {"x/a.mp4": "indexed", "y/b.mp4": "pending"}
    (archive.folder / "y" / "b.mp4").rename(archive.folder / "b.mp4")
    again = FakeExtractor(settings={"stride": 64})
    assert counts(archive.run(extractor=again)) == {"indexed": 1, "unchanged": 1}
    assert archive.states() == {"b.mp4": "indexed", "x/a.mp4": "indexed"}


def test_the_catalog_remembers_what_it_is_told(archive: Archive) -> None:
    archive.add("a.mp4", 1)
    extractor = FakeExtractor()
    index([archive.folder], archive.catalog, lambda: extractor.source(model="blocks"))
    with Catalog.open(archive.catalog) as catalog:
        assert catalog.model == "blocks"


# Failures ------------------------------------------------------------------------------------


def test_bad_files_fail_with_a_reason_and_the_rest_goes_on(archive: Archive) -> None:
    archive.add("good.mp4", 1)
    (archive.folder / "text.mp4").write_text("no video at all\n" * 100)
    (archive.folder / "empty.mp4").touch()
    if sys.platform != "win32":
        (archive.folder / "broken.mp4").symlink_to(archive.folder / "none")
    report = archive.run()
    assert report.indexed == 1
    told = {failure.path.name: (failure.stage, failure.error) for failure in report.failed}
    assert told["empty.mp4"] == ("open", "the file is empty (0 bytes)")
    assert told["text.mp4"][0] == "open"
    assert sys.platform == "win32" or "broken link" in told["broken.mp4"][1]
    assert all(failure.remedy for failure in report.failed)


def test_failures_stand_until_retried_changed_or_excluded(archive: Archive) -> None:
    archive.add("a.mp4", 1)
    bad = archive.add("bad.mp4", 2)

    def breaks(path: Path) -> None:
        if path.name == "bad.mp4":
            raise MediaError(f"{path}: it broke", stage="decode", remedy="mend it")

    first = archive.run(extractor=FakeExtractor(before=breaks))
    (failure,) = first.failed
    assert (failure.error, failure.stage, failure.remedy) == ("it broke", "decode", "mend it")
    standing = archive.run()
    assert counts(standing) == {"unchanged": 1, "failed": 1} and archive.extractor.asked == []
    assert standing.failed == first.failed
    assert counts(archive.run(exclude=["bad*"])) == {"unchanged": 1}
    retried = archive.run(extractor=FakeExtractor(before=breaks), retry_failed=True)
    assert archive.extractor.asked == ["bad.mp4"] and retried.failed[0].attempts == 2
    os.utime(bad, ns=(3, 3))
    assert counts(archive.run()) == {"indexed": 1, "unchanged": 1}
    assert counts(archive.run()) == {"unchanged": 2}


def test_a_failed_file_that_goes_is_forgotten(archive: Archive) -> None:
    (archive.folder / "empty.mp4").touch()
    archive.add("a.mp4", 1)
    archive.run()
    (archive.folder / "empty.mp4").unlink()
    assert counts(archive.run()) == {"unchanged": 1}
    assert archive.states() == {"a.mp4": "indexed"}


def test_copies_of_what_fails_fail_with_it(archive: Archive) -> None:
    path = archive.add("a.mp4", 1)
    shutil.copy(path, archive.folder / "b.mp4")

    def breaks(path: Path) -> None:
        raise MediaError("it broke", stage="decode")

    report = archive.run(extractor=FakeExtractor(before=breaks, ahead=2))
    assert archive.extractor.asked == ["a.mp4"]
    assert [failure.path.name for failure in report.failed] == ["a.mp4", "b.mp4"]


def test_a_file_that_turns_bad_loses_its_old_features(archive: Archive) -> None:
    path = archive.add("a.mp4", 1)
    archive.run()
    path.write_text("no video")
    assert counts(archive.run()) == {"failed": 1}
    with sqlite3.connect(archive.catalog) as db:
        assert db.execute("SELECT count(*) FROM features").fetchone() == (0,)
    db.close()


def test_a_file_that_changes_under_the_decoder_is_not_kept(archive: Archive) -> None:
    path = archive.add("a.mp4", 1)

    def grows(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    (failure,) = archive.run(extractor=FakeExtractor(before=grows)).failed
    assert "changed while it was read" in failure.error
    assert counts(archive.run()) == {"indexed": 1}
    assert path.name in archive.contents()


def test_truncated_videos_are_kept_and_marked(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive.add("a.mp4", 1)
    monkeypatch.setattr(
        "indexing_fakes.snippets_of",
        lambda path: replace(snippets_of(path), truncated="ends at 0.20 s"),
    )
    events: list[Event] = []
    assert counts(archive.run(on_event=events.append)) == {"indexed": 1}
    assert [e.text for e in events if isinstance(e, Noted)] == [
        f"{path}: kept as far as it decodes: ends at 0.20 s"
    ]
    with Catalog.open(archive.catalog) as catalog:
        assert catalog.video(path).facts.truncated == "ends at 0.20 s"


# Shards and interruptions --------------------------------------------------------------------


def test_shards_make_up_the_whole(archive: Archive, tmp_path: Path) -> None:
    for i in range(7):
        archive.add(f"{i}.mp4", i)
    seen = [archive.run(shard=Shard(i, 3)).seen for i in (1, 2, 3)]
    assert sorted(seen) == [2, 2, 3] and len(archive.states()) == 7
    assert counts(archive.run()) == {"unchanged": 7}


def test_an_interrupt_keeps_what_was_done(archive: Archive) -> None:
    for i in range(4):
        archive.add(f"{i}.mp4", i)

    def interrupt(path: Path) -> None:
        if path.name == "2.mp4":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.run(extractor=FakeExtractor(before=interrupt))
    assert archive.states() == {"0.mp4": "indexed", "1.mp4": "indexed"}
    assert not list(archive.catalog.parent.glob("vmrtool.db-*"))
    assert counts(archive.run()) == {"indexed": 2, "unchanged": 2}


def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        archive.add(f"{i}.mp4", i)
    big = replace(
        snippets_of(archive.folder / "2.mp4"),
        features=np.zeros((4096, 256), np.float16),
        seen=np.zeros((4096, 2)),
        cells=np.zeros((4096, 2)),
    )
    monkeypatch.setattr(
        "indexing_fakes.snippets_of", lambda p: big if p.name == "2.mp4" else snippets_of(p)
    )
    opened = Catalog.create_or_open.__func__

    def small(cls: type[Catalog], path: Path) -> Catalog:
        catalog = opened(cls, path)
        catalog._db.execute("PRAGMA max_page_count = 100").fetchone()
        return catalog

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "create_or_open", classmethod(small))
        with pytest.raises(CatalogError, match="disk is full"):
            archive.run()
    assert archive.states() == {"0.mp4": "indexed", "1.mp4": "indexed"}
    assert counts(archive.run()) == {"indexed": 2, "unchanged": 2}


def test_folders_that_cannot_be_read_are_named_and_left_as_they_are(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add("locked/a.mp4", 1)
    archive.add("b.mp4", 2)
    archive.run()
    listed = Path.iterdir

    def iterdir(path: Path) -> Any:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    events: list[Event] = []
    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert counts(archive.run(on_event=events.append)) == {"unchanged": 1}
    assert any(isinstance(event, Noted) and "locked" in event.text for event in events)
    assert archive.states()["locked/a.mp4"] == "indexed"
