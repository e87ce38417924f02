"""Word vectors in GloVe's public text format: a word and its numbers a line."""

from collections.abc import Container
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmrtool.errors import DataError
from vmrtool.text.vocabulary import Vocabulary


def read_word_vectors(path: Path, vocabulary: Container[str], dim: int) -> dict[str, NDArray]:
    """The vectors that `path` holds for the words of `vocabulary`, each float32 (dim,).

    Only the lines of wanted words are parsed, so a file of two million words takes seconds. A
    file may hold words with blanks in them (GloVe 840B does), hence the cut from the right.

    Raises DataError: no such file, a line of another width, not numbers, not UTF-8.
    """
    found: dict[str, NDArray] = {}
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                word, *values = line.rstrip().rsplit(" ", dim)
                if len(values) != dim or (number == 1 and " " in word):
                    width = len(line.split()) - 1
                    raise DataError(
                        f"{path}, line {number}: word vector of {width} numbers, expected {dim}",
                        remedy=f"give a GloVe file of {dim} numbers a word, or set word_dim",
                    )
                if word in vocabulary and word not in found:
                    found[word] = _parse(values, path, number)
    except OSError as error:
        raise DataError(
            f"cannot read word vectors {path}: {error.strerror or error}",
            remedy="give the path of a GloVe text file",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a word vector file: {error.reason}",
            remedy="give a GloVe text file, unpacked, in UTF-8",
        ) from error
    return found


def _parse(values: list[str], path: Path, number: int) -> NDArray:
    try:
        vector = np.array(values, dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: not numbers: {error}") from error
    if not np.isfinite(vector).all():
        raise DataError(f"{path}, line {number}: word vector is not finite")
    return vector


def word_matrix(
    vectors: dict[str, NDArray], vocabulary: Vocabulary, dim: int, seed: int = 0
) -> NDArray:
    """Matrix float32 (V, dim) of the vocabulary's vectors.

    `<pad>` is zero, `<unk>` the mean of the known vectors, and a word without a vector a random
    one of the known ones' spread, so that training can tell it apart.

    Raises DataError if no word of the vocabulary has a vector.
    """
    if not vectors:
        raise DataError(
            "none of the vocabulary's words has a word vector",
            remedy="check that the word vector file is in the language of the queries",
        )
    known = np.stack(list(vectors.values()))
    mean = known.mean(axis=0)
    draw = np.random.default_rng(seed)
    matrix = mean + known.std() * draw.standard_normal((len(vocabulary), dim))
    for number, word in enumerate(vocabulary.words):
        if word in vectors:
            matrix[number] = vectors[word]
    matrix[vocabulary.pad] = 0.0
    matrix[vocabulary.unk] = mean
    return matrix.astype(np.float32)
