"""Backbones by name: networks that turn clips into features, with all that belongs to each.

A backbone carries its preprocessing, licence and source, so that features are never computed
from frames prepared for another network.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vmrtool.errors import MissingError, ModelError, UsageError
from vmrtool.features.class_head import ClassHead, class_head
from vmrtool.features.dense import TrunkStream
from vmrtool.features.device import choose_device, choose_precision
from vmrtool.features.i3d import InceptionI3D
from vmrtool.features.network import Network
from vmrtool.features.published import (
    BACKBONES,
    OWN_SCALING,
    PCA_FILE,
    PRECISIONS,
    SCALINGS,
    BackboneInfo,
    Preprocessing,
)
from vmrtool.features.weights import Weights, fill, read_weights

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

_OWN = "blocks"


class Backbone:
    """A network in inference on one device: clips (B, 3, T, H, W) -> features (B, dim).

    Attributes:
        info: the backbone's facts.
        weights_sha256: checksum of the file the weights came from.
        settings: what else of it decides the features, as JSON values.
        device: where it computes.
        layers: the trunk without padding in time, for dense sampling; empty where it has none.
        precision: "float32" or "bfloat16" (features leave in float32 all the same).
        head: its last layer by itself; None where it has none, or none with class names.
    """

    def __init__(
        self,
        network: Network,
        info: BackboneInfo,
        *,
        weights_sha256: str,
        device: torch.device,
        precision: str,
        settings: Mapping[str, Any] | None = None,
        head: ClassHead | None = None,
    ) -> None:
        self.info = info
        self.head = head
        self.weights_sha256 = weights_sha256
        self.settings = dict(settings or {})
        self.device = device
        self.precision = precision
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._network = network.eval().to(device)
        self._network.to(memory_format=torch.channels_last_3d)
        for layer in network.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                layer.to(self._dtype)
        self._compute = network.compute
        self.layers = network.layers() if isinstance(network, InceptionI3D) else []
        factors, offsets = SCALINGS[info.preprocessing.scaling].of_clips
        shape = (3, 1, 1, 1)
        self._factors = torch.tensor(factors, device=device).view(shape)
        self._offsets = torch.tensor(offsets, device=device).view(shape)

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

        Raises:
            UsageError: clips of a size that the network cannot take.
            ModelError: there are no class scores in its weights.
        """
        features, classes = self._compute(self._inputs(clips), scores)
        mean = features.mean(dim=2)
        return (mean, classes.mean(dim=2)) if scores and classes is not None else mean

    def stream(self) -> TrunkStream:
        """One pass of the trunk over a video, for dense sampling; `advance` goes through it.

        Raises:
            UsageError: this network has no such pass.
        """
        if not self.layers:
            raise UsageError(
                f"backbone '{self.info.name}' cannot be sampled densely",
                remedy="Use --sampling windows; dense is for Inception-I3D (i3d, i3d-charades).",
            )
        return TrunkStream(self.layers)

    @torch.inference_mode()
    def advance(self, stream: TrunkStream, clips: Tensor, last: bool) -> Tensor:
        """Steps float32 (n, dim) that the next clips (1, 3, T, H, W) of a stream complete."""
        return stream.push(self._inputs(clips), last)

    @torch.inference_mode()
    def pool(self, steps: Tensor) -> Tensor:
        """Features (N, dim) of windows of trunk steps (N, dim, n), averaged as those of clips."""
        assert isinstance(self._network, InceptionI3D)
        return self._network.pool(steps).mean(dim=2)

    def on(self, device: torch.device) -> "Backbone":
        """The same backbone on another device."""
        if device == self.device:
            return self
        return Backbone(
            copy.deepcopy(self._network),
            self.info,
            weights_sha256=self.weights_sha256,
            device=device,
            precision=self.precision,
            settings=self.settings,
            head=self.head,
        )

    def compile(self) -> None:
        """Has `torch.compile` make the network faster; the first clips of a size then take long."""
        self._compute = torch.compile(self._network.compute, dynamic=False)
        self.layers = [
            replace(layer, run=torch.compile(layer.run, dynamic=False)) for layer in self.layers
        ]

    def _inputs(self, clips: Tensor) -> Tensor:
        """Clips in [-1, 1] as the network takes them: its scaling, precision, layout, device."""
        clips = clips.to(self.device)
        if self.info.preprocessing.scaling != OWN_SCALING:
            clips = clips * self._factors + self._offsets
        return clips.to(self._dtype).contiguous(memory_format=torch.channels_last_3d)


