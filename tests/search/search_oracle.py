"""A network that sees what it is told: features in which events are marked, and no weights.

Feature k of a snippet is 1 where event k happens. The query "event k" (word `ek`) is answered as
an ideal network would within one window: the spans where feature k is on, cut at its borders.
"""

from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional as F

from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel
from vmrtool.grounding.network import EncodedQuery, EncodedVideo, GroundingOutput, PreparedQuery
from vmrtool.grounding.pooling import LENGTHS, stretch_means
from vmrtool.grounding.ranking import RankingWeights
from vmrtool.text.vocabulary import Vocabulary

EVENTS = 6
SECONDS = 0.5  # a snippet's cell


class OracleNetwork:
    """Stands where a GroundingNetwork stands."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(
            max_snippets=128, max_words=8, vocabulary_size=EVENTS + 2,
            decoding="product", decoding_segment=0.0, text_model=None,
        )  # fmt: skip
        self.feature_mean = torch.zeros(EVENTS + 1)
        self.retrieval = self

    def encode_video(self, features, mask):
        return EncodedVideo(features, features, mask)

    def keep(self, video):
        return video.content

    def kept(self, values, mask):
        return EncodedVideo(values, values, mask)

    def encode_query(self, words, mask):
        wanted = F.one_hot(words, EVENTS + 2)[:, :, 1:].float() * mask[:, :, None]
        return EncodedQuery(wanted, wanted, wanted, mask)

    def query_vector(self, q_hat, mask):
        return F.normalize(q_hat.sum(dim=1)[:, : EVENTS + 1], dim=-1)

    def stretch_vectors(self, content, mask, spans):
        return F.normalize(stretch_means(content, mask, spans), dim=-1)

    def prepare(self, query):
        return PreparedQuery(query, ())

    def ground(self, video, prepared):
        wanted = prepared.query.q_hat.sum(dim=1)[:, None, : EVENTS + 1]
        inside = ((video.content * wanted).sum(dim=-1) > 0.5) & video.mask
        before = F.pad(inside, (1, 0))[:, :-1]
        after = F.pad(inside, (0, 1))[:, 1:]
        return GroundingOutput(
            start_logits=(inside & ~before) * 12.0,
            end_logits=(inside & ~after) * 12.0,
            segment_logits=inside * 12.0 - 6.0,
            mask=video.mask,
        )


def oracle_model() -> GroundingModel:
    return GroundingModel(
        network=OracleNetwork(),  # type: ignore[arg-type]
        vocabulary=Vocabulary(f"e{k}" for k in range(EVENTS)),
        extractor=ExtractorSpec("oracle"),
        ranking=RankingWeights(),
        pooling=LENGTHS,
    )


def marked_video(n: int, *events: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Features and cells of `n` snippets, event k on from first to last for each (k, first, last).

    The feature before the events' is on everywhere: what all videos have in common.
    """
    features = np.zeros((n, EVENTS + 1), np.float16)
    features[:, 0] = 0.4
    for k, first, last in events:
        features[first : last + 1, k + 1] = 1.0
    edges = np.arange(n + 1) * SECONDS
    return features, np.stack([edges[:-1], edges[1:]], axis=1)


def seconds(first: int, last: int) -> tuple[float, float]:
    """Where the snippets from `first` to `last` start and end."""
    return first * SECONDS, (last + 1) * SECONDS
