from itertools import product

import pytest
import torch

from vmrtool.grounding.config import READINGS, VARIANTS
from vmrtool.grounding.losses import grounding_loss
from vmrtool.grounding.network import PreparedQuery

KINDS = [
    {"variant": variant, "reading": reading} for variant, reading in product(VARIANTS, READINGS)
]
OTHERS = [
    {"literal_eq8": True},
    {"initial_states": "random"},
    {"video_width": 8},
    {"tune_words": False},
    {"heads": 1, "video_heads": 3},
    {"variant": "mha", "literal_eq8": True},
]


def name(settings: dict) -> str:
    return " ".join(str(value) for value in settings.values())


@pytest.mark.parametrize("settings", KINDS + OTHERS, ids=name)
def test_shapes_and_that_every_weight_is_used(
    settings, make_network, make_batch, make_targets
) -> None:
    network = make_network(**settings)
    features, mask, words, word_mask = make_batch([9, 4, 1], [5, 2, 1])
    video, query = network.encode_video(features, mask), network.encode_query(words, word_mask)
    assert video.v_hat.shape == video.content.shape == (3, 9, 16)
    assert query.q_hat.shape == query.q.shape == (3, 5, 16)
    both = network.config.variant.startswith("ci-mha")
    s = network.fuse(video, query)
    assert s.shape == (3, 9, 32 if both else 16)
    assert (s[1, 4:] == 0).all()
    output = network.fuse_and_predict(video, query)
    assert output.start_logits.shape == output.end_logits.shape == (3, 9)
    assert (output.segment_logits is None) == (network.config.variant in ("mha", "ci-mha-no-ms"))
    for probabilities in output.probabilities():
        torch.testing.assert_close(probabilities.sum(1), torch.ones(3))
        assert (probabilities[~mask] == 0).all()

    losses = grounding_loss(output, make_targets([[(0, 3)], [(1, 1), (2, 3)], [(0, 0)]], 9))
    torch.stack(list(losses.values())).sum().backward()
    untouched = {
        weight
        for weight, value in network.named_parameters()
        if value.grad is None and not weight.startswith("retrieval.")
    }
    assert untouched == (set() if network.config.tune_words else {"word_vectors.weight"})


@pytest.mark.parametrize("settings", KINDS + OTHERS, ids=name)
def test_padding_and_company_change_nothing(
    settings, make_network, make_batch, make_targets
) -> None:
    """A pair alone, and the same pair padded among others: same output, same gradients."""
    network = make_network(dropout=0.0, **settings)
    moments = [[(1, 2)], [(0, 8)], [(2, 2), (3, 3)]]
    together = make_batch([4, 9, 5], [2, 5, 3], pad_to=(13, 7))
    output = network(*together)
    losses = grounding_loss(output, make_targets(moments, 13))
    torch.stack(list(losses.values())).sum().backward()
    gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()

    features, mask, words, word_mask = together
    for row, spans in enumerate(moments):
        n, length = int(mask[row].sum()), int(word_mask[row].sum())
        part = slice(row, row + 1)
        alone = network(
            features[part, :n], mask[part, :n], words[part, :length], word_mask[part, :length]
        )
        for ours, theirs in (
            (alone.start_logits, output.start_logits),
            (alone.end_logits, output.end_logits),
            (alone.segment_logits, output.segment_logits),
        ):
            if ours is not None:
                torch.testing.assert_close(ours, theirs[part, :n], rtol=1e-4, atol=1e-5)
        losses = grounding_loss(alone, make_targets([spans], n))
        (torch.stack(list(losses.values())).sum() / len(moments)).backward()
    for weight, value in network.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(value.grad, gradients[weight], rtol=1e-3, atol=1e-5)


MATCHING = [{"match": True}, {"match": True, "match_apart": True}]


