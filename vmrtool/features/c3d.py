"""C3D (Tran et al., 2015), its fc6 and fc7 features, and the PCA that ActivityNet's went through.

The names of its parameters are those of the public `c3d.pickle`; the file of mmaction2, which has
other names and no classifier, is read as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import torch.nn.functional as F
from torch import Tensor, from_numpy, nn

from vmrtool.errors import MissingError, ModelError, UsageError
from vmrtool.features.network import Network
from vmrtool.features.weights import sha256_of
from vmrtool.hdf5 import item_of

FRAMES, SIDE = 16, 112
CLASSES = 487  # Sports-1M

Layer = Literal["fc6", "fc7"]

# Convolutions by name: channels in and out, and the max pool after it over (time, space).
_CONVOLUTIONS: dict[str, tuple[int, int, tuple[int, int] | None]] = {
    "conv1": (3, 64, (1, 2)),
    "conv2": (64, 128, (2, 2)),
    "conv3a": (128, 256, None),
    "conv3b": (256, 256, (2, 2)),
    "conv4a": (256, 512, None),
    "conv4b": (512, 512, (2, 2)),
    "conv5a": (512, 512, None),
    "conv5b": (512, 512, (2, 2)),
}


class Projection(nn.Module):
    """A PCA: values x (…, D) become (x - mean) @ axes, (…, d).

    Args:
        mean: float32 (D,).
        axes: float32 (D, d).
        sha256: of the file they were read from.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, mean: Tensor, axes: Tensor, sha256: str) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("axes", axes, persistent=False)
        self.sha256 = sha256

    def forward(self, values: Tensor) -> Tensor:
        """Reduce float32 `values` (…, D)."""
        return (values - self.mean) @ self.axes


def read_projection(path: Path, dim: int, features: int = 4096) -> Projection:
    """The first `dim` axes of a PCA of `features` values, from ActivityNet's HDF5 file.

    It holds `x_mean` and `U`, whose columns are the axes, in the group `data` or at the top.

    Raises:
        MissingError: no such file.
        ModelError: it holds no such PCA.
    """
    if not path.is_file():
        raise MissingError(
            f"{path}: no such PCA file",
            remedy="Get it from activity-net.org (C3D features) and put it beside the weights.",
        )
    try:
        with h5py.File(path) as file:
            group = item_of(file, "data") or file
            mean = np.asarray(item_of(group, "x_mean"), np.float32).reshape(-1)
            axes = np.asarray(item_of(group, "U")[:, :dim], np.float32)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: not a PCA as ActivityNet's: {error}",
            remedy="It is an HDF5 file with `x_mean` and `U`.",
        ) from error
    if mean.shape != (features,) or axes.shape != (features, dim):
        raise ModelError(
            f"{path}: a PCA with x_mean {mean.shape} and U {axes.shape}, not of {features} values "
            f"to {dim}"
        )
    return Projection(from_numpy(mean), from_numpy(axes), sha256_of(path))


class C3D(Network):
    """C3D up to a fully connected layer.

    Args:
        layer: whose output, rectified, the features are.
        projection: what reduces them, or None.
        classifier: whether there is a layer of class scores.
    """

    def __init__(
        self, layer: Layer = "fc7", projection: Projection | None = None, classifier: bool = True
    ) -> None:
        super().__init__()
        for name, (inputs, outputs, _) in _CONVOLUTIONS.items():
            self.add_module(name, nn.Conv3d(inputs, outputs, 3, padding=1))
        self.fc6 = nn.Linear(8192, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, CLASSES) if classifier else None
        self.layer = layer
        self.projection = projection

    def compute(self, clips: Tensor, scores: bool) -> tuple[Tensor, Tensor | None]:
        """Features of normalised `clips` (B, 3, 16, 112, 112), and class scores if asked for.

        Returns:
            float32 (B, dim, 1), one step, and float32 (B, 487, 1) or None.

        Raises:
            UsageError: clips of another size; the fully connected layers take no other.
            ModelError: scores are asked for, and there is no classifier.
        """
        if tuple(clips.shape[2:]) != (FRAMES, SIDE, SIDE):
            raise UsageError(
                f"C3D takes clips of {FRAMES} frames of {SIDE} x {SIDE}, not "
                f"{clips.shape[2]} of {clips.shape[3]} x {clips.shape[4]}"
            )
        if scores and self.fc8 is None:
            raise ModelError("these weights of C3D have no classifier")
        fc6 = F.relu(self.fc6(self._maps(clips).flatten(1)))
        fc7 = F.relu(self.fc7(fc6))
        features = (fc6 if self.layer == "fc6" else fc7).float()
        if self.projection is not None:
            features = self.projection(features)
        classes = self.fc8(fc7).float()[..., None] if scores and self.fc8 is not None else None
        return features[..., None], classes

    def _maps(self, clips: Tensor) -> Tensor:
        """What the convolutions make of clips: (B, 512, 1, 4, 4)."""
        x = clips
        for name, (_, _, pool) in _CONVOLUTIONS.items():
            x = F.relu(self.get_submodule(name)(x), inplace=True)
            if pool is not None:
                time, space = pool
                # Of the last maps, 7 x 7, the border is pooled too, as in Caffe.
                edge = int(name == "conv5b")
                kernel = (time, space, space)
                x = F.max_pool3d(x, kernel, kernel, padding=(0, edge, edge))
        return x


def public_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of `c3d.pickle`, those of mmaction2's file translated."""
    first = {"conv1a": "conv1", "conv2a": "conv2"}
    renamed = {}
    for key, tensor in tensors.items():
        layer, _, rest = key.removeprefix("backbone.").partition(".conv.")
        renamed[f"{first.get(layer, layer)}.{rest}" if rest else key] = tensor
    return renamed
