"""What a data set tells about a query in *other* videos than the one it was asked of.

Two queries mean the same when they share an event or a sentence. A query may mismatch a video
only where the data set gives no reason to think that its moment happens there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.samples import Sample, Window

_CONDITION = re.compile(r" (?:after|before) ")


@dataclass(frozen=True)
class Occurrences:
    """Where a query's moment happens in one video.

    `sure` are moments the data set gives for the same event or sentence. `possible` are moments
    of the same event under another condition ("X" for "X after Y"): neither a hit nor a miss. There
    are none where the data set decides: a video's own windows for the event are all there are, and
    where no Y is known to happen, no X happens after it.
    """

    sure: tuple[Window, ...]
    possible: tuple[Window, ...]


def sentence_key(query: str) -> str:
    """The sentence without case, punctuation and spacing: equal keys, same sentence."""
    return " ".join(re.findall(r"[^\W_]+", query.lower()))


def event_kind(event: str) -> str:
    """The kind of a canonical event id: "temporal" for one with a condition, else its last word.

    "red circle moves-left" -> "moves-left"; "blue square + red circle meet" -> "meet";
    "red circle spins after green star vanishes" -> "temporal".
    """
    return "temporal" if has_condition(event) else event.split()[-1]


def has_condition(event: str) -> bool:
    """Whether the event id names a condition in time ("... after ...", "... before ...")."""
    return _CONDITION.search(event) is not None


class Relations:
    """Looks up the videos in which the moment of a query is known to happen."""

    def __init__(self, dataset: Dataset) -> None:
        """Groups the data set's moments by event, by event without condition and by sentence."""
        self._n_videos = len(dataset.videos)
        self._words: list[set[str]] = [set() for _ in dataset.videos]
        for sample, video in zip(dataset.samples, dataset.video_of, strict=True):
            self._words[video] |= set(sentence_key(sample.query).split())
        self._uses = Counter(word for words in self._words for word in words)
        self._sure = _Groups()
        self._base = _Groups()
        self._known: dict[tuple[str, ...], dict[int, Occurrences]] = {}
        for index, sample in enumerate(dataset.samples):
            video = dataset.video_of[index]
            for key in _sure_keys(sample):
                self._sure.add(key, video, sample.windows)
            for key in _base_keys(sample):
                self._base.add(key, video, sample.windows)

    def occurrences(self, sample: Sample) -> dict[int, Occurrences]:
        """Video index -> where the sample's moment happens, for every video it may happen in."""
        keys = (*_sure_keys(sample), *_base_keys(sample))
        if keys not in self._known:
            sure = self._sure.lookup(_sure_keys(sample))
            possible = self._undecided(sample)
            self._known[keys] = {
                video: Occurrences(
                    tuple(sorted(sure.get(video, ()))), tuple(sorted(possible.get(video, ())))
                )
                for video in sorted(sure.keys() | possible.keys())
            }
        return self._known[keys]

    def _undecided(self, sample: Sample) -> dict[int, set[Window]]:
        """Video -> moments of the event under another condition, where that leaves it open."""
        if sample.event is None:
            return {}
        base, *others = _CONDITION.split(sample.event)
        found = self._base.lookup(["event " + base])
        for video in self._sure.lookup(["event " + sample.event]):
            del found[video]
        for other in others:
            happens = self._base.lookup(["event " + other]).keys()
            found = {video: windows for video, windows in found.items() if video in happens}
        return found

    def mismatched_videos(self, sample: Sample) -> NDArray[np.int64]:
        """The videos in which the sample's moment is not known to happen."""
        known = self.occurrences(sample).keys()
        return np.array([v for v in range(self._n_videos) if v not in known], dtype=np.int64)

    def likeness(self, sample: Sample, videos: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much of the sample's sentence the sentences of each video say -> (V,).

        Words in common, each weighing the less the more videos' sentences use it. A video that
        is alike but mismatched shows something close to what the query asks for.
        """
        words = set(sentence_key(sample.query).split())
        return np.array(
            [sum(1.0 / self._uses[word] for word in words & self._words[v]) for v in videos]
        )


class _Groups:
    """key -> video -> moments."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[int, set[Window]]] = defaultdict(lambda: defaultdict(set))

    def add(self, key: str, video: int, windows: Iterable[Window]) -> None:
        self._groups[key][video].update(windows)

    def lookup(self, keys: Sequence[str]) -> dict[int, set[Window]]:
        """The union of the keys' groups."""
        found: dict[int, set[Window]] = defaultdict(set)
        for key in keys:
            if key in self._groups:
                for video, windows in self._groups[key].items():
                    found[video] |= windows
        return found


def _sure_keys(sample: Sample) -> list[str]:
    keys = ["sentence " + sentence_key(sample.query)]
    if sample.event is not None:
        keys.append("event " + sample.event)
    return keys


def _base_keys(sample: Sample) -> list[str]:
    if sample.event is None:
        return []
    return ["event " + _CONDITION.split(sample.event)[0]]