def load_backbone(
    name: str,
    weights: Path | str | None = None,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    *,
    pca: Path | str | None = None,
) -> Backbone:
    """The backbone `name` with the weights of a file.

    Args:
        name: one of `BACKBONES`, or "blocks" (the project's own, whose file says what it is).
        weights: the file; without it the published one, downloaded if need be, and for "blocks"
            its own in the model zoo.
        device: "auto", "cpu", "cuda", "cuda:N".
        precision: "float32", "bfloat16", or "auto" for what suits the device.
        pca: for "c3d-pca", the file with the PCA; else it lies beside the weights.

    Raises:
        UsageError: no such backbone, device or precision.
        MissingError: no such file, or the published one cannot be had.
        ModelError: the file does not fit the backbone.
    """
    if name not in BACKBONES and name != _OWN:
        raise UsageError(f"no backbone '{name}'", remedy=f"Known: {', '.join((*BACKBONES, _OWN))}.")
    place = choose_device(device)[0] if isinstance(device, str) else device
    precision = choose_precision(precision, place)[0]
    path = _weights_path(name, weights)
    loaded = read_weights(path)
    built = _build(name, path, loaded, None if pca is None else Path(pca))
    differences = fill(built.network, built.tensors)
    if differences is not None:
        raise ModelError(
            f"{path}: not the weights of '{name}': {differences}",
            remedy=f"'{name}' comes from {built.info.source}.",
        )
    built.network.fold_batch_norms()
    return Backbone(
        built.network,
        built.info,
        weights_sha256=loaded.sha256,
        device=place,
        precision=precision,
        settings=built.settings,
        head=class_head(name, built.tensors, _own_names(loaded)),
    )


@dataclass(frozen=True)
class _Built:
    """A network without its weights, the tensors that go into it, and its facts."""

    network: Network
    info: BackboneInfo
    tensors: Mapping[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)


def _build(name: str, path: Path, loaded: Weights, pca: Path | None) -> _Built:
    """The network that a name asks for; of a backbone of this project the file says which."""
    tensors = loaded.tensors
    if name == _OWN:
        info, width = _own_info(path, loaded)
        return _Built(InceptionI3D(info.classes, width), info, tensors)
    info = BACKBONES[name]
    if name == "i3d-r50":
        from vmrtool.features.i3d_r50 import I3DResNet50

        return _Built(I3DResNet50(), info, tensors)
    if name in ("c3d", "c3d-fc6", "c3d-pca"):
        from vmrtool.features.c3d import C3D, public_names, read_projection

        tensors = public_names(tensors)
        layer: Literal["fc6", "fc7"] = "fc6" if name == "c3d-fc6" else "fc7"
        classifier = "fc8.weight" in tensors
        if name != "c3d-pca":
            return _Built(C3D(layer, None, classifier), info, tensors)
        projection = read_projection(pca or path.with_name(PCA_FILE), info.dim)
        network = C3D(layer, projection, classifier)
        return _Built(network, info, tensors, {"pca": projection.sha256})
    return _Built(InceptionI3D(info.classes), info, tensors)


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
        return weights_path(BACKBONES[name].shares or name)
    path = find_model(name).backbone_weights
    if path is None:
        raise MissingError(f"model '{name}' has no backbone weights here")
    return path


def _own_names(loaded: Weights) -> list[str] | None:
    """Class names that a backbone of this project brings with it."""
    about = loaded.metadata.get("backbone")
    return about.get("class_names") if isinstance(about, dict) else None


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
