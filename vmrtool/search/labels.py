"""The zero-shot model `labels`: stored features against the names of their backbone's classes.

A snippet is what its most probable classes are: their names' vectors, weighted by probability. The
inner product of such a mean with a query's vector is the mean of the query's likenesses with the
names. So snippets are kept as class weights, which do not depend on how names and queries are
compared, and a query is its likeness with every class.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.errors import ModelError
from vmrtool.features.class_head import ClassHead
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel
from vmrtool.grounding.pooling import LENGTHS, stretches
from vmrtool.search.merging import Candidate
from vmrtool.text.likeness import Likeness

TOP_CLASSES = 5
"""Most probable classes of a snippet that count."""
_MAX_SNIPPETS = 1024  # of a window: what the background of a moment is taken from
_PER_WINDOW = 5
_ENTER, _STAY = 2.0, 1.0  # deviations above the background: at a moment's peak, and inside it
_SHARE = 0.5  # of its peak's height above the background that a moment keeps
_LEAST_DEVIATION = 0.005
_SPREAD = 1.4826  # of a normal distribution: standard deviation / median absolute deviation


@dataclass(frozen=True)
class LabelConfig:
    """What search asks of any model: widths of features and vectors, most snippets and words."""

    video_dim: int
    retrieval_dim: int
    max_snippets: int = _MAX_SNIPPETS
    max_words: int = 1000
    segments: bool = False


@dataclass(frozen=True)
class LabelModel:
    """A class head and the way to compare sentences with its classes; nothing is trained.

    `extractor` says whose features it reads.
    """

    head: ClassHead
    likeness: Likeness
    extractor: ExtractorSpec
    name: str = "labels"
    pooling: tuple[int, ...] = LENGTHS
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> LabelConfig:
        """Its limits."""
        return LabelConfig(self.head.dim, len(self.head.names))

    @property
    def device(self) -> torch.device:
        """The processor: there is little to compute."""
        return torch.device("cpu")

    @property
    def sha256(self) -> str:
        """A text that differs where snippets are weighed differently."""
        digest = hashlib.sha256(f"labels/1 top {TOP_CLASSES} {self.head.exclusive}".encode())
        for part in (self.head.weight, self.head.bias):
            digest.update(part.astype("<f2").tobytes())
        return digest.hexdigest()

    def unknown_words(self, words: Sequence[str]) -> list[str]:
        """The words of a query that say nothing to it, each once, in order."""
        return self.likeness.unknown(words)

    def note(self, query: str) -> str | None:
        """What to say of a query that is far from all classes; None of others."""
        likeness = self.query_vector(query)
        if float(likeness.max()) > self.likeness.far:
            return None
        nearest = self.head.names[int(likeness.argmax())]
        near = f" (the nearest is '{nearest}')" if likeness.max() > 0 else ""
        return (
            f"the query is far from all {len(self.head.names)} classes of model {self.name}{near}: "
            "the ranking means little. Classes are listed by: vmrtool models info labels"
        )

    def query_vector(self, query: str) -> NDArray[np.float32]:
        """How like a query is to each class, float32 (C,) in [0, 1]."""
        return np.clip(self.likeness.of(query), 0.0, 1.0).astype(np.float32)

    def class_weights(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Weights float32 (N, C) of features (N, D): of the most probable classes, 0 elsewhere.

        A row sums to 1 at most: to less where the head is sure of no class.

        Raises:
            ModelError: the features are of another width.
        """
        if features.shape[1] != self.head.dim:
            raise ModelError(
                f"model '{self.name}': features of {features.shape[1]} numbers for a last layer "
                f"of {self.head.dim}",
                remedy="Index the videos again: vmrtool index DIR",
            )
        likely = self.head.probabilities(features)
        count = min(TOP_CLASSES, likely.shape[1])
        best = np.argpartition(-likely, count - 1, axis=1)[:, :count]
        weights = np.zeros_like(likely)
        np.put_along_axis(weights, best, np.take_along_axis(likely, best, 1), 1)
        total: NDArray[np.float32] = np.maximum(1.0, weights.sum(axis=1, keepdims=True))
        return np.asarray(weights / total, np.float32)

    def pool(self, features: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Means (P, C) of a window's class weights over stretches, and these (P, 2)."""
        weights = self.class_weights(features).astype(np.float64)
        spans = stretches(len(features), self.pooling).numpy()
        sums = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(weights, axis=0)])
        lengths = (spans[:, 1] - spans[:, 0] + 1)[:, None]
        means = (sums[spans[:, 1] + 1] - sums[spans[:, 0]]) / lengths
        return means.astype(np.float32), spans.astype(np.int32)

    def ground(
        self,
        features: NDArray[np.floating],
        cells: NDArray[np.float64],
        first: int,
        vector: NDArray[np.float32],
    ) -> list[Candidate]:
        """The moments of a window (features (N, D), cells (N, 2)) for a query's vector (C,).

        A moment begins at the best snippet left, where that stands out from the window's median by
        two robust deviations, and grows while snippets stand out by one, and by half of what the
        best one does. The window's best snippet always begins one, unless nothing of the window is
        like the query. `similarity` and `score` are the moment's mean likeness, `grounding` its
        height above the median over that of the best.
        """
        curve = self.class_weights(features) @ vector
        middle = float(np.median(curve))
        deviation = max(_SPREAD * float(np.median(np.abs(curve - middle))), _LEAST_DEVIATION)
        free = np.ones(len(curve), bool)
        found: list[Candidate] = []
        highest = max(float(curve.max()) - middle, _LEAST_DEVIATION)
        for peak in np.argsort(-curve, kind="stable").tolist():
            height = float(curve[peak]) - middle
            if (found and height < _ENTER * deviation) or len(found) == _PER_WINDOW:
                break
            if curve[peak] <= 0.0:  # nothing here is like the query at all
                break
            if not free[peak]:
                continue
            inside = free & (curve >= middle + max(_STAY * deviation, _SHARE * height))
            inside[peak] = True
            low, high = peak, peak
            while low > 0 and inside[low - 1]:
                low -= 1
            while high < len(curve) - 1 and inside[high + 1]:
                high += 1
            free[low : high + 1] = False
            mean = float(curve[low : high + 1].mean())
            found.append(
                Candidate(
                    first=first + low,
                    last=first + high,
                    start=float(cells[low, 0]),
                    end=float(cells[high, 1]),
                    similarity=mean,
                    grounding=min(max(height, 0.0) / highest, 1.0),
                    presence=None,
                    score=min(max(mean, 0.0), 1.0),
                )
            )
        return found


Model = GroundingModel | LabelModel
"""What a search can ask."""
