"""The vector index of a catalog: opened from the file beside it, brought up to date, or made.

What the file does not hold yet is searched exactly beside it, what it holds too much is left out;
the file is only written anew once either has grown.
"""

import heapq
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from vmrtool.catalog import Catalog
from vmrtool.catalog.connection import broken
from vmrtool.catalog.rows import ExtractorRow, ListedWindows, StoredWindow
from vmrtool.search import index_file
from vmrtool.search.factory import EXACT, Factory, choose, too_few, train
from vmrtool.search.gpu import on_gpu
from vmrtool.search.index import Part, VectorIndex, Vectors
from vmrtool.search.index_file import Identity, Kept, UnsoundError, as_they_are, from_flat
from vmrtool.search.table import Table, by_time, tabulate

KEPT_FROM = 50_000
"""Vectors from which an exact index is kept in a file; fewer are read as fast from the catalog."""
BESIDE = 0.1
"""Share of a file's vectors that may be searched beside it before they are added to it."""
BESIDE_LEAST = 5_000
"""So many may in any case."""
GONE = 0.25
"""Share of a file's vectors that may be of no use before it is filled anew."""
_GROWN = 2.0  # times as many vectors as an index was trained on make it be trained anew
_READ = 16  # contents whose windows are read at once
_ADDED = 2**16  # vectors added to an index at once


@dataclass(frozen=True)
class Wish:
    """The index that a search is to use: FAISS's factory string and nprobe; None leaves it open.

    `gpu` is the number of the GPU to search on, None for the processor. `say` is told what is
    being done where it may take long.
    """

    factory: str | None = None
    nprobe: int | None = None
    gpu: int | None = None
    say: Callable[[str], None] = lambda step: None


@dataclass(frozen=True)
class OpenedIndex:
    """A catalog's vectors ready to be searched: what they stand for, and their index.

    `choice` says in words which index it is and why; it is empty where nobody asked for one and
    there are so few vectors that any would do. `notes` are sentences that the user should read.
    """

    table: Table
    index: VectorIndex | None
    choice: str
    notes: tuple[str, ...]


def open_index(
    catalog: Catalog,
    model: str,
    extractor: ExtractorRow,
    dim: int,
    contents: Collection[str],
    unstored: Sequence[StoredWindow],
    wish: Wish,
) -> OpenedIndex:
    """Opens the index of some contents' vectors.

    Args:
        catalog: where the vectors are.
        model: the key of the model that made them.
        extractor: what made the features they were made of.
        dim: how many numbers a vector has.
        contents: what is searched; what of it has no vectors is left out.
        unstored: windows that the catalog could not take.
        wish: which index.

    Raises:
        CatalogError: it holds something that no vmrtool has written.
        UsageError: there is no such index.
    """
    source = _Source(catalog, model, extractor, dim)
    known = source.known()
    wanted = known.keys() & set(contents)
    count = sum(known[content].vectors for content in wanted)
    count += sum(len(window.vectors) for window in unstored)
    choice = choose(wish.factory, count, dim)
    notes: list[str] = []
    few = choice.factory.exact and count < KEPT_FROM
    if few:
        kept = source.gather(choice.factory, known, wanted)
    else:
        kept, notes = _follow(source, choice.factory, known, wanted, wish)
        if kept.factory != choice.factory:
            choice = too_few(choice.factory, len(kept.table))
    if choice.note is not None:
        notes.insert(0, choice.note)
    current = _current(kept, known)
    searched = [number for content, number in current.items() if content in wanted]
    side, vectors = source.read(known, wanted - current.keys(), unstored)
    table, parts = _together(kept, searched, side, vectors, wish.nprobe)
    told = f"{choice.factory.text} over {len(table):,} vectors of {dim} numbers ({choice.reason})"
    probes = choice.factory.probes(wish.nprobe)
    if probes is None and wish.nprobe is not None:
        notes.append(f"nprobe does nothing: the index {choice.factory.text} has no lists.")
    if probes is not None:
        told += f", nprobe {probes} of {choice.factory.lists}"
    if len(side) and len(kept.table):
        told += f", {len(side):,} of them newer than the index and searched beside it"
    if wish.gpu is not None and len(table):
        parts, where = on_gpu(parts, wish.gpu)
        told += f", {where}"
    index = VectorIndex(parts, table.bounds, table.window_of) if len(table) else None
    if few and wish.factory is None and wish.gpu is None:
        told = ""
    return OpenedIndex(table, index, told, tuple(notes))


