import pytest
import torch
from torch import nn

from vmrtool.grounding.attention import AttentionMap, MultiHeadAttention, masked_mean


def reference(attention: MultiHeadAttention) -> nn.MultiheadAttention:
    """torch's own attention with the same weights."""
    width = attention.queries.in_features
    other = nn.MultiheadAttention(width, attention.heads, batch_first=True)
    inputs = (attention.queries, attention.keys, attention.values)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([linear.weight for linear in inputs]))
        other.in_proj_bias.copy_(torch.cat([linear.bias for linear in inputs]))
        other.out_proj.load_state_dict(attention.joined.state_dict())
    return other


@pytest.mark.parametrize("heads", [1, 5])
def test_equals_torch(heads: int) -> None:
    attention = MultiHeadAttention(20, heads)
    target, source = torch.randn(3, 4, 20), torch.randn(3, 7, 20)
    mask = torch.arange(7) < torch.tensor([[7], [3], [1]])
    expected, expected_map = reference(attention)(target, source, source, key_padding_mask=~mask)
    torch.testing.assert_close(attention(target, source, mask), expected)
    result, alignment = attention.with_map(target, source, mask)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(alignment, expected_map)


def test_map_rests_on_real_positions() -> None:
    mask = torch.arange(7) < torch.tensor([[7], [3]])
    weights = AttentionMap(16, 4)(torch.randn(2, 5, 16), torch.randn(2, 7, 16), mask)
    assert weights.shape == (2, 4, 5, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 5))
    assert (weights[1, :, :, 3:] == 0).all()


def test_masked_mean() -> None:
    x = torch.tensor([[[1.0], [3.0], [99.0]], [[4.0], [99.0], [99.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    torch.testing.assert_close(masked_mean(x, mask), torch.tensor([[2.0], [4.0]]))
