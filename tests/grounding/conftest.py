"""Small networks and batches that the tests of the grounding room share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.losses import Targets
from vmrtool.grounding.network import GroundingNetwork

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def make_network() -> Callable[..., GroundingNetwork]:
    """A network of 24-d features, 12 words and D = 16; settings by keyword."""

    def make(**settings: Any) -> GroundingNetwork:
        small = {"video_dim": 24, "vocabulary_size": 12, "dim": 16, "word_dim": 10}
        small |= {"max_snippets": 20, "retrieval_dim": 6}
        return GroundingNetwork(GroundingConfig(**(small | settings)))

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Random (features, mask, words, word_mask) of given lengths, padded with junk."""

    def make(
        snippets: list[int], words: list[int], pad_to: tuple[int, int] = (0, 0), seed: int = 1
    ) -> Batch:
        draw = torch.Generator().manual_seed(seed)
        n, length = max(pad_to[0], *snippets), max(pad_to[1], *words)
        features = torch.full((len(snippets), n, 24), 7.0)
        numbers = torch.full((len(words), length), 3)
        for row, count in enumerate(snippets):
            features[row, :count] = torch.randn(count, 24, generator=draw)
        for row, count in enumerate(words):
            numbers[row, :count] = torch.randint(1, 12, (count,), generator=draw)
        mask = torch.arange(n) < torch.tensor(snippets)[:, None]
        return features, mask, numbers, torch.arange(length) < torch.tensor(words)[:, None]

    return make


@pytest.fixture
def make_targets() -> Callable[[list[list[tuple[int, int]]], int], Targets]:
    """Targets from each row's true moments, (first, last) snippets inside."""

    def make(rows: list[list[tuple[int, int]]], n_snippets: int) -> Targets:
        most = max(1, *(len(row) for row in rows))
        moments = torch.zeros(len(rows), most, 2, dtype=torch.int64)
        mask = torch.zeros(len(rows), most, dtype=torch.bool)
        segment = torch.zeros(len(rows), n_snippets)
        for b, row in enumerate(rows):
            for m, (first, last) in enumerate(row):
                moments[b, m] = torch.tensor((first, last))
                mask[b, m] = True
                segment[b, first : last + 1] = 1.0
        return Targets(moments, mask, segment)

    return make