_Known = Mapping[str, ListedWindows]


@dataclass(frozen=True)
class _Source:
    """Where vectors are read from: a catalog's, of one model and extractor."""

    catalog: Catalog
    model: str
    extractor: ExtractorRow
    dim: int

    def known(self) -> _Known:
        """What the catalog has, by content."""
        return self.catalog.list_windows(self.model, self.extractor.id)

    def identity(self, factory: Factory) -> Identity:
        """Whose vectors an index of them is of."""
        extractor = self.extractor
        settings = json.dumps(dict(extractor.settings), sort_keys=True)
        made_by = (extractor.backbone, extractor.weights_sha256, settings)
        return Identity(self.catalog.id, self.model, made_by, factory.text)

    def read(
        self, known: _Known, contents: Collection[str], more: Sequence[StoredWindow] = ()
    ) -> tuple[Table, NDArray[np.float32]]:
        """The table and the vectors of some contents, and of windows from elsewhere."""
        most = sum(known[content].vectors for content in contents)
        most += sum(len(window.vectors) for window in more)
        stored = self._stored(known, contents)
        windows = heapq.merge(stored, sorted(more, key=by_time), key=by_time)
        return tabulate(windows, most, self.dim)

    def _stored(self, known: _Known, contents: Collection[str]) -> Iterator[StoredWindow]:
        """The windows of some contents, of which few are in memory at a time."""
        ordered = sorted(contents)
        for low in range(0, len(ordered), _READ):
            some = ordered[low : low + _READ]
            windows = self.catalog.load_vectors(self.model, self.extractor.id, some)
            if any(window.vectors.shape[1] != self.dim for window in windows):
                raise broken(self.catalog.path, "vectors of another width than the model's")
            count = sum(len(window.vectors) for window in windows)
            if count > sum(known[content].vectors for content in some):
                raise broken(self.catalog.path, "windows that changed while they were read")
            yield from windows

    def gather(self, factory: Factory, known: _Known, contents: Collection[str]) -> Kept:
        """An index of contents' vectors, made from them all; exact where they are too few."""
        table, vectors = self.read(known, contents)
        if len(table) < factory.least:
            factory = Factory(EXACT)
        index = train(factory, vectors)
        _add(index, vectors, exact=factory.exact)
        windows = [known[content].windows for content in table.contents]
        return Kept(index, factory, table, windows, _reader(index, factory, vectors), len(table))


