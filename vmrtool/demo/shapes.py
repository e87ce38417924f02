"""Geometry of the demo's shapes: edges, extents and the distance at which two of them touch.

Every shape is convex and centred on the origin. Its `radius` is nominal, in pixels: a circle's
own radius, and for the others the size that makes the areas look alike. Angles are in degrees,
x points right and y points down, as in an image.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 48, 44),
    "green": (52, 176, 74),
    "blue": (48, 98, 232),
    "yellow": (246, 212, 42),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle")

Points = NDArray[np.floating[Any]]

# Direction of the first edge's outward normal at angle 0, number of edges, inradius / radius.
_POLYGONS: dict[str, tuple[float, int, float]] = {
    "square": (0.0, 4, 0.90),
    "triangle": (90.0, 3, 0.64),
}


def signed_distance(shape: str, x: Points, y: Points, radius: float, angle: float) -> Points:
    """How far points lie outside the shape's edge (negative inside), shape as `x` + `y`."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    first, edges, inner = _POLYGONS[shape]
    turns = [math.radians(first + angle + 360.0 * edge / edges) for edge in range(edges)]
    distance = x * math.cos(turns[0]) + y * math.sin(turns[0])
    for turn in turns[1:]:
        np.maximum(distance, x * math.cos(turn) + y * math.sin(turn), out=distance)
    distance -= inner * radius
    return distance


def corners(shape: str, radius: float, angle: float) -> NDArray[np.float64]:
    """Points of the outline, (P, 2): a polygon's corners, or 72 points of a circle."""
    if shape == "circle":
        turns = np.radians(np.arange(72) * 5.0)
        reach = radius
    else:
        first, edges, inner = _POLYGONS[shape]
        turns = np.radians(first + angle + 360.0 * (np.arange(edges) + 0.5) / edges)
        reach = inner * radius / math.cos(math.pi / edges)
    return reach * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def bounding_radius(shape: str, radius: float) -> float:
    """Radius of the circle round the shape at any angle, in pixels."""
    if shape == "circle":
        return radius
    _, edges, inner = _POLYGONS[shape]
    return inner * radius / math.cos(math.pi / edges)


def extent(shape: str, radius: float, angle: float, dx: float, dy: float) -> float:
    """How far the shape reaches from its centre towards the unit direction (dx, dy)."""
    if shape == "circle":
        return radius
    return float((corners(shape, radius, angle) @ np.array([dx, dy])).max())


def contact_distance(
    a: tuple[str, float, float], b: tuple[str, float, float], dx: float, dy: float
) -> float:
    """Distance between the centres of `a` and `b` at which they just touch.

    Each is (shape, radius, angle); `b` lies from `a` in the unit direction (dx, dy).
    """
    points_a, points_b = corners(*a), corners(*b)
    low, high = 0.0, bounding_radius(a[0], a[1]) + bounding_radius(b[0], b[1])
    for _ in range(20):
        middle = (low + high) / 2
        offset = middle * np.array([dx, dy])
        seen_from_b, seen_from_a = points_a - offset, points_b + offset
        gap = min(
            signed_distance(b[0], seen_from_b[:, 0], seen_from_b[:, 1], b[1], b[2]).min(),
            signed_distance(a[0], seen_from_a[:, 0], seen_from_a[:, 1], a[1], a[2]).min(),
        )
        low, high = (low, middle) if gap > 0 else (middle, high)
    return high
