"""A search in a catalog that holds what nobody wrote ends in an error with the way on."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from search_catalog import random_videos, write_catalog, write_model

import vmrtool
from vmrtool.errors import CatalogError

BROKEN = [
    "UPDATE features SET data = zeroblob(7)",
    "UPDATE features SET data = CAST(zeroblob(length(data) - 2) || x'007c' AS BLOB)",
    "UPDATE features SET dim = dim / 2, n = n * 2",
    "UPDATE features SET dim = dim - 1, data = substr(data, 1, n * (dim - 1) * 2)",
    "UPDATE features SET cells = 'no'",
    "UPDATE vectors SET data = x'00'",
    "UPDATE vectors SET dim = 4, data = substr(data, 1, n * 16)",
    "UPDATE vectors SET spans = CAST(replace(hex(spans), '0', 'F') AS BLOB)",
    "UPDATE windows SET n = 120, first = 1000",
    "UPDATE windows SET first = 'one'",
    "UPDATE videos SET path_bytes = NULL",
    "UPDATE extractors SET settings = '{'",
    "UPDATE settings SET value = '[[' WHERE key = 'extractor'",
    "DROP TABLE vectors",
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with vectors, whose tables no longer refuse what is not there."""
    folder = tmp_path_factory.mktemp("sound")
    path = write_catalog(folder / "v.db", random_videos(2), model=str(write_model(folder / "run")))
    with vmrtool.open(path, device="cpu") as archive:
        assert archive.search("a person opens the door").moments
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_master SET sql = replace(sql, 'BLOB NOT NULL', 'BLOB')")
    db.commit()
    db.close()
    return path


@pytest.mark.parametrize("statement", BROKEN)
def test_search_says_which_catalog_is_broken(tmp_path: Path, sound: Path, statement: str) -> None:
    path = Path(shutil.copy(sound, tmp_path / "v.db"))
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(CatalogError) as caught, vmrtool.open(path, device="cpu") as archive:
        archive.search("a person opens the door")
    assert str(path) in str(caught.value) and caught.value.exit_code == 3
    assert caught.value.remedy
