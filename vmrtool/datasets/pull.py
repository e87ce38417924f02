"""Getting the public data sets: annotation files, features, and word vectors for their words."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmrtool.assets import SILENT, Asset, Progress
from vmrtool.assets.cache import cached, mismatch, obtain
from vmrtool.assets.download import not_written
from vmrtool.assets.lock import held
from vmrtool.assets.registry import FEATURES, annotation_files, find_asset
from vmrtool.assets.zenodo import read_record
from vmrtool.datasets import pulled
from vmrtool.datasets.load import all_queries
from vmrtool.datasets.named import NAMED
from vmrtool.datasets.pulled import Manifest, data_folder, pulled_annotations
from vmrtool.datasets.unpack import ARCHIVES, unpack
from vmrtool.datasets.unpack import FEATURES as FEATURE_SUFFIXES
from vmrtool.errors import AssetError, DataError, UsageError
from vmrtool.files import whole
from vmrtool.text.compact import PULLED, CompactVectors, read_compact, write_compact
from vmrtool.text.given import Wanted
from vmrtool.text.tokens import tokenize
from vmrtool.text.vectors import load_word_vectors

DIM = 300
MORE_WORDS = 20_000  # as many as training takes beside those of its data set


@dataclass(frozen=True)
class PulledFeatures:
    """Features that are here: the store, their record and its terms, what was left aside."""

    path: Path
    record: int
    licence: str
    videos: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class PulledVectors:
    """Word vectors that are here: their file, how many, and how many were asked for in vain."""

    path: Path
    words: int
    absent: int


def pull_annotations(
    dataset: str, folder: Path | None = None, *, progress: Progress = SILENT
) -> list[tuple[Asset, Path]]:
    """Gets the annotation files of a data set.

    Args:
        dataset: a name of `NAMED`.
        folder: where to; None for the user's cache, where they are found without being named.
        progress: told of downloads.

    Returns:
        Every file, as what is known of it and where it is.

    Raises:
        AssetError: one cannot be had, or `folder` holds another file of its name.
        DiskError: the disk is full.
    """
    folder = folder or data_folder(dataset)
    return [
        (known, _place(known, obtain(known, progress=progress), folder / known.file))
        for known in annotation_files(dataset)
    ]


def pull_features(
    dataset: str,
    folder: Path | None = None,
    *,
    keep: bool = False,
    progress: Progress = SILENT,
) -> PulledFeatures:
    """Gets the public features of a data set and unpacks them into FOLDER/features.

    Files that were unpacked before are not fetched again, so an interrupted pull goes on.

    Args:
        dataset: a name of `NAMED`.
        folder: where to; None for the user's cache, where they are found without being named.
        keep: keep the downloaded archives too.
        progress: told of downloads.

    Raises:
        AssetError: the record or a file of it cannot be had, or is not to be trusted.
        DiskError: the disk is full.
    """
    folder = folder or data_folder(dataset)
    deposit = read_record(FEATURES[dataset].number, progress=progress)
    wanted = [f for f in deposit.files if f.file.lower().endswith((*ARCHIVES, *FEATURE_SUFFIXES))]
    if not wanted:
        raise AssetError(f"{deposit.page}: there are no features among its files")
    features = folder / pulled.FEATURES
    try:
        features.mkdir(parents=True, exist_ok=True)
        with held(folder / ".lock", lambda: progress.note("another process is pulling; waiting")):
            done = Manifest.read(folder)
            if done is None or done.record != deposit.number:
                done = Manifest(deposit.number)
            for known in wanted:
                if done.files.get(known.file) != known.checksum:
                    path = obtain(known, progress=progress)
                    _take(path, features, progress)
                    if path == cached(known) and not keep:
                        path.unlink()
                done = Manifest(
                    done.record,
                    {**done.files, known.file: known.checksum or ""},
                    known == wanted[-1],
                )
                done.write(folder)
    except OSError as error:
        raise not_written(folder, error) from error
    store = pulled.pulled_features(dataset, folder) or features
    return PulledFeatures(
        path=store,
        record=deposit.number,
        licence=deposit.licence,
        videos=sum(1 for path in features.iterdir() if path.suffix in FEATURE_SUFFIXES),
        left_out=tuple(f.file for f in deposit.files if f not in wanted),
    )


def pull_vectors(
    words: Iterable[str],
    folder: Path | None = None,
    *,
    more: int = MORE_WORDS,
    keep: bool = False,
    progress: Progress = SILENT,
) -> PulledVectors:
    """Gets GloVe's vectors of some words, added to those that are here, as one compact file.

    Args:
        words: words as `tokenize` makes them.
        folder: where to; None for the user's cache.
        more: how many further words to take, the most frequent ones.
        keep: keep the archive of 2 GB too.
        progress: told of downloads.

    Raises:
        UsageError: there are no words.
        AssetError: the archive cannot be had.
        DataError: it is not what it should be.
        DiskError: the disk is full.
    """
    path = (folder or data_folder("glove")) / PULLED
    here = _vectors_here(path, progress)
    asked = set(words)
    if not asked and not more:
        raise UsageError(
            "there are no words to get vectors of",
            remedy="Pull a data set first (vmrtool data pull charades), or give --words FILE.",
        )
    if here is None or not asked.issubset((*here.words, *here.asked)) or more > here.frequent:
        if here is not None:
            asked.update(here.asked)
            more = max(more, here.frequent)
        archive = find_asset("glove")
        source = obtain(archive, progress=progress)
        progress.note(f"reading vectors out of {source.name}: a minute or so")
        vectors = load_word_vectors(source, Wanted(asked, more), DIM)
        if not vectors:
            raise DataError(f"{source}: it has a vector of none of the {len(asked)} words")
        here = CompactVectors(
            words=tuple(vectors),
            vectors=np.stack([*vectors.values()]),
            asked=tuple(sorted(asked)),
            frequent=more,
            source=archive.file,
        )
        try:
            write_compact(path, here)
            if source == cached(archive) and not keep:
                source.unlink()
        except OSError as error:
            raise not_written(path, error) from error
    return PulledVectors(path, len(here.words), len(here.absent))


def words_of(dataset: str, folder: Path | None = None) -> set[str]:
    """The words of every sentence of a data set: a name, with the folder of its files, or a file.

    Raises:
        DataError: the file is not as expected.
    """
    queries = all_queries(dataset, annotations=folder)
    return {word for query in queries for word in tokenize(query)}


def words_of_pulled() -> set[str]:
    """The words of every sentence of the data sets whose annotations are in the user's cache."""
    pulled_names = [name for name in NAMED if pulled_annotations(name) is not None]
    return {word for name in pulled_names for word in words_of(name)}