@pytest.mark.parametrize("settings", KINDS + OTHERS + MATCHING, ids=name)
def test_a_prepared_query_is_grounded_as_any_other(settings, make_network, make_batch) -> None:
    """Queries prepared one at a time and without their padding, then joined: the same output."""
    network = make_network(**settings).eval()
    with torch.no_grad():
        for weight, value in network.named_parameters():
            if weight.endswith("bias"):  # they start at 0, where a forgotten one would not show
                value.normal_()
    features, mask, words, word_mask = make_batch([9, 4, 1], [3, 5, 2])
    video, query = network.encode_video(features, mask), network.encode_query(words, word_mask)
    expected = network.fuse_and_predict(video, query)
    rows = [network.prepare(query.select(torch.tensor([row]))) for row in range(3)]
    outputs = [network.ground(video, PreparedQuery.join(rows))]
    for row, length in enumerate((3, 5, 2)):
        alone = network.prepare(query.select(torch.tensor([row])).shortened(length))
        outputs.append(network.ground(video.select(torch.tensor([row])), alone))
    for logits in ("start_logits", "end_logits", "segment_logits"):
        wanted = getattr(expected, logits)
        if wanted is None:
            assert all(getattr(output, logits) is None for output in outputs)
            continue
        said = getattr(outputs[0], logits)
        torch.testing.assert_close(said[mask], wanted[mask], rtol=1e-4, atol=1e-5)
        said = torch.cat([getattr(output, logits) for output in outputs[1:]])
        torch.testing.assert_close(said[mask], wanted[mask], rtol=1e-4, atol=1e-5)


def test_readings_place_v_q_in_time(make_network, make_batch) -> None:
    """s of "mha" is the time-placed v_q itself, so the readings can be told apart exactly."""
    batch = make_batch([6, 6], [4, 4])
    fused = {}
    for reading in READINGS:
        torch.manual_seed(5)
        network = make_network(variant="mha", reading=reading).eval()
        video, query = network.encode_video(*batch[:2]), network.encode_query(*batch[2:])
        fused[reading] = network.fuse(video, query)
        if reading == "skip":
            torch.testing.assert_close(fused["skip"], fused["aligned"] + video.v_hat)
        if reading == "broadcast":
            v_q = network.words_over_video(query.q_hat, video.v_hat, video.mask)
            torch.testing.assert_close(
                fused["broadcast"], v_q.mean(dim=1, keepdim=True).expand(2, 6, 16)
            )
    steps = fused["broadcast"][:, 1:] - fused["broadcast"][:, :-1]
    assert (steps == 0).all()
    assert (fused["aligned"][:, 1:] - fused["aligned"][:, :-1]).abs().max() > 1e-4


def test_aligned_is_the_head_averaged_attention_of_eq_8(make_network, make_batch) -> None:
    network = make_network().eval()
    batch = make_batch([6, 3], [4, 2])
    video, query = network.encode_video(*batch[:2]), network.encode_query(*batch[2:])
    v_q = network.words_over_video(query.q_hat, video.v_hat, video.mask)
    q_v, a = network.video_over_words.with_map(video.v_hat, query.q_hat, query.mask)
    torch.testing.assert_close(a.sum(dim=2), torch.ones(2, 6))
    assert (a[1, :, 2:] == 0).all()
    expected = torch.cat([a @ v_q, q_v], dim=-1) * video.mask[:, :, None]
    torch.testing.assert_close(network.fuse(video, query), expected)


@pytest.mark.parametrize("reading", READINGS)
def test_one_word_leaves_only_the_skip_to_tell_snippets_apart(
    reading, make_network, make_batch
) -> None:
    """Attention over a single word is 1 everywhere: s is the same at every snippet as printed."""
    network = make_network(reading=reading).eval()
    batch = make_batch([6], [1])
    s = network.fuse(network.encode_video(*batch[:2]), network.encode_query(*batch[2:]))
    spread = (s - s.mean(dim=1, keepdim=True)).abs().max()
    assert spread > 0.1 if reading == "skip" else spread < 1e-6


def test_a_gain_has_attention_start_uneven_and_changes_nothing_else(
    make_network, make_batch
) -> None:
    batch = make_batch([12], [6])
    networks, spreads = [], []
    for gain in (1.0, 3.0):
        torch.manual_seed(5)
        network = make_network(attention_gain=gain, dim=64).eval()
        s = network.fuse(network.encode_video(*batch[:2]), network.encode_query(*batch[2:]))
        networks.append(network.state_dict())
        spreads.append(float(s.detach().var(dim=1).mean()))
    usual, sharp = networks
    changed = {name for name, weights in usual.items() if not torch.equal(weights, sharp[name])}
    assert changed == {
        f"{attention}.{part}.weight"
        for attention in ("words_over_video", "video_over_words")
        for part in ("queries", "keys")
    }
    assert spreads[1] > 3 * spreads[0]


