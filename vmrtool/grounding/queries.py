"""Sentences as the network takes them: numbers of words, or states of tokens, padded."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmrtool.grounding.config import GroundingConfig
from vmrtool.text.states import token_states
from vmrtool.text.tokens import tokenize
from vmrtool.text.vocabulary import Vocabulary

Words = NDArray[Any]
"""A query: int64 (L,) of a vocabulary, or float32 (L, W) token states; L is at least 1."""


def query_encoder(config: GroundingConfig, vocabulary: Vocabulary) -> Callable[[str], Words]:
    """What makes words of a sentence, at most `max_words` of them.

    What it returns raises MissingError where the settings' text model is not here.
    """
    reader = config.text_model
    if reader:
        return lambda query: token_states(reader, query, config.max_words)
    return lambda query: np.array(vocabulary.encode(tokenize(query), config.max_words), np.int64)


def pad_words(rows: Sequence[Words], longest: int | None = None) -> tuple[Tensor, Tensor]:
    """Queries as one batch: words (B, L) int64 or (B, L, W) float32, and mask (B, L) bool.

    longest: L; None for the longest row's.
    """
    longest = longest or max(len(row) for row in rows)
    padded = np.zeros((len(rows), longest, *rows[0].shape[1:]), rows[0].dtype)
    mask = np.zeros((len(rows), longest), dtype=bool)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
        mask[number, : len(row)] = True
    return torch.from_numpy(padded), torch.from_numpy(mask)
