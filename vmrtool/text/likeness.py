"""How like a sentence is to each of a list of names: by words in common, GloVe or a text model."""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmrtool.text.stems import FUNCTION_WORDS, stem
from vmrtool.text.tokens import tokenize
from vmrtool.text.vectors import load_word_vectors

Embed = Callable[[Sequence[str]], NDArray[np.floating]]
"""Texts to vectors (n, d)."""

Way = Literal["words", "glove", "sentence-transformers"]
"""How texts are compared."""

WAYS: tuple[Way, ...] = ("sentence-transformers", "glove", "words")
"""All of them, the best one first."""

FAR: dict[Way, float] = {"words": 0.0, "glove": 0.4, "sentence-transformers": 0.35}
"""A sentence is far from all names when its likeness with the nearest one is not above this."""


class Likeness:
    """Compares sentences with names.

    A likeness is the cosine of two vectors. `far` is what a sentence must exceed to be near any
    name: with "words" 0, so that it is far when it has no word in common with any of them.
    """

    def __init__(
        self,
        names: Sequence[str],
        way: Way,
        embed: Embed,
        *,
        centred: bool = True,
        known: Container[str] | None = None,
    ) -> None:
        """Embeds the names.

        centred: whether what all names have in common is taken off their vectors and the
        sentences'; known: the words that `embed` knows, None where it takes any.
        """
        self.way = way
        self._embed = embed
        self._known = known
        vectors = np.asarray(embed(list(names)), np.float32)
        self._middle = vectors.mean(axis=0) if centred else np.zeros(vectors.shape[1], np.float32)
        self._vectors = _unit(vectors - self._middle) if centred else vectors
        self.far = FAR[way]

    def of(self, sentence: str) -> NDArray[np.float32]:
        """The likeness of a sentence with each name, float32 (names,), at most 1."""
        vector = np.asarray(self._embed([sentence]), np.float32)[0]
        if not vector.any():
            return np.zeros(len(self._vectors), np.float32)
        if self._middle.any():
            vector = _unit(vector[None] - self._middle)[0]
        likeness: NDArray[np.float32] = self._vectors @ vector
        return likeness

    def unknown(self, words: Sequence[str]) -> list[str]:
        """The words of a sentence that say nothing here, each once, in order."""
        if self._known is None:
            return []
        told = dict.fromkeys(word for word in words if word not in FUNCTION_WORDS)
        return [word for word in told if word not in self._known]


class _Stems(Container[str]):
    """The words with a stem among these."""

    def __init__(self, stems: Container[str]) -> None:
        self._stems = stems

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and stem(word) in self._stems


def by_words(names: Sequence[str]) -> Likeness:
    """By stems in common, each weighed by how few names have it; plain, and always there.

    A word that no name has weighs like one that a single name has, so that a sentence that says
    much else is less like any name.
    """
    counts = Counter(s for name in names for s in set(_stems(name)))
    numbers = {s: number for number, s in enumerate(sorted(counts))}
    rare = float(np.log1p(len(names)))

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), len(numbers)), np.float32)
        for row, text in zip(rows, texts, strict=True):
            stems = set(_stems(text))
            for s in stems & numbers.keys():
                row[numbers[s]] = np.log1p(len(names) / counts[s])
            unknown = len(stems - numbers.keys())
            row /= max(float(np.sqrt(row @ row + unknown * rare**2)), 1e-9)
        return rows

    return Likeness(names, "words", embed, centred=False, known=_Stems(numbers))


def by_glove(names: Sequence[str], vectors: Mapping[str, NDArray]) -> Likeness:
    """By the mean of the word vectors (dim,) of what is said, function words left out."""
    width = len(next(iter(vectors.values())))

    def embed(texts: Sequence[str]) -> NDArray[np.floating]:
        rows = np.zeros((len(texts), width))
        for row, text in zip(rows, texts, strict=True):
            known = [vectors[word] for word in _content(text) if word in vectors]
            if known:
                row[:] = _unit(np.stack(known).astype(np.float64)).mean(axis=0)
        return rows

    return Likeness(names, "glove", embed, known=vectors)


def by_text_model(names: Sequence[str], embed: Embed) -> Likeness:
    """By a text model's own sentence vectors."""
    return Likeness(names, "sentence-transformers", embed)


def read_glove(path: Path) -> dict[str, NDArray]:
    """All word vectors of a file by word.

    Raises:
        DataError: it is none.
    """
    return load_word_vectors(path)


def _content(text: str) -> list[str]:
    words = tokenize(text)
    return [word for word in words if word not in FUNCTION_WORDS] or words


def _stems(text: str) -> list[str]:
    return [stem(word) for word in _content(text)]


def _unit(rows: NDArray) -> NDArray:
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    unit: NDArray = rows / np.maximum(lengths, 1e-9)
    return unit
