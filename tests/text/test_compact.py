"""Word vectors of some words as one file, and the one function that reads every form."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vmrtool.errors import DataError
from vmrtool.text.compact import CompactVectors, read_compact, write_compact
from vmrtool.text.vectors import load_word_vectors

TEXT = "red 1 2\n. . . 3 4\ncircle -1e-1 0\n"


def small() -> CompactVectors:
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    return CompactVectors(("a", "b", "été"), vectors, ("a", "zzz"), 2, "glove")


def test_it_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "v.safetensors"
    write_compact(path, small())
    back = read_compact(path)
    assert (back.words, back.asked) == (("a", "b", "été"), ("a", "zzz"))
    assert (back.absent, back.frequent, back.source) == ({"zzz"}, 2, "glove")
    np.testing.assert_array_equal(back.vectors, small().vectors)
    first = path.read_bytes()
    write_compact(path, small())
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["v.safetensors"]


def test_one_function_reads_every_form(tmp_path: Path) -> None:
    text, archive = tmp_path / "g.txt", tmp_path / "g.zip"
    text.write_text(TEXT)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("g.txt", TEXT)
    found = load_word_vectors(text, dim=2)
    assert sorted(found) == [". . .", "circle", "red"]
    compact = tmp_path / "g.safetensors"
    write_compact(compact, CompactVectors(tuple(found), np.stack([*found.values()]), (), 3, "g"))
    for path in (archive, compact):
        again = load_word_vectors(path, dim=2)
        assert again.keys() == found.keys()
        for word, vector in found.items():
            assert again[word].dtype == np.float32
            np.testing.assert_array_equal(again[word], vector)
        assert list(load_word_vectors(path, {"red", "blue"}, dim=2)) == ["red"]


@pytest.mark.parametrize("name", ["g.txt", "g.zip"])
def test_a_wrong_line_is_named_in_every_form(tmp_path: Path, name: str) -> None:
    for line, why in (
        ("blue 1", "expected 2"),
        ("blue x y", "not numbers"),
        ("blue inf 1", "finite"),
    ):
        if name == "g.txt":
            (tmp_path / name).write_text(TEXT + line + "\n")
        else:
            with zipfile.ZipFile(tmp_path / name, "w") as opened:
                opened.writestr("in.txt", TEXT + line + "\n")
        with pytest.raises(DataError, match=rf"{name}.*, line 4: .*{why}"):
            load_word_vectors(tmp_path / name, dim=2)


def test_another_width(tmp_path: Path) -> None:
    write_compact(tmp_path / "v.safetensors", small())
    with pytest.raises(DataError, match=r"v\.safetensors: word vectors of 2 numbers, expected 300"):
        load_word_vectors(tmp_path / "v.safetensors")
    (tmp_path / "v.txt").write_text(TEXT)
    with pytest.raises(DataError, match=r"v\.txt, line 1: word vector of 2 numbers, expected 300"):
        load_word_vectors(tmp_path / "v.txt")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no word vectors"):
        load_word_vectors(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("red 1 2\n")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    short = small()
    write_compact(
        tmp_path / "short.safetensors",
        CompactVectors(short.words[:2], short.vectors, (), 0, "glove"),
    )
    for name in ("text", "other", "short"):
        with pytest.raises(DataError, match="not a file of word vectors"):
            load_word_vectors(tmp_path / f"{name}.safetensors", dim=2)
    odd = CompactVectors(("a",), np.full((1, 2), np.nan, np.float32), (), 0, "glove")
    write_compact(tmp_path / "nan.safetensors", odd)
    with pytest.raises(DataError, match="not finite"):
        load_word_vectors(tmp_path / "nan.safetensors", dim=2)
    (tmp_path / "text.zip").write_text("red 1 2\n")
    with pytest.raises(DataError, match="cannot read word vectors"):
        load_word_vectors(tmp_path / "text.zip", dim=2)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as opened:
        opened.writestr("a.txt", TEXT)
        opened.writestr("b.txt", TEXT)
    with pytest.raises(DataError, match="2 text files"):
        load_word_vectors(tmp_path / "two.zip", dim=2)


def test_real_glove_and_its_compact_form_are_the_same(real_data: Path, tmp_path: Path) -> None:
    text = real_data / "glove" / "glove.840B.300d.subset.txt"
    words = {"person", "door", "opens", "zzzz"}
    found = load_word_vectors(text, words)
    assert sorted(found) == ["door", "opens", "person"]
    path = tmp_path / "v.safetensors"
    write_compact(path, CompactVectors(tuple(found), np.stack([*found.values()]), (), 0, "g"))
    again = load_word_vectors(path, words)
    for word, vector in found.items():
        np.testing.assert_array_equal(again[word], vector)
    assert len(load_word_vectors(text)) == 6257
