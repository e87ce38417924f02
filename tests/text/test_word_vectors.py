from pathlib import Path

import numpy as np
import pytest

from vmrtool.errors import DataError
from vmrtool.text.vectors import read_word_vectors, word_matrix
from vmrtool.text.vocabulary import Vocabulary


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def test_reads_only_the_wanted_words(tmp_path: Path) -> None:
    # GloVe 840B has words with blanks in them, and words that look like numbers.
    file = write(tmp_path / "glove.txt", "red 1 2\n. . . 3 4\n25 5 6\ncircle -1e-1 0\nred 9 9\n")
    found = read_word_vectors(file, Vocabulary(["circle", "red", "blue", "25"]), 2)
    assert sorted(found) == ["25", "circle", "red"]
    np.testing.assert_array_equal(found["red"], np.float32([1, 2]))
    np.testing.assert_allclose(found["circle"], np.float32([-0.1, 0]))


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("red 1 2 3\n", 1, "3 numbers, expected 2"),
        ("red 1\n", 1, "1 numbers, expected 2"),
        ("blue 1 2\nred 1\n", 2, "expected 2"),
        ("blue 1 2\nred one two\n", 2, "not numbers"),
        ("red nan 2\n", 1, "not finite"),
    ],
)
def test_refuses_other_formats(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = write(tmp_path / "glove.txt", text)
    with pytest.raises(DataError, match=rf"glove\.txt, line {line}: .*{says}"):
        read_word_vectors(file, Vocabulary(["red"]), 2)


def test_refuses_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "glove.zip").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(DataError, match="not a word vector file"):
        read_word_vectors(tmp_path / "glove.zip", Vocabulary(["red"]), 2)
    with pytest.raises(DataError, match="cannot read"):
        read_word_vectors(tmp_path / "absent.txt", Vocabulary(["red"]), 2)


def test_matrix_rows_follow_the_vocabulary() -> None:
    vocabulary = Vocabulary(["red", "blue", "circle"])
    vectors = {"red": np.float32([1, 3]), "circle": np.float32([3, 5])}
    matrix = word_matrix(vectors, vocabulary, 2, seed=3)
    assert matrix.shape == (5, 2) and matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[vocabulary.pad], [0, 0])
    np.testing.assert_array_equal(matrix[vocabulary.unk], [2, 4])
    np.testing.assert_array_equal(matrix[2], [1, 3])
    np.testing.assert_array_equal(matrix[4], [3, 5])
    assert not np.array_equal(matrix[3], matrix[vocabulary.unk])  # blue can be learned
    np.testing.assert_array_equal(matrix, word_matrix(vectors, vocabulary, 2, seed=3))


def test_matrix_needs_one_known_word() -> None:
    with pytest.raises(DataError, match="none of the vocabulary"):
        word_matrix({}, Vocabulary(["red"]), 2)


def test_real_glove(real_data: Path) -> None:
    file = real_data / "glove" / "glove.840B.300d.subset.txt"
    found = read_word_vectors(file, Vocabulary(["person", "door", "zzzz"]), 300)
    assert sorted(found) == ["door", "person"] and found["door"].shape == (300,)
    with pytest.raises(DataError, match="line 1: word vector of 300 numbers, expected 100"):
        read_word_vectors(file, Vocabulary(["person"]), 100)
