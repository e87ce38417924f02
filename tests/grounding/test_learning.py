"""The network learns a toy grounding problem within seconds, and what is cut off cannot."""

import pytest
import torch
from torch import Tensor

from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.decoding import decode_spans
from vmrtool.grounding.losses import Targets, contrastive_loss, grounding_loss
from vmrtool.grounding.network import GroundingNetwork

EVENTS, N, WIDTH = 6, 12, 16


def toy(batch: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Targets]:
    """Videos of two different events on noise, and a query for one of them,
    which is its word between two that mean nothing.

    Where the asked event lies, first or second, is a coin's toss: without the word, or without
    the video, at most half can be found.
    """
    prototypes = torch.randn(EVENTS, WIDTH, generator=torch.Generator().manual_seed(99))
    features = 0.3 * torch.randn(batch, N, WIDTH, generator=draw)
    words = torch.randint(2 + EVENTS, 6 + EVENTS, (batch, 3), generator=draw)  # says nothing
    moments = torch.zeros(batch, 1, 2, dtype=torch.int64)
    segment = torch.zeros(batch, N)
    for b in range(batch):
        events = torch.randperm(EVENTS, generator=draw)[:2].tolist()
        spans = []
        for half, event in enumerate(events):
            length = int(torch.randint(2, 5, (1,), generator=draw))
            first = half * (N // 2) + int(
                torch.randint(0, N // 2 - length + 1, (1,), generator=draw)
            )
            spans.append((first, first + length - 1))
            features[b, first : first + length] += prototypes[event]
        asked = int(torch.randint(0, 2, (1,), generator=draw))
        words[b, 1] = 2 + events[asked]
        moments[b, 0] = torch.tensor(spans[asked])
        segment[b, spans[asked][0] : spans[asked][1] + 1] = 1.0
    return features, words, Targets(moments, torch.ones(batch, 1, dtype=torch.bool), segment)


def trained(steps: int, **settings) -> GroundingNetwork:
    draw = torch.Generator().manual_seed(0)
    network = GroundingNetwork(
        GroundingConfig(
            WIDTH, EVENTS + 6, dim=32, word_dim=16, max_snippets=N, dropout=0.0, **settings
        )
    )
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    for _ in range(steps):
        features, words, targets = toy(48, draw)
        video = network.encode_video(features, torch.ones(48, N, dtype=torch.bool))
        query = network.encode_query(words, torch.ones(48, 3, dtype=torch.bool))
        parts = grounding_loss(network.fuse_and_predict(video, query), targets)
        vectors = network.retrieval.stretch_vectors(video.content, video.mask, targets.moments)
        right = words[:, 1, None] == words[None, :, 1]
        asked = network.retrieval.query_vector(query.q_hat, query.mask)
        none = torch.zeros_like(right)
        parts["contrastive"] = contrastive_loss(asked, vectors[:, 0], right, none)
        optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimiser.step()
    return network.eval()


@pytest.mark.parametrize("reading", ["aligned", "skip"])
def test_learns_to_ground_and_to_retrieve(reading: str) -> None:
    network = trained(100, reading=reading).requires_grad_(False)
    features, words, targets = toy(200, torch.Generator().manual_seed(1))
    mask, word_mask = torch.ones(200, N, dtype=torch.bool), torch.ones(200, 3, dtype=torch.bool)
    edges = torch.arange(N + 1.0)
    cells = torch.stack([edges[:-1], edges[1:]], dim=1)

    def exact(features: Tensor, words: Tensor) -> float:
        p_start, p_end = network(features, mask, words, word_mask).probabilities()
        found = decode_spans(p_start, p_end, mask, cells, top=1)
        hits = [
            [row[0].first, row[0].last] == moment
            for row, moment in zip(found, targets.moments[:, 0].tolist(), strict=True)
        ]
        return sum(hits) / len(hits)

    assert exact(features, words) > 0.8
    assert exact(features, words.flip(0)) < 0.6
    assert exact(torch.zeros_like(features), words) < 0.2

    video, query = network.encode_video(features, mask), network.encode_query(words, word_mask)
    inside = network(features, mask, words, word_mask).segment_logits.sigmoid()
    assert inside[targets.segment == 1].mean() > 0.8 > 0.2 > inside[targets.segment == 0].mean()
    vectors = network.retrieval.stretch_vectors(video.content, mask, targets.moments)[:, 0]
    asked = network.retrieval.query_vector(query.q_hat, word_mask)
    nearest = (asked @ vectors.T).argmax(dim=1)
    assert (words[nearest, 1] == words[:, 1]).float().mean() > 0.9
