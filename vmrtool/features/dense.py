"""One pass of the trunk over a video of any length, piece by piece.

Windows that overlap compute the same frames again and again. Here every frame goes through the
trunk once: each layer keeps the last few maps of what it has been given, and goes on with the next
piece where it stopped. So pieces have no seams, and a step of the trunk is what it would be if the
whole video were one clip. Only at the video's two ends is there padding, the same as in a clip.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vmrtool.features.i3d import Layer


def reach(layers: Sequence[Layer]) -> tuple[int, int]:
    """How many frames before its first and after its last a step of the trunk sees."""
    before, seen, jump = 0, 1, 1
    for layer in layers:
        before += layer.ends[0] * jump
        seen += (layer.kernel - 1) * jump
        jump *= layer.stride
    return before, seen - before - jump


class _Strand:
    """A layer on its way through a video: the maps it holds for the outputs to come."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._held: Tensor | None = None
        self._begun = False

    def push(self, maps: Tensor | None, last: bool) -> Tensor | None:
        """Outputs that the next maps (1, C, T, H, W) make possible; None where there are none."""
        layer = self._layer
        given = [part for part in (self._held, maps) if part is not None]
        if not given:
            return None
        joined = torch.cat(given, dim=2) if len(given) > 1 else given[0]
        before = 0 if self._begun else layer.ends[0]
        after = layer.ends[1] if last else 0
        count = (before + joined.shape[2] + after - layer.kernel) // layer.stride + 1
        if count < 1:
            self._held = joined
            return None
        seen = (count - 1) * layer.stride + layer.kernel - before
        self._held = joined[:, :, count * layer.stride - before :].clone()
        self._begun = True
        return layer.run(joined[:, :, :seen], (before, after))


class TrunkStream:
    """The trunk's steps of one video, given its frames in pieces.

    Args:
        layers: the trunk, as `InceptionI3D.layers` gives it.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._strands = [_Strand(layer) for layer in layers]

    def push(self, clip: Tensor, last: bool) -> Tensor:
        """Steps that the next frames (1, 3, T, H, W) complete: float32 (n, dim), n may be 0.

        T is a multiple of 8; so is the length of the whole video then. `last` says that no
        frames follow.
        """
        maps: Tensor | None = clip
        for strand in self._strands:
            maps = strand.push(maps, last)
        if maps is None:
            return clip.new_zeros((0, 0), dtype=torch.float32)
        return maps[0].float().mean(dim=(2, 3)).T
