"""A catalog on a disk that nobody can write to is searched like any other."""

import subprocess
from pathlib import Path

import pytest
from search_catalog import random_videos, write_catalog, write_model

import vmrtool

QUERY = "a person opens the door"


@pytest.mark.parametrize("before", [False, True], ids=["never searched", "searched before"])
def test_a_read_only_disk(small_disk: Path, tmp_path: Path, before: bool) -> None:
    model = str(write_model(tmp_path / "run"))
    path = write_catalog(small_disk / "v.db", random_videos(3), model=model)
    if before:
        vmrtool.open(path, device="cpu").close()
    there = {place.name: place.read_bytes() for place in small_disk.iterdir()}
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with vmrtool.open(path, device="cpu") as archive:
        found = archive.search(QUERY)
        assert any("cannot be kept" in note for note in archive.notes) != before
    assert there == {place.name: place.read_bytes() for place in small_disk.iterdir()}
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with vmrtool.open(path, device="cpu") as archive:
        assert archive.search(QUERY).moments == found.moments != []
