"""Ways to divide the queries of an evaluation, to see where a method is good and where not."""

from collections.abc import Callable

from vmrtool.datasets.relations import event_kind
from vmrtool.datasets.samples import Sample
from vmrtool.text.tokens import tokenize

_LENGTHS = (3.0, 6.0, 10.0, 20.0)  # seconds
_WORDS = (5, 8, 12)


def _kind(sample: Sample) -> tuple[int, str]:
    """The kind of the query's event, by name."""
    return 0, event_kind(sample.event) if sample.event is not None else "no event named"


def _length(sample: Sample) -> tuple[int, str]:
    """How long the query's first moment is."""
    start, end = sample.windows[0]
    rank = sum(end - start >= limit for limit in _LENGTHS)
    return rank, _between(rank, _LENGTHS, "s")


def _position(sample: Sample) -> tuple[int, str]:
    """In which third of the video the middle of the query's first moment lies."""
    start, end = sample.windows[0]
    rank = min(2, max(0, int(3 * (start + end) / 2 / sample.duration)))
    return rank, ("first third", "middle third", "last third")[rank]


def _words(sample: Sample) -> tuple[int, str]:
    """How many words the query has."""
    count = len(tokenize(sample.query))
    rank = sum(count > limit for limit in _WORDS)
    low = _WORDS[rank - 1] + 1 if rank else 1
    return rank, f"{low}-{_WORDS[rank]} words" if rank < len(_WORDS) else f"{low}+ words"


def _between(rank: int, limits: tuple[float, ...], unit: str) -> str:
    if rank == len(limits):
        return f"{limits[-1]:g}+ {unit}"
    return f"{limits[rank - 1] if rank else 0:g}-{limits[rank]:g} {unit}"


BREAKDOWNS: dict[str, Callable[[Sample], tuple[int, str]]] = {
    "kind": _kind,
    "length": _length,
    "position": _position,
    "words": _words,
}
"""By name: sample -> the rank of its group among the groups, and the group's name."""
