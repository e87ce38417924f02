"""The word vectors a run is given: those of the words it must know, and of further common ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from vmrtool.text.tokens import tokenize
from vmrtool.text.vectors import load_word_vectors


@dataclass(frozen=True)
class GivenVectors:
    """Word vectors from outside: the file's name, and float32 (dim,) by word, in its order."""

    source: str
    vectors: dict[str, NDArray]


def read_given_vectors(
    path: Path, sentences: Iterable[str], dim: int, *, more: int = 0
) -> GivenVectors:
    """Reads the vectors of all words of `sentences`, and of the first `more` others of the file.

    GloVe's files begin with the most frequent words, so those others are the ones that a query is
    likeliest to hold. Only words that the tokeniser makes are taken: lower case, no punctuation.

    Raises:
        DataError: see `load_word_vectors`.
    """
    wanted = Wanted({word for sentence in sentences for word in tokenize(sentence)}, more)
    return GivenVectors(path.name, load_word_vectors(path, wanted, dim))


class Wanted:
    """Whether a word of the file is to be read; asked once for each, in the file's order."""

    def __init__(self, words: set[str], more: int) -> None:
        """Wants `words`, and the first `more` others that the tokeniser makes."""
        self._words = words
        self._left = more

    def __contains__(self, word: object) -> bool:
        if word in self._words:
            return True
        if self._left <= 0 or not isinstance(word, str) or tokenize(word) != [word]:
            return False
        self._left -= 1
        return True
