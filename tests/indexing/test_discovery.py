"""Which files are videos, and which are left out."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexing_fakes import write_video

from vmrtool.catalog.rows import FoundFile
from vmrtool.errors import UsageError
from vmrtool.indexing.discovery import discover
from vmrtool.indexing.shards import Shard


def names(folder: Path, *exclude: str) -> list[str]:
    return [file.path.relative_to(folder).as_posix() for file in discover([folder], exclude).videos]


def test_by_suffix_always_else_by_content(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 1)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "sub.folder")
    shutil.copy(tmp_path / "a.mp4", tmp_path / "B.DAT")
    (tmp_path / "empty.mkv").touch()
    (tmp_path / "text.MP4").write_text("no video")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty").touch()
    assert names(tmp_path) == ["B.DAT", "a.mp4", "empty.mkv", "sub.folder", "text.MP4"]
    assert [path.name for path in discover([tmp_path]).skipped] == ["empty", "notes.txt"]


def test_hidden_files_and_junk_are_left_out(tmp_path: Path) -> None:
    for name in (
        "._a.mp4",
        ".hidden.mp4",
        ".git/a.mp4",
        "@eaDir/a.mp4",
        "$RECYCLE.BIN/a.mp4",
        "System Volume Information/a.mp4",
        "Thumbs.db",
        "__MACOSX/a.mp4",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = discover([tmp_path])
    assert (found.videos, found.skipped) == ([], [])
    # A hidden folder or file that is named is meant.
    assert names(tmp_path / ".git") == ["a.mp4"]
    assert len(discover([tmp_path / ".hidden.mp4"]).videos) == 1


def test_exclude_fits_names_and_paths_of_files_and_folders(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.avi", "raw/c.mp4", "raw/deep/d.mp4", "x/raw2/e.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    everything = ["a.mp4", "b.avi", "raw/c.mp4", "raw/deep/d.mp4", "x/raw2/e.mp4"]
    assert names(tmp_path) == everything
    assert names(tmp_path, "*.avi") == ["a.mp4", *everything[2:]]
    assert names(tmp_path, "raw") == names(tmp_path, "raw/") == ["a.mp4", "b.avi", "x/raw2/e.mp4"]
    assert names(tmp_path, "./raw/*") == ["a.mp4", "b.avi", "x/raw2/e.mp4"]
    assert names(tmp_path, "raw/deep") == ["a.mp4", "b.avi", "raw/c.mp4", "x/raw2/e.mp4"]
    assert names(tmp_path, str(tmp_path / "raw")) == ["a.mp4", "b.avi", "x/raw2/e.mp4"]
    assert names(tmp_path, "raw*", "a.*", "*.avi") == []
    assert discover([tmp_path / "a.mp4"], ["*.mp4"]).videos == []


def test_files_and_folders_together_give_each_file_once(tmp_path: Path) -> None:
    write_video(tmp_path / "sub" / "a.mp4", 1)
    found = discover([tmp_path, tmp_path / "sub", tmp_path / "sub" / "a.mp4", f"{tmp_path}/sub/.."])
    assert [file.path for file in found.videos] == [tmp_path / "sub" / "a.mp4"]


def test_a_named_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (file,) = discover([tmp_path / "notes.txt"]).videos
    assert (file.root, file.size) == (tmp_path, 5)


def test_what_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder or file"):
        discover([tmp_path, tmp_path / "none"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_once(tmp_path: Path) -> None:
    archive, disk = tmp_path / "archive", tmp_path / "disk"
    write_video(disk / "far.mp4", 1)
    write_video(archive / "real" / "near.mp4", 2)
    (archive / "disk").symlink_to(disk)  # leads out
    (archive / "a").symlink_to(archive / "real")  # a second way to a folder in here
    (archive / "real" / "loop").symlink_to(archive)
    (archive / "self").symlink_to(archive / "self")  # leads nowhere
    (archive / "a.mp4").symlink_to(archive / "real" / "near.mp4")
    (archive / "broken.mp4").symlink_to(tmp_path / "none.mp4")
    assert names(archive) == ["broken.mp4", "disk/far.mp4", "real/near.mp4"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "live.mp4")
    assert [path.name for path in discover([tmp_path]).skipped] == ["live.mp4"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff.mp4")
    (tmp_path / name).touch()
    (file,) = discover([tmp_path]).videos
    assert file.path == tmp_path / name


# Shards --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.sets(st.text("abc/", min_size=1, max_size=6).map(lambda t: t.strip("/") or "x")))
def test_shards_part_the_videos(relative: set[str]) -> None:
    root = Path("/archive")
    files = [FoundFile(root / name, root, 1, 1) for name in sorted(relative)]
    for count in (1, 2, 3, 7):
        parts = [Shard(i + 1, count).select(files) for i in range(count)]
        assert sorted(f.path for part in parts for f in part) == sorted(f.path for f in files)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_is_the_same_wherever_the_archive_lies() -> None:
    def select(root: str) -> list[str]:
        files = [FoundFile(Path(root, f"{i}.mp4"), Path(root), 1, 1) for i in range(50)]
        return [file.path.name for file in Shard(2, 3).select(files)]

    assert select("/here") == select("/mnt/there")


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/4/2"])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        Shard.parse(text)
