"""I3D on ResNet-50, as pytorchvideo builds it; its names are those of the public checkpoint."""

import warnings

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vmrtool.features.network import Network

with warnings.catch_warnings():
    # It uses parts of PyTorch that are on their way out.
    warnings.simplefilter("ignore", FutureWarning)
    from pytorchvideo.models.hub import i3d_r50

# Convolutions and the batch norms after them, by their names in a block of pytorchvideo's.
_PAIRS = (
    ("conv", "norm"),
    ("conv_a", "norm_a"),
    ("conv_b", "norm_b"),
    ("conv_c", "norm_c"),
    ("branch1_conv", "branch1_norm"),
)


class I3DResNet50(Network):
    """pytorchvideo's I3D-R50, with its features before the classifier at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = i3d_r50(pretrained=False).blocks

    def compute(self, clips: Tensor, scores: bool) -> tuple[Tensor, Tensor | None]:
        """Features of normalised `clips` (B, 3, T, H, W), averaged over space only.

        Eight frames are one step. Class scores, if asked for, are those of pytorchvideo's model,
        which averages them where these average what they are computed from.

        Returns:
            float32 (B, 2048, T'), and float32 (B, 400, T') or None.
        """
        x = clips
        for block in self.blocks[:-1]:
            x = block(x)
        head = self.blocks[-1]
        features = head.pool(x).float().mean(dim=(3, 4))
        if not scores:
            return features, None
        rows = features.transpose(1, 2).to(head.proj.weight.dtype)
        return features, head.proj(rows).float().transpose(1, 2)

    def fold_batch_norms(self) -> None:
        """Make the network ready for inference only: same output, one pass a layer less."""
        super().fold_batch_norms()
        for module in list(self.modules()):
            for conv, norm in _PAIRS:
                batch_norm = getattr(module, norm, None)
                if isinstance(batch_norm, nn.BatchNorm3d):
                    setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), batch_norm))
                    setattr(module, norm, None)
