import itertools
import re

import numpy as np
import pytest

from vmrtool.demo.queries import occurrences, queries_for_archive
from vmrtool.demo.scenes import COLOURS, KINDS, PAIR_KINDS, plan_video
from vmrtool.demo.sentences import (
    LONGEST,
    NOUNS,
    VERBS,
    conditional_sentence,
    plain_sentence,
)


def pairs(plans, asked):
    for seed, scenes in plans.items():
        yield from zip(scenes, asked[seed], strict=True)


def split(event):
    """An event as queries name it -> (event, relation, condition), the last two "" if plain."""
    parts = re.split(r" (after|before) ", event)
    return tuple(parts) if len(parts) == 3 else (event, "", "")


def test_plain_queries_list_all_occurrences(plans, asked):
    for scene, queries in pairs(plans, asked):
        plain = [query for query in queries if not split(query.event)[1]]
        assert {query.event for query in plain} == {event.event_id for event in scene.events}
        for query in plain:
            expected = [(e.start, e.end) for e in scene.events if e.event_id == query.event]
            assert list(query.windows) == expected


def test_temporal_queries_list_what_qualifies(plans, asked):
    for scene, queries in pairs(plans, asked):
        for query in queries:
            name, relation, condition = split(query.event)
            if not relation:
                continue
            (other,) = [e for e in scene.events if e.event_id == condition]
            expected = [
                (e.start, e.end)
                for e in scene.events
                if e.event_id == name
                and (e.start >= other.end if relation == "after" else e.end <= other.start)
            ]
            assert expected and list(query.windows) == expected


def test_one_query_in_six_is_temporal(plans, asked):
    for lists in asked.values():
        flags = [bool(split(query.event)[1]) for queries in lists for query in queries]
        assert sum(flags) == round((len(flags) - sum(flags)) / 5)
        assert 4 * len(lists) <= len(flags) <= 6.5 * len(lists)


def test_the_condition_nearly_always_matters(plans, asked):
    matters = [
        len(query.windows) < len(occurrences(scene.events, split(query.event)[0]))
        for scene, queries in pairs(plans, asked)
        for query in queries
        if split(query.event)[1]
    ]
    assert np.mean(matters) > 0.9


def test_both_relations_are_asked(asked):
    relations = [split(q.event)[1] for lists in asked.values() for qs in lists for q in qs]
    assert relations.count("after") > 10 and relations.count("before") > 10


def test_a_shorter_archive_is_the_beginning_of_a_longer_one(plans, asked):
    assert queries_for_archive(11, plans[11][:7]) == asked[11][:7]


def test_sentences_are_plain_english(plans, asked):
    for _, queries in pairs(plans, asked):
        texts = [query.text for query in queries]
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert re.fullmatch(r"[a-z]+( [a-z]+)*", text)
            assert 3 <= len(text.split()) <= LONGEST


def test_sentences_name_their_objects(asked):
    words = {word: shape for shape, nouns in NOUNS.items() for word in nouns}
    for query in itertools.chain(*itertools.chain(*asked.values())):
        tokens = query.text.split()
        said = sorted(words[token] for token in tokens if token in words)
        objects = re.findall(rf"({'|'.join(COLOURS)}) (\w+)", query.event)
        assert said == sorted(shape for _, shape in objects)
        assert sorted(t for t in tokens if t in COLOURS) == sorted(c for c, _ in objects)


@pytest.mark.parametrize("kind", KINDS)
def test_at_least_six_phrasings(kind):
    assert len({finite for finite, _ in VERBS[kind]}) >= 6
    rng = np.random.default_rng(0)
    objects = ("red circle", "blue square") if kind in PAIR_KINDS else ("red circle",)
    texts = {plain_sentence(kind, objects, rng) for _ in range(200)}
    assert len(texts) > 60
    if kind in PAIR_KINDS:
        nouns = "|".join(NOUNS["circle"])
        firsts = {bool(re.match(rf".*?\b({nouns})\b.*\bblue\b", text)) for text in texts}
        assert firsts == {True, False}


def test_no_sentence_could_mean_another_kind(plans):
    meanings = {}
    for kind, forms in VERBS.items():
        for form in itertools.chain(*forms):
            assert meanings.setdefault(form, kind) == kind


def test_more_rounds_ask_the_same_videos_in_other_words() -> None:
    scenes = [plan_video(3, index) for index in range(8)]
    once, often = queries_for_archive(3, scenes), queries_for_archive(3, scenes, rounds=3)
    for few, many in zip(once, often, strict=True):
        assert many[: len(few)] == few
        assert len(many) > 2 * len(few)
        assert len({query.text for query in many}) == len(many)
        assert {query.event for query in few} <= {query.event for query in many}


@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_two_pairs_find_a_sentence_that_is_short_enough(kind) -> None:
    event = (kind, ("blue triangle", "red triangle"))
    condition = ("swap", ("blue triangle", "green circle"))
    text = conditional_sentence(event, "after", condition, np.random.default_rng(0))
    assert len(text.split()) <= LONGEST