def _follow(
    source: _Source, factory: Factory, known: _Known, wanted: Collection[str], wish: Wish
) -> tuple[Kept, list[str]]:
    """What the file holds, brought up to date, or made first, where need be; and notes."""
    identity = source.identity(factory)
    path = identity.beside(source.catalog.path)
    notes = []
    kept = None
    try:
        kept = index_file.read(path, identity, factory, source.dim)
    except UnsoundError as error:
        notes.append(f"{path.name} cannot be used ({error}) and is made anew.")
    newer = None if kept is None else _updated(source, path, kept, known, wanted, wish)
    if newer is None:
        if not factory.exact:
            wish.say(f"making the index {factory.text} of {len(wanted):,} videos")
        newer = source.gather(factory, known, wanted)
    if newer is kept or newer.factory != factory:
        return newer, notes
    try:
        index_file.write(path, identity, newer)
        # Mapped, it takes no memory of its own.
        return index_file.read(path, identity, factory, source.dim) or newer, notes
    except (OSError, UnsoundError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        notes.append(
            f"The index {factory.text} cannot be kept beside the catalog and is made at every "
            f"search ({reason})."
        )
        return newer, notes


def _updated(
    source: _Source,
    path: Path,
    kept: Kept,
    known: _Known,
    wanted: Collection[str],
    wish: Wish,
) -> Kept | None:
    """`kept` itself where it will do, else one that holds what is newer; None to make it anew."""
    current = _current(kept, known)
    of_use = int(kept.table.counts[list(current.values())].sum())
    gone = len(kept.table) - of_use
    fresh = wanted - current.keys()
    # More than there will be where windows overlap, but known without reading them.
    beside = sum(known[content].vectors for content in fresh)
    refill = gone > max(BESIDE_LEAST, GONE * len(kept.table))
    if not refill and beside <= max(BESIDE_LEAST, BESIDE * len(kept.table)):
        return kept
    side, vectors = source.read(known, fresh)
    if not kept.factory.exact and not (
        kept.factory.least <= of_use + len(side) <= _GROWN * kept.trained_on
    ):
        return None
    wish.say(f"adding {len(side):,} vectors to the index {kept.factory.text}")
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError):
        return None
    table = kept.table.join(side)
    windows = [*kept.windows, *(known[content].windows for content in side.contents)]
    every = np.concatenate([kept.vectors(0, len(kept.table)), vectors])
    if refill:
        numbers = [*current.values(), *range(len(kept.table.contents), len(table.contents))]
        numbers.sort(key=lambda number: table.contents[number])
        table, rows = table.take(np.array(numbers, np.int64))
        windows = [windows[number] for number in numbers]
        every = every[rows]
        index.reset()
        _add(index, every, exact=kept.factory.exact)
    else:
        _add(index, vectors, exact=kept.factory.exact)
    reader = _reader(index, kept.factory, every)
    return Kept(index, kept.factory, table, windows, reader, kept.trained_on)


def _current(kept: Kept, known: _Known) -> dict[str, int]:
    """The contents that an index holds as the catalog has them, with their numbers in it."""
    return {
        content: number
        for number, (content, windows) in enumerate(
            zip(kept.table.contents, kept.windows, strict=True)
        )
        if content in known and known[content].windows == windows
    }


def _together(
    kept: Kept,
    searched: Sequence[int],
    side: Table,
    vectors: NDArray[np.float32],
    nprobe: int | None,
) -> tuple[Table, list[Part]]:
    """One table of the contents of an index that are searched and those beside it, and its parts.

    Contents are in the order of their names, which nothing else depends on.
    """
    joined = kept.table.join(side)
    numbers = [*searched, *range(len(kept.table.contents), len(joined.contents))]
    numbers.sort(key=lambda number: joined.contents[number])
    table, former = joined.take(np.array(numbers, np.int64))
    rows = np.full(len(joined), -1, np.int64)
    rows[former] = np.arange(len(former))
    at = len(kept.table)
    probes = kept.factory.probes(nprobe)
    parts = [Part(kept.index, kept.factory, rows[:at], kept.vectors, probes)]
    if len(side):
        parts.append(Part.exact(vectors, rows[at:]))
    return table, parts


def _reader(index: faiss.Index, factory: Factory, vectors: NDArray[np.float32]) -> Vectors:
    return from_flat(index) if factory.exact else as_they_are(vectors)


def _add(index: faiss.Index, vectors: NDArray[np.float32], *, exact: bool) -> None:
    """Adds vectors: all at once where FAISS keeps them as they are and needs no more than that,
    else piece by piece, so that what it needs beside them is small.
    """
    step = len(vectors) if exact else _ADDED
    for low in range(0, len(vectors), max(1, step)):
        index.add(np.ascontiguousarray(vectors[low : low + step]))