def test_literal_eq8_attends_over_q(make_network, make_batch) -> None:
    network = make_network(literal_eq8=True).eval()
    batch = make_batch([6, 3], [4, 2])
    video, query = network.encode_video(*batch[:2]), network.encode_query(*batch[2:])
    q_v = network.video_over_words(video.v_hat, query.q, query.mask)
    s = network.fuse(video, query)
    torch.testing.assert_close(s[0, :, 16:], q_v[0])


def test_positions_are_not_in_the_content(make_network, make_batch) -> None:
    network = make_network().eval()
    features, mask, *_ = make_batch([6, 6], [1, 1])
    video = network.encode_video(features, mask)
    turned = network.encode_video(features.flip(1), mask)
    torch.testing.assert_close(turned.content.flip(1), video.content)
    torch.testing.assert_close(
        video.v_hat - video.content, network.positions.weight[:6].expand(2, 6, 16)
    )
    assert not torch.allclose(turned.v_hat.flip(1), video.v_hat)


def test_encoded_once_and_met_by_many(make_network, make_batch) -> None:
    network = make_network().eval()
    features, mask, words, word_mask = make_batch([9, 4], [5, 2])
    rows, columns = torch.tensor([0, 1, 1]), torch.tensor([1, 1, 0])
    paired = network.fuse_and_predict(
        network.encode_video(features, mask).select(rows),
        network.encode_query(words, word_mask).select(columns),
    )
    expected = network(features[rows], mask[rows], words[columns], word_mask[columns])
    torch.testing.assert_close(paired.start_logits, expected.start_logits)


def test_more_snippets_than_positions_are_refused(make_network, make_batch) -> None:
    with pytest.raises(ValueError, match="21 snippets; the network takes at most 20"):
        make_network().encode_video(*make_batch([21], [1])[:2])


def test_word_dropout_reads_words_as_unknown_only_in_training(make_network, make_batch) -> None:
    network = make_network(word_dropout=0.999, dropout=0.0)
    _, _, words, mask = make_batch([1, 1], [6, 3])
    trained = network.encode_query(words, mask).q_hat
    torch.testing.assert_close(
        trained, network.eval().encode_query(torch.ones_like(words), mask).q_hat
    )
    assert not torch.allclose(trained, network.encode_query(words, mask).q_hat)


def test_dropouts_act_only_in_training(make_network, make_batch) -> None:
    network = make_network(dropout=0.5, input_dropout=0.5)
    batch = make_batch([6], [4])
    assert not torch.equal(network(*batch).start_logits, network(*batch).start_logits)
    network.eval()
    assert torch.equal(network(*batch).start_logits, network(*batch).start_logits)


def test_feature_statistics_stand_in_for_standardised_features(make_network, make_batch) -> None:
    network = make_network().eval()
    features, mask, *_ = make_batch([6, 3], [1, 1])
    mean, scale = torch.randn(24), torch.rand(24) + 0.5
    expected = network.encode_video((features - mean) / scale, mask).v_hat
    network.set_feature_statistics(mean, scale)
    torch.testing.assert_close(network.encode_video(features, mask).v_hat, expected)
    assert torch.equal(network.state_dict()["feature_mean"], mean)


def test_given_word_vectors_are_scaled_as_a_whole(make_network) -> None:
    network = make_network(tune_words=False)
    matrix = 0.3 * torch.randn(12, 10)
    matrix[0] = 0
    network.set_word_vectors(matrix)
    vectors = network.word_vectors.weight
    assert not vectors.requires_grad
    assert vectors[1:].std().item() == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(vectors / vectors[3, 3], matrix / matrix[3, 3])


