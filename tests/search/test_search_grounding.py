"""Grounding of windows and videos: what is found depends on the window and the query alone."""

import numpy as np
import pytest
import torch
from search_oracle import marked_video, oracle_model, seconds

from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.search.grounding import (
    WindowFeatures,
    encode_queries,
    ground,
    ground_videos,
    ground_windows,
)
from vmrtool.search.pooling import pool_windows
from vmrtool.text.vocabulary import Vocabulary

DIM = 12


@pytest.fixture(scope="module", params=["ci-mha", "ci-mha-no-ms"])
def model(request: pytest.FixtureRequest) -> GroundingModel:
    """A small network of random weights."""
    torch.manual_seed(0)
    words = Vocabulary(["a", "person", "opens", "the", "door", "window"])
    config = GroundingConfig(
        video_dim=DIM, vocabulary_size=len(words), dim=32, word_dim=8, variant=request.param
    )
    return GroundingModel(GroundingNetwork(config).eval(), words, ExtractorSpec("random"))


def random_window(n: int, seed: int) -> WindowFeatures:
    features = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float16)
    edges = np.linspace(0.0, n * 0.7, n + 1)
    return WindowFeatures(features, np.stack([edges[:-1], edges[1:]], axis=1), first=10 * seed)


def test_a_window_gives_the_same_to_the_last_bit_in_any_company(model: GroundingModel) -> None:
    queries = encode_queries(model, ["a person opens the door", "the window"])
    windows = [random_window(n, seed) for seed, n in enumerate([40, 7, 128, 40, 33, 90] * 3)]
    asked = [seed % 2 for seed in range(len(windows))]
    together = ground_windows(model, windows, queries, asked)
    for window, query, expected in zip(windows, asked, together, strict=True):
        assert ground_windows(model, [window], queries, [query]) == [expected]
    backwards = ground_windows(model, windows[::-1], queries, asked[::-1])
    assert backwards[::-1] == together
    pooled = pool_windows(model, windows)
    for window, (vectors, spans) in zip(windows, pooled, strict=True):
        ((alone, same_spans),) = pool_windows(model, [window])
        assert np.array_equal(vectors, alone) and np.array_equal(spans, same_spans)


def test_candidates_say_what_the_network_says(model: GroundingModel) -> None:
    window = random_window(30, seed=4)
    queries = encode_queries(model, ["a person opens the door"])
    ((best, *others),) = ground_windows(model, [window], queries, [0])
    network = model.network
    with torch.inference_mode():
        mask = torch.ones(1, 30, dtype=torch.bool)
        video = network.encode_video(torch.from_numpy(window.features)[None].float(), mask)
        output = network.fuse_and_predict(video, queries.encoded)
        p_start, p_end = output.probabilities()
        joint = (p_start[0].double()[:, None] * p_end[0].double()[None, :]).triu()
        first, last = divmod(int(joint.argmax()), 30)
        own = torch.tensor([[first, last]])
        vector = network.retrieval.stretch_vectors(video.content, mask, own)[0, 0]
    assert (best.first, best.last) == (40 + first, 40 + last)  # counted from the video's first
    assert best.start == window.cells[first, 0] and best.end == window.cells[last, 1]
    assert best.grounding == pytest.approx(float(joint.max()), rel=1e-4)
    assert best.similarity == pytest.approx(float(vector @ queries.vectors[0]), abs=1e-5)
    if output.segment_logits is None:
        assert best.presence is None
    else:
        mean = float(output.segment_logits[0, first : last + 1].mean())
        assert best.presence == pytest.approx(mean, abs=1e-4)
    assert all(0.0 <= c.score <= 1.0 and c.grounding <= best.grounding for c in others)
    score = model.ranking.score(best.similarity, float(np.log(best.grounding)), best.presence)
    assert best.score == pytest.approx(score)


def test_pairs_of_many_videos_and_queries_come_back_in_order() -> None:
    model = oracle_model()
    videos = [marked_video(50, (0, 5, 9), (1, 30, 44)), marked_video(200, (1, 80, 99))]
    pairs = [(0, 1), (1, 1), (0, 0)]
    answers = ground_videos(model, videos, ["e0", "e1"], pairs, top=1)
    assert [(a.first, a.last) for (a,) in answers] == [(30, 44), (80, 99), (5, 9)]
    for (video, query), answer in zip(pairs, answers, strict=True):
        assert ground(model, *videos[video], f"e{query}", top=1) == answer


def test_order_names_what_ranks_the_moments_of_a_video(model: GroundingModel) -> None:
    window = random_window(60, seed=1)
    for order in ("score", "grounding"):
        answers = ground(model, window.features, window.cells, "the door", order=order)
        values = [getattr(answer, order) for answer in answers]
        assert values == sorted(values, reverse=True)


def test_a_video_of_no_snippets_has_no_moments() -> None:
    assert ground(oracle_model(), *marked_video(0), "e0") == []


def test_times_are_those_of_the_cells() -> None:
    (best,) = ground(oracle_model(), *marked_video(90, (2, 60, 70)), "e2", top=1)
    assert (best.start, best.end) == seconds(60, 70)
