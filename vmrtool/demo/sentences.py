"""English for the demo's events: plain sentences, and sentences with a condition in time."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

LONGEST = 22  # words; the shortest sentence of two pairs and a condition has 19
NOUNS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle", "wedge", "pyramid"),
}

# For each kind: what one object does, or two objects do ("they ..."), finite and with -ing.
VERBS: dict[str, tuple[tuple[str, str], ...]] = {
    "moves-left": (
        ("moves left", "moving left"),
        ("goes to the left", "going to the left"),
        ("slides from right to left", "sliding from right to left"),
        ("travels leftwards", "travelling leftwards"),
        ("crosses the screen towards the left", "crossing the screen towards the left"),
        ("enters from the right and exits left", "entering from the right and exiting left"),
        ("passes by heading left", "passing by heading left"),
    ),
    "moves-right": (
        ("moves right", "moving right"),
        ("goes to the right", "going to the right"),
        ("slides from left to right", "sliding from left to right"),
        ("travels rightwards", "travelling rightwards"),
        ("crosses the screen towards the right", "crossing the screen towards the right"),
        ("enters from the left and exits right", "entering from the left and exiting right"),
        ("passes by heading right", "passing by heading right"),
    ),
    "moves-up": (
        ("moves up", "moving up"),
        ("rises from bottom to top", "rising from bottom to top"),
        ("goes upwards", "going upwards"),
        ("climbs up the screen", "climbing up the screen"),
        ("floats up and out of view", "floating up and out of view"),
        ("enters from below and exits at the top", "entering from below and exiting at the top"),
        ("ascends through the picture", "ascending through the picture"),
    ),
    "moves-down": (
        ("moves down", "moving down"),
        ("falls from top to bottom", "falling from top to bottom"),
        ("goes downwards", "going downwards"),
        ("sinks down the screen", "sinking down the screen"),
        ("drops down and out of view", "dropping down and out of view"),
        ("enters from above and exits at the bottom", "entering from above and exiting below"),
        ("descends through the picture", "descending through the picture"),
    ),
    "grows": (
        ("grows", "growing"),
        ("gets bigger", "getting bigger"),
        ("becomes larger", "becoming larger"),
        ("expands", "expanding"),
        ("increases in size", "increasing in size"),
        ("swells up", "swelling up"),
    ),
    "shrinks": (
        ("shrinks", "shrinking"),
        ("gets smaller", "getting smaller"),
        ("becomes tiny", "becoming tiny"),
        ("contracts", "contracting"),
        ("decreases in size", "decreasing in size"),
        ("is reduced in size", "being reduced in size"),
    ),
    "spins": (
        ("spins", "spinning"),
        ("rotates", "rotating"),
        ("turns round and round", "turning round and round"),
        ("whirls on the spot", "whirling on the spot"),
        ("twirls around", "twirling around"),
        ("revolves around its centre", "revolving around its centre"),
    ),
    "bounces": (
        ("bounces", "bouncing"),
        ("hops in place", "hopping in place"),
        ("jumps up and down", "jumping up and down"),
        ("keeps hopping", "hopping again and again"),
        ("bounces on the spot", "bouncing on the spot"),
        ("leaps up several times", "leaping up several times"),
    ),
    "appears": (
        ("appears", "appearing"),
        ("fades in", "fading in"),
        ("shows up out of nothing", "showing up out of nothing"),
        ("slowly becomes visible", "slowly becoming visible"),
        ("comes into being", "coming into being"),
        ("materialises", "materialising"),
    ),
    "vanishes": (
        ("vanishes", "vanishing"),
        ("disappears", "disappearing"),
        ("fades out", "fading out"),
        ("fades away", "fading away"),
        ("slowly becomes invisible", "slowly becoming invisible"),
        ("dissolves into nothing", "dissolving into nothing"),
    ),
    "meet": (
        ("meet", "meeting"),
        ("come together", "coming together"),
        ("approach each other and touch", "approaching each other and touching"),
        ("bump into each other", "bumping into each other"),
        ("move closer until they touch", "moving closer until they touch"),
        ("get into contact", "getting into contact"),
    ),
    "swap": (
        ("swap places", "swapping places"),
        ("trade places", "trading places"),
        ("exchange positions", "exchanging positions"),
        ("switch sides", "switching sides"),
        ("swap sides", "swapping sides"),
        ("change places with each other", "changing places with each other"),
    ),
}

# Two objects with one of them as the subject: what stands between the two.
_BETWEEN: dict[str, tuple[tuple[str, str], ...]] = {
    "meet": (("meets", "meeting"), ("comes up to", "coming up to"), ("joins", "joining")),
    "swap": (
        ("swaps places with", "swapping places with"),
        ("trades sides with", "trading sides with"),
    ),
}

_FINITE = ("{}",) * 4 + ("the moment when {}", "find where {}", "when does it happen that {}")
_ONGOING = ("{}", "there is {}", "show me {}", "a shot of {}", "look for {}")
_LATER = ("after", "at some point after", "once")
_EARLIER = ("before", "at some point before", "some time before")


def plain_sentence(kind: str, objects: Sequence[str], rng: np.random.Generator) -> str:
    """A sentence for the event: `objects` are names such as "red circle", one or two."""
    while True:
        finite = bool(rng.random() < 0.55)
        frame = _pick(_FINITE if finite else _ONGOING, rng)
        sentence = frame.format(_clause(kind, objects, rng, finite))
        if len(sentence.split()) <= LONGEST:
            return sentence


def conditional_sentence(
    event: tuple[str, Sequence[str]],
    relation: str,
    condition: tuple[str, Sequence[str]],
    rng: np.random.Generator,
) -> str:
    """A sentence for `event` "after" or "before" `condition`, each a kind and its objects."""
    while True:
        link = _pick(_LATER if relation == "after" else _EARLIER, rng)
        when = f"{link} {_clause(*condition, rng, finite=True)}"
        if rng.random() < 0.25:
            sentence = f"{when} {_clause(*event, rng, finite=True)}"
        else:
            sentence = f"{plain_sentence(*event, rng)} {when}"
        if len(sentence.split()) <= LONGEST:
            return sentence


def _clause(kind: str, objects: Sequence[str], rng: np.random.Generator, finite: bool) -> str:
    names = [_noun_phrase(objects[i], rng) for i in rng.permutation(len(objects))]
    form = 0 if finite else 1
    if len(names) == 1:
        return f"{names[0]} {_pick(VERBS[kind], rng)[form]}"
    if rng.random() < 0.3:
        return f"{names[0]} {_pick(_BETWEEN[kind], rng)[form]} {names[1]}"
    return f"{names[0]} and {names[1]} {_pick(VERBS[kind], rng)[form]}"


def _noun_phrase(name: str, rng: np.random.Generator) -> str:
    colour, shape = name.split()
    article = "the" if rng.random() < 0.6 else "a"
    noun = shape if rng.random() < 0.5 else _pick(NOUNS[shape], rng)
    return f"{article} {noun} in {colour}" if rng.random() < 0.08 else f"{article} {colour} {noun}"


def _pick(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]
