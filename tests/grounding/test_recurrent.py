import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vmrtool.grounding.recurrent import BiLSTM, reversal


def packed(lstm: BiLSTM, x: Tensor, mask: Tensor) -> Tensor:
    """torch's own bidirectional LSTM over packed sequences, with the same weights."""
    both = nn.LSTM(x.shape[2], lstm.onward.hidden_size, batch_first=True, bidirectional=True)
    weights = dict(lstm.onward.state_dict())
    weights |= {f"{name}_reverse": w for name, w in lstm.reverse.state_dict().items()}
    both.load_state_dict(weights)
    states = None
    if lstm.states is not None:
        h, c = lstm.states.transpose(0, 1)[:, :, None].expand(2, 2, len(x), -1)
        states = h.contiguous(), c.contiguous()
    together = pack_padded_sequence(x, mask.sum(1), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(both(together, states)[0], True, total_length=x.shape[1])[0]


@pytest.mark.parametrize("random_states", [False, True])
def test_equals_a_packed_lstm(random_states: bool) -> None:
    lstm = BiLSTM(5, 8, random_states=random_states)
    x, mask = torch.randn(4, 9, 5), torch.arange(9) < torch.tensor([[4], [9], [1], [7]])
    torch.testing.assert_close(lstm(x, mask), packed(lstm, x, mask))


def test_padding_has_no_value_and_no_gradient() -> None:
    lstm = BiLSTM(5, 8)
    x, mask = torch.randn(2, 6, 5, requires_grad=True), torch.arange(6) < torch.tensor([[6], [2]])
    out = lstm(x, mask)
    out.square().sum().backward()
    assert (out[1, 2:] == 0).all()
    assert x.grad is not None
    assert (x.grad[1, 2:] == 0).all() and (x.grad[1, :2] != 0).any()


def test_random_states_are_part_of_the_weights() -> None:
    lstm, zero = BiLSTM(5, 8, random_states=True), BiLSTM(5, 8)
    assert "states" in lstm.state_dict() and "states" not in zero.state_dict()
    x, mask = torch.randn(1, 3, 5), torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(lstm(x, mask), lstm(x, mask), rtol=0, atol=0)
    before = lstm(x, mask)
    lstm.states = torch.zeros_like(lstm.states)
    assert not torch.allclose(lstm(x, mask), before)


def test_reversal_is_its_own_inverse() -> None:
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    assert reversal(mask).tolist() == [[4, 3, 2, 1, 0], [2, 1, 0, 3, 4], [0, 1, 2, 3, 4]]
