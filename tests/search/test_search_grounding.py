"""Grounding of windows and videos: what is found depends on the window and the query alone."""

import numpy as np
import pytest
import torch
from search_oracle import marked_video, oracle_model, seconds

from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.decoding import decode_output
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.search.grounding import (
    AnyWindow,
    EncodedWindow,
    WindowFeatures,
    encode_queries,
    ground,
    ground_videos,
    ground_windows,
    rounded,
)
from vmrtool.search.pooling import pool_windows
from vmrtool.text.vocabulary import Vocabulary

DIM = 12


@pytest.fixture(scope="module", params=["ci-mha", "ci-mha-no-ms", "match", "match_apart"])
def model(request: pytest.FixtureRequest) -> GroundingModel:
    """A small network of random weights."""
    torch.manual_seed(0)
    words = Vocabulary(["a", "person", "opens", "the", "door", "window"])
    config = GroundingConfig(
        video_dim=DIM,
        vocabulary_size=len(words),
        dim=32,
        word_dim=8,
        variant="ci-mha-no-ms" if request.param == "ci-mha-no-ms" else "ci-mha",
        match=request.param.startswith("match"),
        match_apart=request.param == "match_apart",
    )
    return GroundingModel(GroundingNetwork(config).eval(), words, ExtractorSpec("random"))


def random_window(n: int, seed: int) -> WindowFeatures:
    features = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float16)
    edges = np.linspace(0.0, n * 0.7, n + 1)
    return WindowFeatures(features, np.stack([edges[:-1], edges[1:]], axis=1), first=10 * seed)


def test_a_window_gives_the_same_to_the_last_bit_in_any_company(model: GroundingModel) -> None:
    queries = encode_queries(model, ["a person opens the door", "the window"])
    windows = [random_window(n, seed) for seed, n in enumerate([40, 7, 128, 40, 33, 90] * 3)]
    pairs = [(number, number % 2) for number in range(len(windows))]
    together = ground_windows(model, windows, queries, pairs)
    for (number, query), expected in zip(pairs, together, strict=True):
        assert ground_windows(model, [windows[number]], queries, [(0, query)]) == [expected]
    backwards = ground_windows(model, windows, queries, pairs[::-1])
    assert backwards[::-1] == together
    both = ground_windows(model, windows[:3], queries, [(2, 1), (2, 0), (1, 1), (0, 0)])
    assert both[1:] == [together[2], together[1], together[0]]
    pooled = pool_windows(model, windows)
    for window, made in zip(windows, pooled, strict=True):
        (alone,) = pool_windows(model, [window])
        for name in ("vectors", "spans", "values"):
            assert np.array_equal(getattr(made, name), getattr(alone, name))


def test_a_window_that_was_kept_gives_the_same_to_the_last_bit(model: GroundingModel) -> None:
    queries = encode_queries(model, ["a person opens the door", "the window"])
    windows = [random_window(n, seed) for seed, n in enumerate([40, 7, 128, 40, 33])]
    pairs = [(number, query) for query in (0, 1) for number in range(len(windows))]
    kept = [
        EncodedWindow(np.frombuffer(made.values.tobytes(), "<f2").reshape(made.values.shape),
                      window.cells, window.first)
        for window, made in zip(windows, pool_windows(model, windows), strict=True)
        if made.values is not None
    ]  # fmt: skip
    assert {window.values.shape[1] for window in kept} == {model.config.kept_width}
    expected = ground_windows(model, windows, queries, pairs)
    assert ground_windows(model, kept, queries, pairs) == expected
    some: list[AnyWindow] = [*windows[:2], *kept[2:]]
    assert ground_windows(model, some, queries, pairs) == expected


def test_rounding_hardly_shows(model: GroundingModel) -> None:
    """float16 keeps 11 bits of what a window is encoded to; scores move by less than 1e-3."""
    queries = encode_queries(model, ["a person opens the door", "the window"])
    windows = [random_window(n, seed) for seed, n in enumerate([20, 60, 128])]
    network = model.network
    for number, window in enumerate(windows):
        for query in (0, 1):
            (found,) = ground_windows(model, [window], queries, [(0, query)])
            with torch.inference_mode():
                mask = torch.ones(1, len(window), dtype=torch.bool)
                exact = network.encode_video(torch.from_numpy(window.features)[None].float(), mask)
                rows = torch.tensor([query])
                output = network.fuse_and_predict(exact, queries.encoded.select(rows))
                cells = torch.tensor(window.cells)
                (spans,) = decode_output(output, cells, model.config, top=1, nms_iou=0.5)
            best, first = found[0], 10 * number
            assert (best.first, best.last) == (first + spans[0].first, first + spans[0].last)
            assert best.grounding == pytest.approx(spans[0].probability, rel=5e-3)


def test_what_float16_cannot_hold_is_held_at_its_largest() -> None:
    held = rounded(torch.tensor([1e6, -1e6, 1.5]))
    assert held.tolist() == [65504.0, -65504.0, 1.5]


def test_candidates_say_what_the_network_says(model: GroundingModel) -> None:
    window = random_window(30, seed=4)
    queries = encode_queries(model, ["a person opens the door"])
    ((best, *others),) = ground_windows(model, [window], queries, [(0, 0)])
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
    assert best.grounding == pytest.approx(float(joint.max()), rel=1e-3)
    assert best.similarity == pytest.approx(float(vector @ queries.vectors[0]), abs=1e-4)
    if output.segment_logits is None:
        assert best.presence is None
    else:
        mean = float(output.segment_logits[0, first : last + 1].mean())
        assert best.presence == pytest.approx(mean, abs=1e-3)
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
