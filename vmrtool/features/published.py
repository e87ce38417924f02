"""The published backbones as data: what each is, how it wants its clips, where it comes from.

Nothing here imports torch, so that they can be listed at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vmrtool.assets.registry import find_asset
from vmrtool.media.geometry import Framing, Resize

PRECISIONS = ("float32", "bfloat16")
SAMPLINGS = ("windows", "dense")

Sampling = Literal["windows", "dense"]
"""How snippets are computed: each window by itself, or all from one pass over the video."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Scaling:
    """What a network takes in place of pixel values v (0 to 255, RGB): (v - mean) / std."""

    mean: Colour
    std: Colour

    @property
    def of_clips(self) -> tuple[Colour, Colour]:
        """Factors and offsets that make the network's values of clips in [-1, 1]."""
        factors = tuple(127.5 / std for std in self.std)
        offsets = tuple((127.5 - m) / s for m, s in zip(self.mean, self.std, strict=True))
        return factors, offsets  # type: ignore[return-value]


OWN_SCALING = "[-1,1]"
SCALINGS: dict[str, Scaling] = {
    OWN_SCALING: Scaling((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "(v/255-0.45)/0.225": Scaling((114.75, 114.75, 114.75), (57.375, 57.375, 57.375)),
    "v-(104,117,128)": Scaling((104.0, 117.0, 128.0), (1.0, 1.0, 1.0)),
}
"""Scalings by the name they have in settings; v is a pixel value."""


@dataclass(frozen=True)
class Preprocessing:
    """How a backbone wants its clips.

    Attributes:
        fps: frames a second.
        frames: frames of a clip.
        resize: ("short", n) or ("exact", (h, w)).
        crop: (h, w) from the centre after the resize, or None.
        scaling: what pixel values become, a name in `SCALINGS`.
    """

    fps: float
    frames: int
    resize: Resize
    crop: tuple[int, int] | None
    scaling: str = OWN_SCALING

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
        if values["scaling"] not in SCALINGS:
            raise ValueError(f"unknown scaling {values['scaling']!r}")
        crop = values["crop"]
        result = cls(
            fps=float(values["fps"]),
            frames=int(values["frames"]),
            resize=resize,
            crop=None if crop is None else (int(crop[0]), int(crop[1])),
            scaling=values["scaling"],
        )
        result.framing.size  # noqa: B018  (a size that cannot be is refused here)
        return result


@dataclass(frozen=True)
class BackboneInfo:
    """A backbone's facts: what it is, what it wants, where it comes from, under which terms.

    Attributes:
        name: what users call it.
        dim: width of its features.
        classes: class scores it gives.
        preprocessing: how it wants its clips.
        stride: frames from one window to the next, unless told.
        licence: the terms its weights are under.
        source: who made the weights, and how their file is called.
        description: what it is, in a few words.
        shares: the backbone whose weights file this one takes, where it has none of its own.
    """

    name: str
    dim: int
    classes: int
    preprocessing: Preprocessing
    licence: str
    source: str
    description: str
    stride: int = 16
    shares: str | None = None


_I3D = Preprocessing(fps=24.0, frames=64, resize=("short", 256), crop=(224, 224))
# 8 frames, every 8th of 30 a second.
_R50 = Preprocessing(
    fps=3.75,
    frames=8,
    resize=("short", 256),
    crop=(256, 256),
    scaling="(v/255-0.45)/0.225",
)
_C3D = Preprocessing(
    fps=30.0,
    frames=16,
    resize=("exact", (128, 171)),
    crop=(112, 112),
    scaling="v-(104,117,128)",
)
PCA_FILE = "PCA_activitynet_v1-3.hdf5"


def _published(
    name: str,
    dim: int,
    classes: int,
    preprocessing: Preprocessing,
    description: str,
    *,
    stride: int = 16,
    shares: str | None = None,
    beside: str = "",
) -> BackboneInfo:
    """A backbone whose weights are an asset, which says their terms and source; `beside` adds."""
    asset = find_asset(shares or name)
    return BackboneInfo(
        name=name,
        dim=dim,
        classes=classes,
        preprocessing=preprocessing,
        licence=asset.licence,
        source=f"{asset.homepage} ({asset.file}){beside}",
        description=description,
        stride=stride,
        shares=shares,
    )


BACKBONES: dict[str, BackboneInfo] = {
    info.name: info
    for info in (
        _published(
            "i3d",
            1024,
            400,
            _I3D,
            "Inception-I3D, RGB, trained on Kinetics-400; the paper's features",
        ),
        _published(
            "i3d-charades",
            1024,
            157,
            _I3D,
            "Inception-I3D, RGB, Kinetics-400 and fine-tuned on Charades",
        ),
        _published(
            "i3d-r50",
            2048,
            400,
            _R50,
            "I3D on ResNet-50, 8 frames in 2.1 s, trained on Kinetics-400",
            stride=2,
        ),
        _published("c3d", 4096, 487, _C3D, "C3D, fc7, trained on Sports-1M", stride=8),
        _published(
            "c3d-fc6",
            4096,
            487,
            _C3D,
            "C3D, fc6, trained on Sports-1M",
            stride=8,
            shares="c3d",
        ),
        _published(
            "c3d-pca",
            500,
            487,
            _C3D,
            "C3D, fc7 reduced to 500-d as ActivityNet's features; the paper's",
            stride=8,
            shares="c3d",
            beside=f" and activity-net.org ({PCA_FILE})",
        ),
    )
}
"""Backbones with published weights, by name."""
