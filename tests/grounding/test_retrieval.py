from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmrtool.grounding.losses import contrastive_loss, grounding_loss
from vmrtool.grounding.pooling import stretch_means, stretches


def test_stretches_of_a_window() -> None:
    assert stretches(10, (4,)).tolist() == [[0, 3], [2, 5], [4, 7], [6, 9], [0, 9]]
    assert stretches(9, (4,)).tolist() == [[0, 3], [2, 5], [4, 7], [5, 8], [0, 8]]
    assert stretches(4).tolist() == [[0, 3]]
    assert stretches(1).tolist() == [[0, 0]]
    assert len(stretches(128)) == 117  # of 4, 8, 16 and 32 snippets: 63 + 31 + 15 + 7, and all


@given(st.integers(1, 140), st.lists(st.integers(1, 40), max_size=4))
def test_stretches_cover_with_half_overlap(n: int, lengths: list[int]) -> None:
    spans = stretches(n, lengths).tolist()
    assert spans[-1] == [0, n - 1]
    assert len({tuple(span) for span in spans}) == len(spans)
    for length in lengths:
        if length < n:
            firsts = [first for first, last in spans[:-1] if last - first + 1 == length]
            assert firsts[0] == 0 and firsts[-1] == n - length
            steps = [b - a for a, b in pairwise(firsts)]
            assert all(0 < step <= max(1, length // 2) for step in steps)


def test_stretch_means() -> None:
    x = torch.tensor([[[1.0], [2.0], [6.0], [50.0]]])
    mask = torch.tensor([[True, True, True, False]])
    spans = torch.tensor([[0, 1], [1, 2], [0, 3], [2, 2], [0, -1]])
    expected = torch.tensor([[[1.5], [4.0], [3.0], [6.0], [0.0]]])
    torch.testing.assert_close(stretch_means(x, mask, spans), expected)
    torch.testing.assert_close(stretch_means(x, mask, spans[None]), expected)


def test_vectors_are_unit_and_padding_does_not_reach_them(make_network, make_batch) -> None:
    network = make_network().eval()
    head = network.retrieval
    features, mask, words, word_mask = make_batch([5, 9], [2, 6], pad_to=(14, 8))
    video, query = network.encode_video(features, mask), network.encode_query(words, word_mask)
    spans = stretches(5, (2,))
    vectors = head.stretch_vectors(video.content, video.mask, spans)
    asked = head.query_vector(query.q_hat, query.mask)
    assert vectors.shape == (2, 5, 6) and asked.shape == (2, 6)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 5))
    torch.testing.assert_close(asked.norm(dim=-1), torch.ones(2))

    short = network.encode_video(features[:1, :5], mask[:1, :5])
    alone = network.encode_query(words[:1, :2], word_mask[:1, :2])
    torch.testing.assert_close(
        head.stretch_vectors(short.content, short.mask, spans), vectors[:1], rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        head.query_vector(alone.q_hat, alone.mask), asked[:1], rtol=1e-4, atol=1e-6
    )


def test_contrastive_loss_by_hand() -> None:
    queries, candidates = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    positive = torch.tensor([[True, False, False], [False, True, False]])
    nothing = torch.zeros_like(positive)
    # cosines / 0.5: [[2, 0, 1.2], [0, 2, 1.6]]
    rows = torch.tensor([[2.0, 0.0, 1.2], [0.0, 2.0, 1.6]]).exp()
    by_row = -(rows[0, 0] / rows[0].sum()).log() - (rows[1, 1] / rows[1].sum()).log()
    by_column = -(rows[0, 0] / rows[:, 0].sum()).log() - (rows[1, 1] / rows[:, 1].sum()).log()
    loss = contrastive_loss(queries, candidates, positive, nothing, temperature=0.5)
    torch.testing.assert_close(loss, by_row / 4 + by_column / 4)

    # The third candidate left alone: it is gone from the rows, and it never was in the columns.
    ignored = torch.tensor([[False, False, True], [False, False, True]])
    rows = rows[:, :2]
    by_row = -(rows[0, 0] / rows[0].sum()).log() - (rows[1, 1] / rows[1].sum()).log()
    loss = contrastive_loss(queries, candidates, positive, ignored, temperature=0.5)
    torch.testing.assert_close(loss, by_row / 4 + by_column / 4)


def test_contrastive_loss_with_several_right_answers_or_none() -> None:
    queries, candidates = torch.eye(2), torch.eye(2)[[0, 1, 0]]
    positive = torch.tensor([[True, False, True], [False, False, False]])
    nothing = torch.zeros_like(positive)
    e = torch.tensor(1.0).exp()
    by_row = -(2 * e / (2 * e + 1)).log()  # the second query has no answer and is left out
    by_column = -(e / (e + 1)).log()
    loss = contrastive_loss(queries, candidates, positive, nothing, temperature=1.0)
    torch.testing.assert_close(loss, (by_row + by_column) / 2)
    queries.requires_grad_()
    empty = contrastive_loss(queries, candidates, nothing, nothing)
    empty.backward()
    assert empty == 0 and torch.equal(queries.grad, torch.zeros(2, 2))


@pytest.mark.parametrize("detach", [True, False])
def test_detached_head_leaves_the_network_alone(
    detach, make_network, make_batch, make_targets
) -> None:
    """With detach_retrieval the paper's weights get the gradients of the paper's losses only."""
    torch.manual_seed(2)
    network = make_network(dropout=0.0, detach_retrieval=detach)
    features, mask, words, word_mask = make_batch([5, 9], [2, 6])
    video, query = network.encode_video(features, mask), network.encode_query(words, word_mask)
    parts = grounding_loss(
        network.fuse_and_predict(video, query), make_targets([[(1, 2)], [(4, 6)]], 9)
    )
    inner = {n: p for n, p in network.named_parameters() if not n.startswith("retrieval.")}
    paper = torch.stack(list(parts.values())).sum()
    alone = torch.autograd.grad(paper, list(inner.values()), retain_graph=True)
    vectors = network.retrieval.stretch_vectors(
        video.content, video.mask, torch.tensor([[[1, 2]], [[4, 6]]])
    )[:, 0]
    asked = network.retrieval.query_vector(query.q_hat, query.mask)
    right = torch.eye(2, dtype=torch.bool)
    (paper + contrastive_loss(asked, vectors, right, torch.zeros_like(right))).backward()
    same = [torch.equal(p.grad, g) for p, g in zip(inner.values(), alone, strict=True)]
    assert all(same) if detach else not all(same)
    assert all(p.grad.abs().sum() > 0 for p in network.retrieval.parameters())
