"""The stage: where every object is, and how each kind of event moves it on.

A `Player` carries the present state of one object and the key frames of its past; `Stage.perform`
plays one event if the stage allows it and refuses, changing nothing, if it does not. So objects
are never in two places: what enters was away, what grows was there, what has met stays met.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vmrtool.demo.shapes import bounding_radius, contact_distance, extent

WIDTH, HEIGHT = 320, 240
KINDS: tuple[str, ...] = (
    "moves-left", "moves-right", "moves-up", "moves-down", "grows", "shrinks", "spins", "bounces",
    "appears", "vanishes", "meet", "swap",
)  # fmt: skip
PAIR_KINDS: tuple[str, ...] = ("meet", "swap")

_DIRECTIONS = {
    "moves-left": (-1, 0), "moves-right": (1, 0), "moves-up": (0, -1), "moves-down": (0, 1),
}  # fmt: skip
_INSTANT = 1e-6  # seconds between two key frames that stand for a jump
_LARGEST, _SMALLEST = 64.0, 11.0  # radii, in pixels

# A key frame: time in seconds, x, y, radius in pixels, angle in degrees, opacity 0..1.
Key = tuple[float, float, float, float, float, float]


@dataclass
class Player:
    """One object on or off the stage: its looks, its present state and its key frames so far."""

    colour: str
    shape: str
    radius: float
    drifts: bool
    on_stage: bool = False
    x: float = -2.0 * WIDTH
    y: float = -2.0 * HEIGHT
    angle: float = 0.0
    home: tuple[float, float] = (0.0, 0.0)
    keys: list[Key] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The object as queries call it: "red circle"."""
        return f"{self.colour} {self.shape}"

    @property
    def bound(self) -> float:
        """Radius of the circle round the object, in pixels."""
        return bounding_radius(self.shape, self.radius)

    @property
    def outline(self) -> tuple[str, float, float]:
        """What `contact_distance` wants to know."""
        return self.shape, self.radius, self.angle

    def mark(self, time: float, opacity: float | None = None) -> None:
        """Add a key frame with the present state at `time`."""
        if opacity is None:
            opacity = 1.0 if self.on_stage else 0.0
        self.keys.append((time, self.x, self.y, self.radius, self.angle, opacity))

    def jump(self, time: float) -> None:
        """Let the present state end just before `time`, where an unseen change takes place."""
        if self.keys[-1][0] > time - _INSTANT:
            self.keys.pop()
        self.mark(time - _INSTANT)

    def settle(self) -> None:
        """Make the present position the one that idle drifting stays near."""
        self.home = (self.x, self.y)