def test_the_retrieval_head_draws_nothing_from_the_papers_random_numbers(make_network) -> None:
    """Adding or widening the head leaves the other initial values and later draws as they are."""
    torch.manual_seed(3)
    narrow, after_narrow = make_network(retrieval_dim=4), torch.rand(3)
    torch.manual_seed(3)
    wide, after_wide = make_network(retrieval_dim=32), torch.rand(3)
    assert torch.equal(after_narrow, after_wide)
    for weight, value in narrow.state_dict().items():
        if not weight.startswith("retrieval."):
            assert torch.equal(value, wide.state_dict()[weight])
    torch.manual_seed(4)
    other = make_network(retrieval_dim=4)
    assert not torch.equal(other.retrieval.query[0].weight, narrow.retrieval.query[0].weight)


def test_word_vectors_may_be_scaled_and_projected(make_network) -> None:
    network = make_network(word_scale=0.25, word_width=6, tune_words=False).eval()
    network.set_word_vectors(torch.randn(12, 10))
    assert network.word_vectors.weight[1:].std().item() == pytest.approx(0.25, rel=0.05)
    words, mask = torch.tensor([[3, 4, 0]]), torch.tensor([[True, True, False]])
    q_hat = network.encode_query(words, mask).q_hat
    assert network.query_lstm.onward.input_size == 6
    # Frozen vectors, but the way they are read is learned.
    q_hat[:, :2].sum().backward()
    assert network.word_vectors.weight.grad is None
    assert network.word_projection.weight.grad.abs().sum() > 0
    # The projection's bias must not make words of the padding.
    torch.testing.assert_close(network.encode_query(words[:, :2], mask[:, :2]).q_hat, q_hat[:, :2])


def test_matching_joins_likeness_to_s_before_any_attention(make_network, make_batch) -> None:
    batch = make_batch([6, 3], [4, 2], pad_to=(8, 5))
    features, mask, words, word_mask = batch
    network = make_network(match=True).eval()
    video, query = network.encode_video(features, mask), network.encode_query(words, word_mask)
    s = network.fuse(video, query)
    assert s.shape == (2, 8, 2 * 16 + 1)
    likeness = s[:, :, -1]
    torch.testing.assert_close(likeness.sum(dim=1), torch.zeros(2), atol=1e-5, rtol=0)
    assert (likeness[1, 3:] == 0).all() and likeness[1, :3].abs().sum() > 0
    # It is the retrieval head's cosine of each snippet, from features and words themselves.
    own = torch.tensor([[k, k] for k in range(6)])
    vectors = network.retrieval.stretch_vectors(video.content, mask, own)
    cosines = (vectors @ network.retrieval.query_vector(query.content, word_mask)[:, :, None])[0]
    expected = 10 * (cosines - cosines.mean(dim=0))[:, 0]
    torch.testing.assert_close(likeness[0, :6], expected, atol=1e-4, rtol=1e-4)
    other = make_network(match=True).eval()
    other.load_state_dict(network.state_dict())
    torch.nn.init.zeros_(other.video_forward[-1].weight)
    again = other.fuse(other.encode_video(features, mask), query)
    torch.testing.assert_close(again[:, :, -1], likeness)


def test_matching_apart_leaves_the_retrieval_head_its_own_reading(make_network, make_batch) -> None:
    features, mask, words, word_mask = make_batch([6, 3], [4, 2])
    network = make_network(match=True, match_apart=True).eval()
    video, query = network.encode_video(features, mask), network.encode_query(words, word_mask)
    assert network.heads == [network.retrieval, network.matching]
    torch.testing.assert_close(query.content, query.q_hat)
    (_, snippets, said), (matching, given, given_words) = network.contrasted(video, query)
    assert snippets is video.content and said is query.content
    likeness = matching.contrast(given, mask, given_words, word_mask)
    torch.testing.assert_close(network.fuse(video, query)[:, :, -1], 10 * likeness)
    rows = torch.tensor([1, 0, 1])
    again = network.fuse(video.select(rows), query.select(rows))
    torch.testing.assert_close(again, network.fuse(video, query)[rows])


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_can_match(make_network, make_batch, variant: str, apart: bool) -> None:
    batch = make_batch([6, 3], [4, 2])
    network = make_network(match=True, match_apart=apart, variant=variant)
    output = network(*batch)
    output.start_logits.sum().backward()
    assert network.heads[-1].video.weight.grad.abs().sum() > 0
