"""Which stretch of a video a training example shows, and how its features are varied."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Augmentation:
    """How training examples are varied; all zero leaves them as they are.

    Attributes:
        crop: share of examples that show a random stretch of the window instead of all of it.
        crop_shortest: shortest such stretch, as a share of the window.
        snippet_dropout: share of snippets whose features are replaced by the window's mean.
        noise: standard deviation of gaussian noise, in standard deviations of the features.
    """

    crop: float = 0.0
    crop_shortest: float = 0.5
    snippet_dropout: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Example:
    """A window of a video with a query: what one row of a batch is made from."""

    sample: int
    video: int
    first: int
    n: int
    matched: bool


def choose_window(
    n_snippets: int,
    spans: list[tuple[int, int]],
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[int, int]:
    """A stretch of at most `size` snippets around one of the spans, chosen at random.

    Args:
        n_snippets: length of the video.
        spans: first and last snippet of moments, one of which the stretch is to hold whole (or
            fill with, where it is longer than `size`). Empty: any stretch will do.
        size: longest stretch.
        augmentation: says how often the stretch is shorter than it could be.
        rng: decides.

    Returns:
        First snippet and number of snippets.
    """
    n = min(size, n_snippets)
    low, high = spans[rng.integers(len(spans))] if spans else (0, 0)
    held = high - low + 1 if spans else 1
    if augmentation.crop > 0 and rng.random() < augmentation.crop:
        shortest = min(n, max(held, int(np.ceil(augmentation.crop_shortest * n))))
        n = int(rng.integers(shortest, n + 1))
    if not spans:
        return int(rng.integers(0, n_snippets - n + 1)), n
    if held >= n:
        return int(rng.integers(low, high - n + 2)), n
    first = rng.integers(max(0, high - n + 1), min(low, n_snippets - n) + 1)
    return int(first), n


def spans_within(
    spans: list[tuple[int, int]], first: int, n: int
) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
    """The spans as a window of `n` snippets from `first` shows them.

    Returns:
        The spans that lie whole inside, counted from the window's first snippet; where none
        does, those parts of spans that fill the window. And (n,) bool: the snippets of the
        window that lie in any span, wholly shown or not.
    """
    inside = np.zeros(n, dtype=bool)
    whole, filling = [], []
    for low, high in spans:
        low, high = low - first, high - first
        if high < 0 or low >= n:
            continue
        inside[max(0, low) : high + 1] = True
        if low >= 0 and high < n:
            whole.append((low, high))
        elif low <= 0 and high >= n - 1:
            filling.append((0, n - 1))
    return whole or filling, inside


def vary_features(
    features: NDArray[np.float32], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The features (n, dim) with some snippets dropped and noise added, as the settings say."""
    if augmentation.noise > 0:
        scale = augmentation.noise * float(features.std())
        features = features + scale * rng.standard_normal(features.shape, dtype=np.float32)
    if augmentation.snippet_dropout > 0:
        kept = rng.random(len(features)) >= augmentation.snippet_dropout
        features = np.where(kept[:, None], features, features.mean(axis=0))
    return features
