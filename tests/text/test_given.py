from pathlib import Path

import numpy as np
import pytest

from vmrtool.errors import DataError
from vmrtool.text.given import read_given_vectors

FILE = "the 1 2\n, 3 4\nDoor 5 6\nof 7 8\nbed 9 10\ndoor 11 12\nsofa 13 14\n"


def test_asked_for_words_come_wherever_they_stand_and_further_ones_by_rank(tmp_path: Path) -> None:
    file = tmp_path / "glove.txt"
    file.write_text(FILE)
    given = read_given_vectors(file, ["Opens the door", "a sofa"], 2)
    assert (given.source, list(given.vectors)) == ("glove.txt", ["the", "door", "sofa"])
    np.testing.assert_array_equal(given.vectors["door"], np.float32([11, 12]))
    # Two more: neither punctuation nor "Door", which no query becomes after lower-casing.
    more = read_given_vectors(file, ["Opens the door", "a sofa"], 2, more=2)
    assert list(more.vectors) == ["the", "of", "bed", "door", "sofa"]
    assert list(read_given_vectors(file, ["door"], 2, more=1).vectors) == ["the", "door"]


def test_another_width_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "glove.txt"
    file.write_text(FILE)
    with pytest.raises(DataError, match=r"glove\.txt, line 1: word vector of 2 numbers.*300"):
        read_given_vectors(file, ["door"], 300)


def test_what_the_paper_needs_is_in_the_real_file(real_data: Path) -> None:
    from vmrtool.datasets.named import read_named
    from vmrtool.text.tokens import tokenize

    file = real_data / "glove" / "glove.840B.300d.subset.txt"
    queries = {
        split: [sample.query for sample in read_named("charades", folder, split).samples]
        for folder in [real_data / "charades-sta"]
        for split in ("train", "test")
    }
    given = read_given_vectors(file, queries["train"] + queries["test"], 300)
    tokens = [word for query in queries["test"] for word in tokenize(query)]
    assert np.mean([word in given.vectors for word in tokens]) > 0.999
