import random

from hypothesis import given
from hypothesis import strategies as st

from vmrtool.text.vocabulary import Vocabulary, build_vocabulary


def test_special_words_come_first() -> None:
    vocabulary = Vocabulary(["red", "circle", "red", "<unk>"])
    assert vocabulary.words == ("<pad>", "<unk>", "red", "circle")
    assert len(vocabulary) == 4
    assert "red" in vocabulary and "blue" not in vocabulary


def test_encode_marks_unknown_words_and_cuts_long_queries() -> None:
    vocabulary = Vocabulary(["red", "circle"])
    assert vocabulary.encode(["red", "square", "circle"], 25) == [2, 1, 3]
    assert vocabulary.encode(["red", "red", "circle"], 2) == [2, 2]
    assert vocabulary.unknown(["blue", "red", "big", "blue"]) == ["blue", "big"]


def test_a_sentence_without_words_is_one_unknown_word() -> None:
    assert Vocabulary(["red"]).encode([], 25) == [1]


def test_build_keeps_frequent_words_in_a_fixed_order() -> None:
    sentences = ["red circle moves", "a red square", "Red circle spins"]
    assert build_vocabulary(sentences, min_count=2).words[2:] == ("red", "circle")
    everything = build_vocabulary(sentences)
    assert everything.words[2:] == ("red", "circle", "a", "moves", "spins", "square")
    random.Random(1).shuffle(sentences)
    assert build_vocabulary(sentences) == everything


@given(st.lists(st.text("abc", min_size=1, max_size=3), max_size=20))
def test_every_known_word_comes_back(words: list[str]) -> None:
    vocabulary = Vocabulary(words)
    numbers = vocabulary.encode(words, 100)
    assert [vocabulary.words[n] for n in numbers] == (words or ["<unk>"])
    assert vocabulary.unknown(words) == []
