"""`relocate`: the same videos below another folder."""

from pathlib import Path

import numpy as np
import pytest

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, Relocation, StoredSnippets
from vmrtool.errors import UsageError

ONE = StoredSnippets(np.ones((1, 2), np.float16), np.zeros((1, 2)), np.zeros((1, 2)))


@pytest.fixture
def catalog(tmp_path: Path):
    with Catalog.create_or_open(tmp_path / "vmrtool.db") as opened:
        opened.use_extractor(opened.extractor_id("i3d", "ab", {}))
        yield opened


def save(catalog: Catalog, path: Path, root: Path, content: str) -> None:
    file = FoundFile(path, root, 1, 1)
    catalog.save_video(file, content, FileFacts(), catalog.extractor.id, ONE)


def paths(catalog: Catalog) -> list[str]:
    return [row.path.as_posix() for row in catalog.videos()]


def test_a_mount_that_moved(catalog: Catalog) -> None:
    for name in ("a.mp4", "sub/b.mp4"):
        save(catalog, Path("/mnt/old") / name, Path("/mnt/old"), name)
    save(catalog, Path("/home/c.mp4"), Path("/home"), "c")
    assert catalog.relocate("/mnt/old", "/srv/new/archive") == Relocation(2, 0, 0)
    assert paths(catalog) == ["/home/c.mp4", "/srv/new/archive/a.mp4", "/srv/new/archive/sub/b.mp4"]
    assert catalog.video("/srv/new/archive/sub/b.mp4") is not None
    assert catalog.video("/mnt/old/sub/b.mp4") is None


def test_a_folder_inside_a_root_and_a_root_inside_a_folder(catalog: Catalog) -> None:
    save(catalog, Path("/a/x/1.mp4"), Path("/a"), "1")
    save(catalog, Path("/a/y/2.mp4"), Path("/a"), "2")
    catalog.relocate("/a/x", "/b")
    assert paths(catalog) == ["/a/y/2.mp4", "/b/1.mp4"]
    save(catalog, Path("/deep/root/3.mp4"), Path("/deep/root"), "3")
    catalog.relocate("/deep", "/flat")
    assert paths(catalog) == ["/a/y/2.mp4", "/b/1.mp4", "/flat/root/3.mp4"]
    # A name that only begins alike is another folder.
    save(catalog, Path("/a/yy/4.mp4"), Path("/a"), "4")
    catalog.relocate("/a/y", "/c")
    assert paths(catalog) == ["/a/yy/4.mp4", "/b/1.mp4", "/c/2.mp4", "/flat/root/3.mp4"]


def test_what_was_indexed_again_after_the_move_is_not_doubled(catalog: Catalog) -> None:
    save(catalog, Path("/old/a.mp4"), Path("/old"), "a")
    save(catalog, Path("/new/a.mp4"), Path("/new"), "a2")
    assert catalog.relocate("/old", "/new") == Relocation(0, 0, 1)
    (row,) = catalog.videos()
    assert (row.path.as_posix(), row.content_hash) == ("/new/a.mp4", "a2")


def test_missing_videos_that_are_found_there_are_back(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        save(catalog, Path("/gone") / name, Path("/gone"), name)
    catalog.mark_missing(catalog.videos())
    assert {row.state for row in catalog.videos()} == {"missing"}
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.mp4").touch()
    assert catalog.relocate("/gone", tmp_path / "here") == Relocation(2, 1, 0)
    assert [row.state for row in catalog.videos()] == ["indexed", "missing"]


def test_failures_move_along(catalog: Catalog) -> None:
    file = FoundFile(Path("/old/a.mp4"), Path("/old"), 1, 1)
    catalog.set_failure(file, "a", FileFacts(), catalog.extractor.id, stage="open", error="no")
    catalog.relocate("/old", "/new")
    assert [row.path.as_posix() for row in catalog.failures()] == ["/new/a.mp4"]
    row = catalog._db.execute("SELECT path FROM failures").fetchone()
    assert row == ("/new/a.mp4",)


def test_a_folder_without_videos_is_a_usage_error(catalog: Catalog) -> None:
    save(catalog, Path("/old/a.mp4"), Path("/old"), "a")
    with pytest.raises(UsageError, match="no videos there") as caught:
        catalog.relocate("/odl", "/new")
    assert "/old" in caught.value.remedy and paths(catalog) == ["/old/a.mp4"]
