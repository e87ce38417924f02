"""Plans of the demo's videos: who is on stage, what happens when, and at which frames.

`plan_video(seed, index)` is pure: the same numbers give the same `Scene` on every machine. A
scene holds all that rendering and query writing need; no pixel is drawn here.
"""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vmrtool.demo.shapes import COLOURS, SHAPES
from vmrtool.demo.stage import HEIGHT, KINDS, PAIR_KINDS, WIDTH, Player, Stage

__all__ = [
    "COLOURS", "HEIGHT", "KINDS", "PAIR_KINDS", "RATES", "SHAPES", "WIDTH",
    "Actor", "Background", "Event", "Scene", "labels_at", "plan_video",
]  # fmt: skip

RATES: tuple[Fraction, ...] = (
    Fraction(15), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(30),
)  # fmt: skip
SHORTEST_S, LONGEST_S = 20.0, 90.0
SHORTEST_EVENT_S, LONGEST_EVENT_S = 2.0, 8.0
_SNAP_S = 0.1  # an event's ends are moved to frames: its length may change by this much
_ATTEMPTS = 500

# How often each kind is tried: more for those that the stage often refuses, so that about as many
# of each kind are played in the end.
_WEIGHTS = dict.fromkeys(KINDS, 0.8) | {
    "grows": 12.0, "shrinks": 2.0, "bounces": 0.7, "appears": 3.0, "vanishes": 2.5,
    "meet": 12.0, "swap": 5.0, "spins": 1.2,
}  # fmt: skip
_REPEATABLE = {"moves-left", "moves-right", "moves-up", "moves-down", "spins", "bounces", "swap"}


@dataclass(frozen=True)
class Background:
    """A textured backdrop: which texture, its two colours, and where it drifts (px/s)."""

    texture: int
    dark: tuple[int, int, int]
    light: tuple[int, int, int]
    origin: tuple[float, float]
    velocity: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Actor:
    """One object: its looks and its key frames.

    `times` (K,) in seconds, ascending; `states` (K, 5): x, y, radius in pixels of the 320x240
    frame, angle in degrees, opacity 0..1. Between key frames states change linearly.
    """

    colour: str
    shape: str
    rgb: tuple[int, int, int]
    times: NDArray[np.float64]
    states: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The object as event ids call it: "red circle"."""
        return f"{self.colour} {self.shape}"

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The states at `times` (T,) in seconds -> (T, 5)."""
        return np.stack([np.interp(times, self.times, column) for column in self.states.T], axis=1)


@dataclass(frozen=True)
class Event:
    """Something that happens between `start` and `end` (seconds) to one object or to two."""

    kind: str
    objects: tuple[str, ...]
    start: float
    end: float

    @property
    def event_id(self) -> str:
        """Canonical name: "red circle moves-left", "blue square + red circle meet"."""
        return f"{' + '.join(sorted(self.objects))} {self.kind}"


@dataclass(frozen=True, eq=False)
class Scene:
    """The plan of one video.

    `pts` (F,) are the frames' timestamps in units of `time_base` seconds, from 0; the video ends
    at `end_pts`. `rate` is the frame rate, or None where the timestamps are irregular.
    """

    vid: str
    rate: Fraction | None
    time_base: Fraction
    pts: NDArray[np.int64]
    end_pts: int
    background: Background
    actors: tuple[Actor, ...]
    events: tuple[Event, ...]

    @property
    def duration_s(self) -> float:
        """Length of the video in seconds."""
        return float(self.end_pts * self.time_base)

    @cached_property
    def frame_times(self) -> NDArray[np.float64]:
        """When each frame is shown first, (F,) in seconds."""
        return _seconds(self.pts, self.time_base)


def labels_at(scene: Scene, start_s: float, end_s: float) -> list[tuple[str, str, str, float]]:
    """What happens in a stretch of time: (kind, colour, shape, share) for each event and object.

    `share` is the part of [start_s, end_s] that the event covers, in (0, 1].
    """
    labels = []
    for event in scene.events:
        overlap = min(end_s, event.end) - max(start_s, event.start)
        if overlap > 0:
            for name in event.objects:
                colour, shape = name.split()
                labels.append((event.kind, colour, shape, overlap / (end_s - start_s)))
    return labels


