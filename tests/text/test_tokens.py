import pytest

from vmrtool.text.tokens import tokenize


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("Person pours the ingredients.", ["person", "pours", "the", "ingredients"]),
        ("the person's laptop", ["the", "person", "'s", "laptop"]),
        (
            "they don\u2019t eat, they\u2019re off",
            ["they", "do", "n't", "eat", "they", "'re", "off"],
        ),
        ("a T-shirt; 2 cups", ["a", "t", "shirt", "2", "cups"]),
        ("caf\u00e9 \ufb01lm", ["caf\u00e9", "film"]),  # the ligature is two letters
        ("'quoted' words_joined", ["quoted", "words", "joined"]),
        ("?! --", []),
        ("", []),
    ],
)
def test_tokens(sentence: str, tokens: list[str]) -> None:
    assert tokenize(sentence) == tokens


def test_glove_knows_the_tokens_of_charades(real_data) -> None:
    """The tokens are cut as GloVe's are: 99.96 % or more of Charades-STA's are known to it."""
    with (real_data / "glove" / "glove.840B.300d.subset.txt").open(encoding="utf-8") as lines:
        known = {line.split(" ", 1)[0] for line in lines}
    tokens = []
    for split in ("train", "test"):
        text = (real_data / "charades-sta" / f"charades_sta_{split}.txt").read_text()
        tokens += [t for line in text.splitlines() for t in tokenize(line.split("##")[1])]
    assert len(tokens) > 100_000
    assert sum(token in known for token in tokens) / len(tokens) >= 0.9996
