"""The words a model knows, and their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence

from vmrtool.text.tokens import tokenize

PAD = "<pad>"
UNK = "<unk>"


class Vocabulary:
    """A fixed, ordered set of words: `<pad>` is 0, `<unk>` is 1, the words follow from 2 on."""

    pad = 0
    unk = 1

    def __init__(self, words: Iterable[str]) -> None:
        """Number `words` in the order given; repeats and the two special words are left out."""
        ordered = dict.fromkeys(word for word in words if word not in (PAD, UNK))
        self.words: tuple[str, ...] = (PAD, UNK, *ordered)
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        """Number of words, the two special ones counted."""
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        """Whether `word` has a number of its own."""
        return word in self._numbers

    def __eq__(self, other: object) -> bool:
        """Equal when the same words have the same numbers."""
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        """Of the words."""
        return hash(self.words)

    def encode(self, tokens: Sequence[str], max_words: int) -> list[int]:
        """Numbers of the first `max_words` tokens.

        Unknown words become `<unk>`. A sentence without any word becomes one `<unk>`, so that
        every query has a real word for attention to rest on.
        """
        return [self._numbers.get(token, self.unk) for token in tokens[:max_words]] or [self.unk]

    def unknown(self, tokens: Iterable[str]) -> list[str]:
        """The tokens this vocabulary does not hold, each once, in order."""
        return list(dict.fromkeys(token for token in tokens if token not in self._numbers))


def build_vocabulary(sentences: Iterable[str], min_count: int = 1) -> Vocabulary:
    """The words that `sentences` use at least `min_count` times, most frequent first.

    Words of equal count are in alphabetical order, so the same sentences in any order give the
    same vocabulary.
    """
    counts = Counter(token for sentence in sentences for token in tokenize(sentence))
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    return Vocabulary(word for _, word in kept)
