"""A backbone's last layer: from stored features to scores of the classes it was trained on.

Features are means over time of what the layer takes, and the layer is linear: its value on a stored
feature is the mean of the backbone's own class scores.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vmrtool.errors import ModelError

# Class names of published backbones in the order of their scores, by the file they are in.
_NAMES = {"i3d": "kinetics-400", "i3d-r50": "kinetics-400", "i3d-charades": "charades"}
# Trained to tell one class from all others; the rest scores each class by itself.
_EXCLUSIVE = ("i3d", "i3d-r50")
# Weight and bias of the layer, by backbone.
_LAYERS = {"i3d-r50": ("blocks.6.proj.weight", "blocks.6.proj.bias")}
_I3D_LAYER = ("logits.conv3d.weight", "logits.conv3d.bias")


@dataclass(frozen=True)
class ClassHead:
    """A linear map from features (N, D) to scores of C classes.

    names: C class names; weight: float32 (C, D); bias: float32 (C,); exclusive: whether a clip has
    one class (softmax) or any number of them (sigmoid).
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    exclusive: bool

    def __post_init__(self) -> None:
        """Raises ModelError where names, weight and bias are not of the same classes."""
        count = len(self.names)
        if self.weight.ndim != 2 or len(self.weight) != count or self.bias.shape != (count,):
            raise ModelError(
                f"{count} class names for a last layer of weight {self.weight.shape} and bias "
                f"{self.bias.shape}"
            )

    @property
    def dim(self) -> int:
        """Width D of the features it takes."""
        return self.weight.shape[1]

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Class scores float32 (N, C) of features (N, D)."""
        product: NDArray[np.float32] = features.astype(np.float32) @ self.weight.T + self.bias
        return product

    def probabilities(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Class probabilities float32 (N, C) of features (N, D)."""
        scores = self.scores(features)
        if not self.exclusive:
            return np.asarray(1 / (1 + np.exp(-np.clip(scores, -60, 60))), np.float32)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    def to_json(self) -> dict[str, Any]:
        """JSON values, numbers as float16; `from_json` reads them back."""
        return {
            "names": list(self.names),
            "dim": self.dim,
            "weight": _packed(self.weight),
            "bias": _packed(self.bias),
            "exclusive": self.exclusive,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ClassHead":
        """Reads what `to_json` wrote.

        Raises:
            ModelError: it is something else.
        """
        try:
            return cls(
                tuple(values["names"]),
                _unpacked(values["weight"]).reshape(-1, int(values["dim"])),
                _unpacked(values["bias"]),
                bool(values["exclusive"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"a class head that cannot be read: {error!r}") from error


def head_key(weights_sha256: str) -> str:
    """The key under which a catalog remembers the head of the backbone with these weights."""
    return f"class_head {weights_sha256}"


def class_names(backbone: str) -> tuple[str, ...]:
    """Names of a published backbone's classes, in the order of its scores; () where not known."""
    if backbone not in _NAMES:
        return ()
    text = files("vmrtool.features") / "class_names" / f"{_NAMES[backbone]}.txt"
    return tuple(text.read_text(encoding="utf-8").splitlines())


def class_head(
    backbone: str, tensors: Mapping[str, Tensor], own_names: Sequence[str] | None = None
) -> ClassHead | None:
    """The last layer of a backbone, from its weights; None where it has none, or none with names.

    `own_names` are those that the file of a backbone of this project holds.

    Raises:
        ModelError: there are more or fewer names than classes.
    """
    names = tuple(own_names or class_names(backbone))
    weight, bias = _LAYERS.get(backbone, _I3D_LAYER)
    if not names or weight not in tensors or bias not in tensors:
        return None
    matrix = tensors[weight].float().flatten(1).numpy()
    return ClassHead(names, matrix, tensors[bias].float().numpy(), backbone in _EXCLUSIVE)


def _packed(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f2").tobytes()).decode("ascii")


def _unpacked(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32)