def words_of_file(path: Path) -> set[str]:
    """The words of a JSONL data set's sentences, or of any text file.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix == ".jsonl":
        return words_of(str(path))
    try:
        return set(tokenize(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason})") from error


def _vectors_here(path: Path, progress: Progress) -> CompactVectors | None:
    """The vectors that were pulled before; None where there are none, or they are damaged."""
    if not path.is_file():
        return None
    try:
        return read_compact(path)
    except DataError as error:
        progress.note(f"{error}; it is made anew")
        return None


def _place(known: Asset, path: Path, target: Path) -> Path:
    """Copies a file to where it is wanted, unless it is there; never over another one."""
    if target.exists():
        wrong = None if target.samefile(path) else mismatch(known, target)
        if wrong is not None:
            raise AssetError(
                f"{target}: there is another file of this name: {wrong}",
                remedy="Move it away, or give another --dir.",
            )
        return target
    try:
        with whole(target) as place:
            shutil.copyfile(path, place)
    except OSError as error:
        raise not_written(target, error) from error
    return target


def _take(path: Path, features: Path, progress: Progress) -> None:
    """Brings a file of a record among the features: unpacked, or as it is."""
    if path.name.lower().endswith(ARCHIVES):
        name = f"unpacking {path.name}"
        unpack(path, features, lambda done, total: progress.at(name, done, total))
        return
    part = features / f".{path.name}.part"
    shutil.copyfile(path, part)
    part.replace(features / path.name)