def plan_video(seed: int, index: int) -> Scene:
    """Plan video number `index` of the archive with this seed."""
    rng = np.random.default_rng([seed, index])
    count = int(rng.choice([3, 4, 5, 6], p=[0.2, 0.3, 0.3, 0.2]))
    shortest, longest = SHORTEST_EVENT_S + _SNAP_S, LONGEST_EVENT_S - _SNAP_S
    # One length from each of `count` equal parts of the log-uniform range keeps the median steady.
    quantiles = (rng.permutation(count) + rng.random(count)) / count
    lengths = shortest * (longest / shortest) ** quantiles
    idle = 1.0 + _SNAP_S + rng.exponential(math.exp(rng.uniform(0.6, 2.0)), size=count + 1)
    total = float(lengths.sum() + idle.sum())
    if total < SHORTEST_S + 0.5:
        idle += (SHORTEST_S + 0.5 - total) * idle / idle.sum()
    elif total > LONGEST_S - 0.5:
        spare = idle - 1.0 - _SNAP_S
        idle -= (total - LONGEST_S + 0.5) * spare / spare.sum()
    rate, time_base, pts, end_pts = _frame_grid(rng, index, float(lengths.sum() + idle.sum()))
    frame_times = _seconds(pts, time_base)
    starts = np.cumsum(idle[:-1]) + np.concatenate([[0.0], np.cumsum(lengths[:-1])])
    slots = [
        (_nearest(frame_times, start), _nearest(frame_times, start + length))
        for start, length in zip(starts, lengths, strict=True)
    ]
    duration = float(end_pts * time_base)
    background = _background(rng)
    for attempt in range(_ATTEMPTS):
        drama = _try_plan(np.random.default_rng([seed, index, 1 + attempt]), slots, duration)
        if drama is not None:
            actors, events = drama
            vid = f"blocks-s{seed}-{index:03d}"
            return Scene(vid, rate, time_base, pts, end_pts, background, actors, events)
    raise AssertionError(f"no plan found for video {index} of seed {seed}")


def _seconds(pts: NDArray[np.int64], time_base: Fraction) -> NDArray[np.float64]:
    return pts.astype(np.float64) * time_base.numerator / time_base.denominator


def _nearest(frame_times: NDArray[np.float64], time: float) -> float:
    return float(frame_times[np.abs(frame_times - time).argmin()])


def _frame_grid(
    rng: np.random.Generator, index: int, duration: float
) -> tuple[Fraction | None, Fraction, NDArray[np.int64], int]:
    """Frame rate (None: variable), time base, timestamps (F,) and end of the video."""
    rate = RATES[int(rng.integers(len(RATES)))]
    if index % 10 != 7:
        frames = round(duration * rate)
        return rate, 1 / rate, np.arange(frames, dtype=np.int64), frames
    # Milliseconds; the pace wanders between about 12 and 30 frames a second, each step jitters.
    steps = int(duration * 30)
    pace = 0.055 + 0.022 * np.sin(np.arange(steps) / rng.uniform(15, 40) + rng.uniform(0, 6))
    ticks = np.round(1000 * pace * rng.uniform(0.75, 1.25, size=steps)).astype(np.int64)
    ends = np.cumsum(ticks)
    frames = int(np.searchsorted(ends, round(duration * 1000))) + 1
    return None, Fraction(1, 1000), ends[:frames] - ticks[:frames], int(ends[frames - 1])


def _background(rng: np.random.Generator) -> Background:
    """Muted colours, so that every shape stands out, and a drift of 2 to 7 px/s."""
    tint = rng.uniform(-16, 16, size=3)
    level = rng.uniform(70, 165)
    contrast = rng.uniform(22, 38)
    dark = tuple(int(c) for c in np.clip(level + tint - contrast, 25, 230))
    light = tuple(int(c) for c in np.clip(level + 0.6 * tint + contrast, 25, 230))
    speed, heading = rng.uniform(2, 7), rng.uniform(0, 2 * math.pi)
    return Background(
        int(rng.integers(1 << 16)),
        (dark[0], dark[1], dark[2]),
        (light[0], light[1], light[2]),
        (float(rng.uniform(0, 512)), float(rng.uniform(0, 512))),
        (speed * math.cos(heading), speed * math.sin(heading)),
    )


