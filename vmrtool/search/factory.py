"""Which FAISS index makes the shortlist: as asked for, else by the archive's size; and its making.

FAISS writes an index as a short text, its factory string. Those below are known here: each can
leave vectors out of a search and be mapped from a file.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from vmrtool.errors import UsageError

EXACT = "Flat"
EXACT_FLOATS = 2**29
"""Numbers that an exact search may read for one query, 2 GiB of them: 0.35 s on 2 cores."""

_CODES = r"SQ(?:4|6|8|fp16)"
_FORM = re.compile(
    rf"Flat|{_CODES}|HNSW(?P<links>\d+)(?:,(?:Flat|{_CODES}))?"
    rf"|IVF(?P<lists>\d+),(?:Flat|{_CODES}|PQ(?P<parts>\d+))"
)
_KNOWN = (
    "Flat, SQ8, HNSW32, IVF4096,Flat, IVF4096,SQ8 and IVF4096,PQ64 are of the forms that are known "
    "(SQ4, SQ6, SQfp16 too; numbers may differ)."
)
_PER_CENTROID = 39  # as few points as FAISS itself thinks enough for a centroid
_SAMPLE_PER_CENTROID = 64  # points a centroid is trained on where there are so many
_PQ_CENTROIDS = 256
_SAMPLE = 65_536  # for what has no centroids
_SEED = 20_261_124


@dataclass(frozen=True)
class Factory:
    """A factory string that has been looked over.

    `lists` is the number of inverted lists, None where there are none; `parts` that of a product
    quantizer's codes, None where there is none.
    """

    text: str
    lists: int | None = None
    parts: int | None = None

    @property
    def exact(self) -> bool:
        """Whether it compares a query with every vector as it is."""
        return self.text == EXACT

    @property
    def least(self) -> int:
        """So many vectors it must be trained on."""
        return _PER_CENTROID * max(self.lists or 0, _PQ_CENTROIDS if self.parts else 0)

    def probes(self, nprobe: int | None) -> int | None:
        """How many lists a query looks into: as asked for, else an eighth of them, 16 at least."""
        if self.lists is None:
            return None
        return min(self.lists, max(16, self.lists // 8) if nprobe is None else nprobe)


@dataclass(frozen=True)
class Choice:
    """The index that is used, why, in words, and what the user should know of it, or None."""

    factory: Factory
    reason: str
    note: str | None = None


def parse(text: str) -> Factory:
    """Reads a factory string.

    Raises:
        UsageError: it is none, or of a form that cannot be used here.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"index factory {text!r} cannot be used here", remedy=_KNOWN)
    numbers = {name: int(value) for name, value in found.groupdict().items() if value is not None}
    small = next((name for name, value in numbers.items() if not 1 <= value <= 2**20), None)
    if small is not None or numbers.get("links", 2) < 2:
        raise UsageError(f"index factory {text!r}: a number in it is out of range", remedy=_KNOWN)
    return Factory(found[0], numbers.get("lists"), numbers.get("parts"))


def check(text: str | None, nprobe: int | None) -> None:
    """Looks over what a user asks for before anything is read.

    Raises:
        UsageError: the factory cannot be used, nprobe is below 1, or they do not go together.
    """
    if nprobe is not None and nprobe < 1:
        raise UsageError(f"nprobe is {nprobe}; it must be at least 1")
    if text is not None and parse(text).lists is None and nprobe is not None:
        raise UsageError(
            f"nprobe goes with inverted lists, and {text} has none",
            remedy="Leave out --nprobe, or name an index such as IVF4096,SQ8.",
        )


def choose(text: str | None, count: int, dim: int) -> Choice:
    """The index for at most `count` vectors of `dim` numbers: as asked for, else by their size.

    Raises:
        UsageError: what is asked for cannot be used, or does not divide the vectors.
    """
    bound = EXACT_FLOATS // dim
    if text is None:
        if count <= bound:
            return Choice(Factory(EXACT), f"exact up to {bound:,}")
        lists = 2 ** round(math.log2(4 * math.sqrt(count)))
        return Choice(
            Factory(f"IVF{lists},SQ8", lists),
            f"above {bound:,} an exact search is slow; --index-factory {EXACT} makes one",
        )
    factory = parse(text)
    if factory.parts is not None and dim % factory.parts:
        fit = ", ".join(f"PQ{n}" for n in range(1, dim + 1) if dim % n == 0)
        raise UsageError(
            f"index factory {text!r}: vectors of {dim} numbers cannot be cut into "
            f"{factory.parts} equal parts",
            remedy=f"These can: {fit}.",
        )
    if count < factory.least:
        return too_few(factory, count)
    return Choice(factory, "as asked for")


def too_few(factory: Factory, count: int) -> Choice:
    """What is used where `count` vectors are too few to train an index on."""
    return Choice(
        Factory(EXACT),
        f"too few for {factory.text}",
        f"{factory.text} takes {factory.least:,} vectors to be trained, and this archive has "
        f"{count:,}: its shortlist is exact.",
    )


def train(factory: Factory, vectors: NDArray[np.float32]) -> faiss.Index:
    """An index without vectors, trained on a sample of `vectors` (V, d), always the same one."""
    index = faiss.index_factory(vectors.shape[1], factory.text, faiss.METRIC_INNER_PRODUCT)
    if factory.parts:
        # It orders codes for a kind of search that is not made here, and takes most of the time.
        codes: Any = faiss.downcast_index(index)
        codes.do_polysemous_training = False
    wanted = max(
        _SAMPLE_PER_CENTROID * max(factory.lists or 0, _PQ_CENTROIDS if factory.parts else 0),
        _SAMPLE,
    )
    if not index.is_trained:
        if wanted < len(vectors):
            rng = np.random.default_rng(_SEED)
            chosen = np.sort(rng.choice(len(vectors), wanted, replace=False, shuffle=False))
            vectors = vectors[chosen]
        index.train(np.ascontiguousarray(vectors))
    return index