class Stage:
    """All players of one video, moved on through its events in order of time."""

    def __init__(self, players: Sequence[Player], rng: np.random.Generator) -> None:
        """Begin with players whose `on_stage` says whether they are there from the start."""
        self.players = list(players)
        self.rng = rng

    def open(self) -> bool:
        """Place those who are on stage from the beginning; False if there is no room."""
        for player in self.players:
            if player.on_stage:
                player.on_stage = False
                if not self._place(player):
                    return False
                player.on_stage = True
            player.mark(0.0)
        return True

    def idle_until(self, time: float, busy: Sequence[Player] = ()) -> None:
        """Let everybody but the `busy` stand or drift (< 4 px/s, near home) up to `time`."""
        for player in self.players:
            if player in busy:
                continue
            if player.on_stage and player.drifts:
                self._drift(player, time)
            player.mark(time)

    def perform(self, kind: str, cast: Sequence[Player], start: float, end: float) -> bool:
        """Play one event between two times in seconds, or refuse and change nothing."""
        first = cast[0]
        if kind in _DIRECTIONS:
            return self._move(first, *_DIRECTIONS[kind], start, end)
        if kind == "appears":
            return self._appear(first, start, end)
        if not all(player.on_stage for player in cast):
            return False
        if kind == "vanishes":
            first.mark(start)
            first.on_stage = False
            first.mark(end)
            return True
        if kind == "grows":
            return self._resize(first, self.rng.uniform(1.9, 2.2), start, end)
        if kind == "shrinks":
            return self._resize(first, self.rng.uniform(0.4, 0.5), start, end)
        if kind == "spins":
            return self._spin(first, start, end)
        if kind == "bounces":
            return self._bounce(first, start, end)
        return (self._meet if kind == "meet" else self._swap)(cast[0], cast[1], start, end)

    def _drift(self, player: Player, until: float) -> None:
        time = player.keys[-1][0]
        while time < until:
            goal = np.clip(
                np.array(player.home) + self.rng.uniform(-9, 9, size=2),
                player.bound,
                [WIDTH - player.bound, HEIGHT - player.bound],
            )
            path = goal - (player.x, player.y)
            distance = float(np.hypot(*path))
            arrival = time + max(distance, 0.5) / self.rng.uniform(1.2, 3.4)
            share = min(1.0, (until - time) / (arrival - time))
            player.x += float(path[0]) * share
            player.y += float(path[1]) * share
            time = min(arrival, until)
            if time < until:
                player.mark(time)

    def _gap(self, player: Player, x: float, y: float, but: Sequence[Player] = ()) -> float:
        """Free pixels between the player, were it at (x, y), and the nearest other on stage."""
        return min(
            (
                math.hypot(x - other.x, y - other.y) - player.bound - other.bound
                for other in self.players
                if other.on_stage and other is not player and other not in but
            ),
            default=math.inf,
        )

    def _place(self, player: Player) -> bool:
        """Put the player on a free spot; False if 40 tries find none."""
        margin = player.bound + 4
        for x, y in self.rng.uniform(
            [margin, margin], [WIDTH - margin, HEIGHT - margin], size=(40, 2)
        ):
            if self._gap(player, x, y) >= 10:
                player.x, player.y = float(x), float(y)
                player.settle()
                return True
        return False

    def _move(self, player: Player, dx: int, dy: int, start: float, end: float) -> bool:
        """Enter at one edge, cross, and leave at the other: in sight exactly from start to end."""
        if player.on_stage:
            return False
        across = HEIGHT if dx else WIDTH
        lanes = self.rng.uniform(player.bound + 2, across - player.bound - 2, size=12)
        gaps = [self._lane_gap(player, lane, bool(dx)) for lane in lanes]
        lane = float(lanes[int(np.argmax(np.minimum(gaps, 4.0)))])
        ahead = extent(player.shape, player.radius, player.angle, dx, dy)
        behind = extent(player.shape, player.radius, player.angle, -dx, -dy)
        length = WIDTH if dx else HEIGHT
        entry, leaving = (-ahead, length + behind) if dx + dy > 0 else (length + ahead, -behind)
        player.jump(start)
        player.on_stage = True
        player.x, player.y = (entry, lane) if dx else (lane, entry)
        player.mark(start)
        player.x, player.y = (leaving, lane) if dx else (lane, leaving)
        player.mark(end)
        player.on_stage = False
        player.mark(end + _INSTANT)
        return True

    def _lane_gap(self, player: Player, lane: float, horizontal: bool) -> float:
        return min(
            (
                abs(lane - (other.y if horizontal else other.x)) - player.bound - other.bound
                for other in self.players
                if other.on_stage
            ),
            default=math.inf,
        )

    def _appear(self, player: Player, start: float, end: float) -> bool:
        before = (player.x, player.y)
        if player.on_stage or not self._place(player):
            return False
        there = (player.x, player.y)
        player.x, player.y = before
        player.jump(start)
        player.x, player.y = there
        player.mark(start)
        player.on_stage = True
        player.mark(end)
        return True

    def _resize(self, player: Player, factor: float, start: float, end: float) -> bool:
        radius = player.radius * factor
        if not _SMALLEST <= radius <= _LARGEST:
            return False
        if factor > 1:
            reach = bounding_radius(player.shape, radius) - 6
            inside = reach <= player.x <= WIDTH - reach and reach <= player.y <= HEIGHT - reach
            crowded = self._gap(player, player.x, player.y) < reach - player.bound
            if crowded or not inside:
                return False
        player.mark(start)
        player.radius = radius
        player.mark(end)
        return True

    def _spin(self, player: Player, start: float, end: float) -> bool:
        if player.shape == "circle" or self._gap(player, player.x, player.y) < -4:
            return False
        player.mark(start)
        turns = self.rng.uniform(0.5, 1.0) * (end - start) * self.rng.choice([-1, 1])
        player.angle += 360.0 * float(turns)
        player.mark(end)
        return True

    def _bounce(self, player: Player, start: float, end: float) -> bool:
        """Several hops in place, each a parabola."""
        room = player.y - player.bound - 2
        if room < 30:
            return False
        height = float(min(self.rng.uniform(34, 60), room))
        hops = max(2, round((end - start) / self.rng.uniform(0.7, 1.1)))
        ground = player.y
        for step in range(12 * hops + 1):
            phase = (step % 12) / 12
            player.y = ground - 4 * height * phase * (1 - phase)
            player.mark(start + (end - start) * step / (12 * hops))
        player.y = ground
        return True

    def _meet(self, a: Player, b: Player, start: float, end: float) -> bool:
        """Both approach along the line between them until they touch, and stay there."""
        distance = math.hypot(b.x - a.x, b.y - a.y)
        dx, dy = (b.x - a.x) / distance, (b.y - a.y) / distance
        closing = distance - contact_distance(a.outline, b.outline, dx, dy)
        if closing < 60:
            return False
        share = float(self.rng.uniform(0.35, 0.65))
        goal_a = (a.x + dx * closing * share, a.y + dy * closing * share)
        goal_b = (b.x - dx * closing * (1 - share), b.y - dy * closing * (1 - share))
        if min(self._gap(a, *goal_a, but=(b,)), self._gap(b, *goal_b, but=(a,))) < 0:
            return False
        for player, goal in ((a, goal_a), (b, goal_b)):
            player.mark(start)
            player.x, player.y = goal
            player.mark(end)
            player.settle()
            player.drifts = False
        return True

    def _swap(self, a: Player, b: Player, start: float, end: float) -> bool:
        """Two that stand left and right of each other change places on opposite arcs."""
        across, down = b.x - a.x, b.y - a.y
        if abs(across) < 80 or abs(down) > 0.8 * abs(across):
            return False
        distance = math.hypot(across, down)
        side = (-down / distance, across / distance)
        bulge = float(self.rng.choice([-1, 1])) * ((a.bound + b.bound) / 2 + 3)
        steps = np.linspace(0, 1, 25)
        paths = []
        for player, sign in ((a, 1), (b, -1)):
            rise = sign * bulge * np.sin(np.pi * steps)
            path_x = player.x + sign * across * steps + side[0] * rise
            path_y = player.y + sign * down * steps + side[1] * rise
            reach = player.bound - 3
            if path_y.min() < reach or path_y.max() > HEIGHT - reach:
                return False
            if path_x.min() < reach or path_x.max() > WIDTH - reach:
                return False
            if self._gap(player, float(path_x[-1]), float(path_y[-1]), but=(a, b)) < -4:
                return False
            paths.append((path_x, path_y))
        for player, (path_x, path_y) in zip((a, b), paths, strict=True):
            for step, x, y in zip(steps, path_x, path_y, strict=True):
                player.x, player.y = float(x), float(y)
                player.mark(start + (end - start) * float(step))
            player.settle()
        return True
