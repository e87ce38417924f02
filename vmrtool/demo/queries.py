"""Queries for planned videos: what is asked, and the stretches of time that answer it.

Plain queries list every occurrence of their event in the video; one query in six adds a condition
in time ("... after the green circle vanishes") and lists the occurrences that meet it. In the
further rounds that a training archive may ask, every other one does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vmrtool.demo.scenes import Event, Scene
from vmrtool.demo.sentences import conditional_sentence, plain_sentence

ONE_IN = 6  # queries of which one is temporal
ONE_IN_FURTHER = 2  # the same in rounds after the first: conditions take more examples to learn
_PLAIN = (4, 5)  # plain queries a video, but never fewer than its different events
_STREAM = 1 << 20  # keeps the random numbers of sentences apart from those of plans


@dataclass(frozen=True)
class Query:
    """One sentence about one video, with its truth: windows (start, end) in seconds."""

    vid: str
    text: str
    event: str
    windows: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class _Condition:
    """An event that happens after or before another, and when it does."""

    event: Event
    relation: str
    other: Event
    windows: tuple[tuple[float, float], ...]
    matters: bool  # not every occurrence of the event qualifies


def queries_for_archive(seed: int, scenes: Iterable[Scene], rounds: int = 1) -> list[list[Query]]:
    """The queries of each video, in order; a shorter archive has the first of a longer one's.

    Each of the `rounds` asks of every event in other words, and of other conditions, those after
    the first of five times as many; the first is the same however many follow.
    """
    planned = list(scenes)
    archive: list[list[Query]] = [[] for _ in planned]
    for number in range(rounds):
        plain = temporal = 0
        one_in = ONE_IN_FURTHER if number else ONE_IN
        for index, scene in enumerate(planned):
            rng = np.random.default_rng([seed, index, _STREAM + number])
            queries = plain_queries(scene, rng)
            plain += len(queries)
            due = round(plain / (one_in - 1)) - temporal
            queries += temporal_queries(scene, due, rng)
            temporal += due
            known = {query.text for query in archive[index]}
            archive[index] += [query for query in queries if query.text not in known]
    return archive


def plain_queries(scene: Scene, rng: np.random.Generator) -> list[Query]:
    """At least one query for every different event of the video, no two alike."""
    events = {event.event_id: event for event in scene.events}
    extra = int(rng.choice(_PLAIN)) - len(events)
    asked = list(events)
    if extra > 0:
        asked += rng.choice(asked, size=extra, replace=extra > len(asked)).tolist()
    queries: list[Query] = []
    for event_id in asked:
        event = events[event_id]
        windows = tuple((e.start, e.end) for e in occurrences(scene.events, event_id))
        text = plain_sentence(event.kind, event.objects, rng)
        while any(text == query.text for query in queries):
            text = plain_sentence(event.kind, event.objects, rng)
        queries.append(Query(scene.vid, text, event_id, windows))
    return queries


def temporal_queries(scene: Scene, count: int, rng: np.random.Generator) -> list[Query]:
    """`count` queries with a condition, of those first whose condition rules occurrences out."""
    conditions = _conditions(scene.events)
    shuffled = [conditions[i] for i in rng.permutation(len(conditions))]
    shuffled.sort(key=lambda condition: not condition.matters)
    queries = []
    for condition in shuffled[:count]:
        event, other = condition.event, condition.other
        text = conditional_sentence(
            (event.kind, event.objects), condition.relation, (other.kind, other.objects), rng
        )
        name = f"{event.event_id} {condition.relation} {other.event_id}"
        queries.append(Query(scene.vid, text, name, condition.windows))
    return queries


def occurrences(events: Sequence[Event], event_id: str) -> list[Event]:
    """Every time the event happens, in order."""
    return [event for event in events if event.event_id == event_id]


def _conditions(events: Sequence[Event]) -> list[_Condition]:
    """All that can be asked: conditions are events that happen once, so that they are clear."""
    found = []
    for event in {event.event_id: event for event in events}.values():
        times = occurrences(events, event.event_id)
        for other in events:
            if other.event_id == event.event_id or len(occurrences(events, other.event_id)) > 1:
                continue
            for relation in ("after", "before"):
                if relation == "after":
                    fitting = [time for time in times if time.start >= other.end]
                else:
                    fitting = [time for time in times if time.end <= other.start]
                if fitting:
                    windows = tuple((time.start, time.end) for time in fitting)
                    matters = len(fitting) < len(times)
                    found.append(_Condition(event, relation, other, windows, matters))
    return found
