"""Inception-I3D for RGB clips (Carreira and Zisserman, 2017), at full or reduced width.

Parameter names are those of the public PyTorch checkpoints (`rgb_imagenet.pt`,
`rgb_charades.pt`), so that their state dicts load as they are. Convolutions and pools pad as
TensorFlow's SAME does, which depends on the input's size and may be uneven. In time a caller may
say the padding, where maps are a piece of longer ones (see `dense.py`).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vmrtool.features.network import Network

Triple = tuple[int, int, int]
Ends = tuple[int, int]
"""Padding in time, before and after."""

# Channels of each Inception block: 1x1; 1x1 -> 3x3x3; 1x1 -> 3x3x3; pool -> 1x1.
_BLOCKS: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Max pools by the layer they come before: (kernel, stride) over (time, height, width).
_POOLS: dict[str, tuple[Triple, Triple]] = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
STEP = 8
"""Frames from one step of the trunk's output to the next."""


def scaled(channels: int, width: float) -> int:
    """Channels of a layer at `width`: a multiple of 4, at least 4; exact at width 1."""
    return channels if width == 1.0 else max(4, round(channels * width / 4) * 4)


def same_padding(
    size: torch.Size, kernel: Triple, stride: Triple, ends: Ends | None = None
) -> tuple[int, ...]:
    """SAME padding of the last three dimensions of `size`, in the order `F.pad` takes it.

    The first of the three is time, which is padded by `ends` where they are given.
    """
    pads: list[int] = []
    for length, k, s in zip(reversed(size[-3:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - s if length % s == 0 else k - length % s, 0)
        pads += [total // 2, total - total // 2]
    return tuple(pads) if ends is None else (*pads[:4], *ends)


class ConvUnit(nn.Module):
    """3-D convolution, batch norm and ReLU: (B, C_in, T, H, W) -> (B, C_out, T', H', W')."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, bias=False)
        self.bn: nn.Module = nn.BatchNorm3d(out_channels, eps=1e-3, momentum=0.01)
        self._onednn = False

    def forward(self, x: Tensor, ends: Ends | None = None) -> Tensor:
        """Convolve, normalise, rectify; time is padded by `ends`, else as SAME does."""
        low_w, high_w, low_h, high_h, low_t, high_t = same_padding(
            x.shape, self.kernel, self.stride, ends
        )
        padding = (low_t, low_h, low_w)
        if padding != (high_t, high_h, high_w):
            # Even padding is left to the convolution, which saves a copy of the input.
            x = F.pad(x, (low_w, high_w, low_h, high_h, low_t, high_t))
            padding = (0, 0, 0)
        weight, bias = self.conv3d.weight, self.conv3d.bias
        if self._onednn and x.device.type == "cpu" and x.dtype == torch.float32:
            # PyTorch has small inputs convolved by slower code, which also loses the layout.
            ones = (1, 1, 1)
            x = torch.mkldnn_convolution(x, weight, bias, padding, self.stride, ones, 1)
        else:
            x = F.conv3d(x, weight, bias, self.stride, padding)
        return F.relu(self.bn(x), inplace=True)

    def fold(self) -> None:
        """Take the batch norm's fixed scale and shift into the convolution."""
        if isinstance(self.bn, nn.BatchNorm3d):
            self.conv3d = fuse_conv_bn_eval(self.conv3d, self.bn)
            self.bn = nn.Identity()
            self._onednn = torch.backends.mkldnn.is_available()


def max_pool(x: Tensor, kernel: Triple, stride: Triple, ends: Ends | None = None) -> Tensor:
    """SAME max pool of rectified maps (B, C, T, H, W), for which zero padding is exact.

    Space first, as 2-D pools of all frames, then time: with channels last this is several times
    faster on a CPU than `max_pool3d`, and the result is the same to the last bit. Time is padded
    by `ends`, else as SAME does.
    """
    low_w, _, low_h, _, low_t, high_t = same_padding(x.shape, kernel, stride, ends)
    frames = x.transpose(1, 2)  # (B, T, C, H, W)
    # SAME pads at most one more on the far side, which is what ceil_mode adds.
    pooled = F.max_pool2d(
        frames.flatten(0, 1), kernel[1:], stride[1:], padding=(low_h, low_w), ceil_mode=True
    )
    maps = pooled.unflatten(0, frames.shape[:2]).transpose(1, 2)
    if kernel[0] == 1:
        return maps
    if low_t or high_t:
        maps = F.pad(maps, (0, 0, 0, 0, low_t, high_t))
    steps = (maps.shape[2] - kernel[0]) // stride[0] + 1
    shifted = [
        maps[:, :, k : k + stride[0] * (steps - 1) + 1 : stride[0]] for k in range(kernel[0])
    ]
    return functools.reduce(_larger if torch.is_grad_enabled() else torch.maximum, shifted)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    """The maximum, with a gradient that costs half of that of `torch.maximum` on a CPU."""
    return torch.where(a >= b, a, b)


class InceptionBlock(nn.Module):
    """Four parallel branches, joined along channels; keeps time and space."""

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]):
        super().__init__()
        c0, c1a, c1b, c2a, c2b, c3 = channels
        self.b0 = ConvUnit(in_channels, c0)
        self.b1a = ConvUnit(in_channels, c1a)
        self.b1b = ConvUnit(c1a, c1b, kernel=3)
        self.b2a = ConvUnit(in_channels, c2a)
        self.b2b = ConvUnit(c2a, c2b, kernel=3)
        self.b3b = ConvUnit(in_channels, c3)
        self.out_channels = c0 + c1b + c2b + c3

    def forward(self, x: Tensor, ends: Ends = (1, 1)) -> Tensor:
        """(B, C, T, H, W) -> (B, out_channels, T', H, W); T' is T less what `ends` do not pad."""
        inner = x[:, :, 1 - ends[0] : x.shape[2] - (1 - ends[1])]
        pooled = max_pool(x, (3, 3, 3), (1, 1, 1), ends)
        branches = (
            self.b0(inner),
            self.b1b(self.b1a(x), ends),
            self.b2b(self.b2a(x), ends),
            self.b3b(pooled),
        )
        return torch.cat(branches, dim=1)


class ScoreLayer(nn.Module):
    """Class scores of averaged features, a 1x1x1 convolution as in the public network."""

    def __init__(self, in_channels: int, num_classes: int):
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, dim, T') -> (B, classes, T')."""
        return self.conv3d(features[..., None, None])[..., 0, 0]


@dataclass(frozen=True)
class Layer:
    """A part of the trunk that sees `kernel` maps in time for one output, every `stride`.

    Attributes:
        run: maps (B, C, T, H, W) and the padding of their ends, to the next maps.
        kernel: maps in time that one of its outputs sees.
        stride: maps from one output to the next.
    """

    run: Callable[[Tensor, Ends], Tensor]
    kernel: int
    stride: int

    @property
    def ends(self) -> Ends:
        """SAME padding of an even number of maps."""
        total = max(self.kernel - self.stride, 0)
        return total // 2, total - total // 2


class InceptionI3D(Network):
    """Inception-I3D.

    Args:
        num_classes: classes of the score layer (400 for Kinetics, 157 for Charades).
        width: multiplies every layer's channels; 1 is the published network (1024-d features).
        dropout: dropout before the class scores, in training.
    """

    def __init__(self, num_classes: int = 400, width: float = 1.0, dropout: float = 0.0):
        super().__init__()
        channels = scaled(64, width)
        self.Conv3d_1a_7x7 = ConvUnit(3, channels, kernel=7, stride=2)
        self.Conv3d_2b_1x1 = ConvUnit(channels, channels)
        self.Conv3d_2c_3x3 = ConvUnit(channels, scaled(192, width), kernel=3)
        channels = scaled(192, width)
        for name, sizes in _BLOCKS.items():
            c0, c1a, c1b, c2a, c2b, c3 = (scaled(size, width) for size in sizes)
            block = InceptionBlock(channels, (c0, c1a, c1b, c2a, c2b, c3))
            self.add_module(name, block)
            channels = block.out_channels
        self.dim = channels
        self.dropout = nn.Dropout(dropout)
        self.logits = ScoreLayer(channels, num_classes)

    def trunk(self, clips: Tensor) -> Tensor:
        """Feature maps of `clips` (B, 3, T, H, W) in [-1, 1]: (B, dim, ~T/8, ~H/32, ~W/32)."""
        x = clips
        for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3", *_BLOCKS):
            if name in _POOLS:
                x = max_pool(x, *_POOLS[name])
            x = self.get_submodule(name)(x)
        return x

    def layers(self) -> list[Layer]:
        """The trunk as a chain of layers, for going through it piece by piece."""

        def stem(x: Tensor, ends: Ends) -> Tensor:
            x = max_pool(self.Conv3d_1a_7x7(x, ends), *_POOLS["Conv3d_2b_1x1"])
            return self.Conv3d_2b_1x1(x)

        def second(x: Tensor, ends: Ends) -> Tensor:
            return max_pool(self.Conv3d_2c_3x3(x, ends), *_POOLS["Mixed_3b"])

        def pool(kernel: Triple, stride: Triple) -> Layer:
            return Layer(lambda x, ends: max_pool(x, kernel, stride, ends), kernel[0], stride[0])

        layers = [Layer(stem, 7, 2), Layer(second, 3, 1)]
        for name in _BLOCKS:
            if name in _POOLS and name != "Mixed_3b":
                layers.append(pool(*_POOLS[name]))
            layers.append(Layer(self.get_submodule(name), 3, 1))
        return layers

    def pool(self, steps: Tensor) -> Tensor:
        """Averages steps of the trunk (B, dim, T) in pairs: (B, dim, T - 1), one stays one.

        That is the time part of the published network's (2, 7, 7) average pool.
        """
        return F.avg_pool1d(steps, 2, stride=1) if steps.shape[2] > 1 else steps

    def forward(self, clips: Tensor) -> Tensor:
        """Features of `clips` (B, 3, T, H, W) in [-1, 1], before averaging over time.

        Space is averaged whole and time in pairs, as the published network does on 224 x 224
        input; 64 frames give T' = 7 steps.

        Returns:
            float32 (B, dim, T').
        """
        return self.pool(self.trunk(clips).float().mean(dim=(3, 4)))

    def scores(self, features: Tensor) -> Tensor:
        """Class scores (B, classes, T') of `features` (B, dim, T')."""
        features = features.to(self.logits.conv3d.weight.dtype)
        return self.logits(self.dropout(features))

    def compute(self, clips: Tensor, scores: bool) -> tuple[Tensor, Tensor | None]:
        """Features (B, dim, T') of `clips`, and class scores (B, classes, T') if asked for."""
        features = self(clips)
        return features, self.scores(features).float() if scores else None

    def fold_batch_norms(self) -> None:
        """Make the network ready for inference only: same output, one pass a layer less."""
        super().fold_batch_norms()
        for module in self.modules():
            if isinstance(module, ConvUnit):
                module.fold()
