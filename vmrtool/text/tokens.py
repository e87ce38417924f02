"""Split a sentence into the word forms that public word vectors know."""

import re
import unicodedata

# Contractions are cut as in the Penn Treebank ("doesn't" -> "does", "n't"; "person's" -> "person",
# "'s"), because that is how GloVe's own corpus was cut; hyphens separate words.
_TOKEN = re.compile(r"[^\W_]+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|[^\W_]+")


def tokenize(sentence: str) -> list[str]:
    """Lower-case word tokens of `sentence`, without punctuation; empty if it holds no word."""
    text = unicodedata.normalize("NFKC", sentence).lower().replace("\u2019", "'")
    return _TOKEN.findall(text)