def _try_plan(
    rng: np.random.Generator, slots: list[tuple[float, float]], duration: float
) -> tuple[tuple[Actor, ...], tuple[Event, ...]] | None:
    """One attempt at filling the slots; None where it breaks one of the archive's rules."""
    acting, others = _draw_cast(rng)
    stage = Stage([*others, *acting], rng)
    if not stage.open():
        return None
    # One event comes twice, with another in between that a query can name as its condition.
    first = int(rng.integers(len(slots) - 2))
    again = int(rng.integers(first + 2, len(slots)))
    events: list[Event] = []
    played: list[tuple[str, tuple[Player, ...]]] = []
    for slot, (start, end) in enumerate(slots):
        stage.idle_until(start)
        if slot == again:
            choices = [played[first]]
        else:
            choices = _choices(rng, acting, repeatable=slot == first and rng.random() < 0.7)
        for kind, cast in choices:
            if slot != again and (kind, cast) in played:
                continue
            if stage.perform(kind, cast, start, end):
                break
        else:
            return None
        played.append((kind, cast))
        events.append(Event(kind, tuple(sorted(p.name for p in cast)), start, end))
        stage.idle_until(end, busy=cast)
    stage.idle_until(duration)
    if not all(has_confuser(event, events) for event in events):
        return None
    return tuple(_actor(player, rng) for player in stage.players), tuple(events)


def has_confuser(event: Event, events: list[Event] | tuple[Event, ...]) -> bool:
    """Whether another object of the same colour or shape does something else in the video."""
    traits = {trait for name in event.objects for trait in name.split()}
    return any(
        other.kind != event.kind
        and any(
            name not in event.objects and traits.intersection(name.split())
            for name in other.objects
        )
        for other in events
    )


def _draw_cast(rng: np.random.Generator) -> tuple[list[Player], list[Player]]:
    """Three or four who act, each like another in colour or shape, and one to three who do not."""
    looks = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    chosen = [looks.pop(int(rng.integers(len(looks))))]
    for _ in range(int(rng.integers(2, 4))):
        alike = [look for look in looks if any(set(look) & set(other) for other in chosen)]
        chosen.append(alike[int(rng.integers(len(alike)))])
        looks.remove(chosen[-1])
    acting = [_player(rng, *look, on_stage=rng.random() < 0.7) for look in chosen]
    others = []
    for _ in range(int(rng.integers(1, 4))):
        look = looks.pop(int(rng.integers(len(looks))))
        others.append(_player(rng, *look, on_stage=True))
    return acting, others


def _player(rng: np.random.Generator, colour: str, shape: str, on_stage: bool) -> Player:
    radius = float(rng.uniform(22, 34))
    return Player(colour, shape, radius, drifts=bool(rng.random() < 0.6), on_stage=on_stage)


def _choices(
    rng: np.random.Generator, acting: list[Player], repeatable: bool
) -> list[tuple[str, tuple[Player, ...]]]:
    """Every kind with every cast, in random order, kinds first."""
    weights = np.array([_WEIGHTS[k] for k in KINDS])
    if repeatable:
        weights = weights * [1.0 if k in _REPEATABLE else 0.01 for k in KINDS]
    kinds = rng.choice(KINDS, size=len(KINDS), replace=False, p=weights / weights.sum())
    choices = []
    for kind in kinds.tolist():
        casts = list(itertools.combinations(acting, 2 if kind in PAIR_KINDS else 1))
        choices += [(kind, casts[i]) for i in rng.permutation(len(casts))]
    return choices


def _actor(player: Player, rng: np.random.Generator) -> Actor:
    keys = np.array(player.keys)
    shade = np.clip(np.array(COLOURS[player.colour]) + rng.uniform(-14, 14, size=3), 0, 255)
    rgb = (int(shade[0]), int(shade[1]), int(shade[2]))
    return Actor(player.colour, player.shape, rgb, keys[:, 0], keys[:, 1:])
