"""Word stems, roughly: what is left of an English word without its inflection."""

_FUNCTION_WORDS = """
a an the this that these those some any of in on at to into onto from with without by for and or not
is are was were be been being am do does did doing has have had having it its he she they them their
his her him you your i me my we our us there here who which what where when while then than as up so
very someone somebody person people man woman something somewhere 's 're 've 'll 'd 'm n't
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Words that say nothing of what happens, or nothing that tells one name from another."""

_SUFFIXES = ("wards", "ward", "ings", "ing", "ies", "ied", "es", "ed", "s")
_SHORTEST = 3


def stem(word: str) -> str:
    """The stem of a lower-case word: "opens", "opened" and "opening" have that of "open"."""
    for suffix in _SUFFIXES:
        root = word.removesuffix(suffix)
        if root == word or len(root) < _SHORTEST or not any(c in "aeiouy" for c in root):
            continue
        if suffix == "s" and root.endswith("s"):
            continue
        word = root + "y" if suffix in ("ies", "ied") else root
        break
    if len(word) > _SHORTEST and word.endswith("e"):
        word = word[:-1]
    if len(word) > _SHORTEST and word[-1] == word[-2]:
        word = word[:-1]
    return word
