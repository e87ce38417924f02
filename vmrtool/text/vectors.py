"""Word vectors: GloVe's public text format, a word and its numbers a line, and smaller forms."""

import io
import zipfile
from collections.abc import Container, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmrtool.errors import DataError
from vmrtool.text.compact import read_compact
from vmrtool.text.vocabulary import Vocabulary


def load_word_vectors(
    path: Path, words: Container[str] | None = None, dim: int = 300
) -> dict[str, NDArray]:
    """The vectors of a file, each float32 (dim,), of `words` or of all words in it.

    Args:
        path: GloVe's text file, the zip archive it is published in, or a compact file
            (`.safetensors`) as `vmrtool data pull glove` makes.
        words: the words that are wanted; None for all. Of a large text file that is a lot.
        dim: width that the vectors must have.

    Raises:
        DataError: no such file, another format, a line of another width or without numbers (the
            message names the line), or values that are not finite.
    """
    if path.suffix == ".zip":
        return _read_zip(path, words, dim)
    if path.suffix != ".safetensors":
        return read_word_vectors(path, _All() if words is None else words, dim)
    compact = read_compact(path)
    width = compact.vectors.shape[1]
    if width != dim:
        raise DataError(
            f"{path}: word vectors of {width} numbers, expected {dim}",
            remedy=f"give a file of {dim} numbers a word, or set word_dim",
        )
    if not np.isfinite(compact.vectors).all():
        raise DataError(f"{path}: word vectors are not finite")
    pairs = zip(compact.words, compact.vectors, strict=True)
    return {word: vector for word, vector in pairs if words is None or word in words}


def read_word_vectors(path: Path, vocabulary: Container[str], dim: int) -> dict[str, NDArray]:
    """The vectors that a text file holds for the words of `vocabulary`, each float32 (dim,).

    Only the lines of wanted words are parsed, so a file of two million words takes seconds. A
    file may hold words with blanks in them (GloVe 840B does), hence the cut from the right.

    Raises DataError: no such file, a line of another width, not numbers, not UTF-8.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            return _read_lines(lines, str(path), vocabulary, dim)
    except OSError as error:
        raise DataError(
            f"cannot read word vectors {path}: {error.strerror or error}",
            remedy="give the path of a GloVe text file",
        ) from error


class _All:
    """The set of all words."""

    def __contains__(self, word: object) -> bool:
        return True


def _read_zip(path: Path, words: Container[str] | None, dim: int) -> dict[str, NDArray]:
    """The same of a text file inside a zip archive, which is not unpacked for it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".txt")]
            if len(names) != 1:
                raise DataError(f"{path}: {len(names)} text files in it, expected one")
            with archive.open(names[0]) as packed:
                lines = io.TextIOWrapper(packed, encoding="utf-8", newline="\n")
                wanted = _All() if words is None else words
                return _read_lines(lines, f"{path}, {names[0]}", wanted, dim)
    # Damaged names in an archive are a UnicodeDecodeError, which is a ValueError.
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read word vectors {path}: {error}", remedy="get the archive again"
        ) from error


def _read_lines(
    lines: Iterable[str], source: str, vocabulary: Container[str], dim: int
) -> dict[str, NDArray]:
    found: dict[str, NDArray] = {}
    try:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip()
            blanks = line.count(" ")
            if blanks < dim or (number == 1 and blanks > dim):
                raise DataError(
                    f"{source}, line {number}: word vector of {len(line.split()) - 1} numbers, "
                    f"expected {dim}",
                    remedy=f"give a GloVe file of {dim} numbers a word, or set word_dim",
                )
            # Cutting every line up would take most of the time; only words with blanks need it.
            word = line.partition(" ")[0] if blanks == dim else line.rsplit(" ", dim)[0]
            if word in vocabulary and word not in found:
                found[word] = _parse(line.rsplit(" ", dim)[1:], source, number)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not a word vector file: {error.reason}",
            remedy="give a GloVe text file, unpacked, in UTF-8",
        ) from error
    return found


def _parse(values: list[str], source: str, number: int) -> NDArray:
    try:
        vector = np.array(values, dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{source}, line {number}: not numbers: {error}") from error
    if not np.isfinite(vector).all():
        raise DataError(f"{source}, line {number}: word vector is not finite")
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
