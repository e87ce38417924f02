"""The other published backbones: what their own networks compute, from files in public names."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vmrtool
from vmrtool.errors import MissingError, ModelError, UsageError
from vmrtool.features.backbones import load_backbone
from vmrtool.features.c3d import public_names
from vmrtool.features.i3d import InceptionI3D
from vmrtool.features.i3d_r50 import i3d_r50
from vmrtool.features.published import BACKBONES, PCA_FILE, SCALINGS
from vmrtool.features.windows import check_stride

DIM = 500


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm())


def unsettle(network: nn.Module) -> None:
    """Gives batch norms statistics that leaving them out or folding them wrongly would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.6, 1.4)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)


@pytest.fixture(scope="module")
def r50(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """pytorchvideo's model with seeded weights, and their file as it publishes them."""
    torch.manual_seed(0)
    network = i3d_r50(pretrained=False).eval()
    unsettle(network)
    path = tmp_path_factory.mktemp("r50") / "I3D_8x8_R50.pyth"
    torch.save({"model_state": network.state_dict(), "epoch": 195, "cfg": "MODEL: I3D"}, path)
    return network, path


@torch.inference_mode()
def test_i3d_r50_is_pytorchvideos_own(r50: tuple[nn.Module, Path]) -> None:
    theirs, path = r50
    pixels = torch.rand(1, 3, 8, 224, 224)
    seen: list[Tensor] = []
    hook = theirs.blocks[-1].proj.register_forward_pre_hook(lambda _, inputs: seen.append(*inputs))
    their_scores = theirs((pixels - 0.45) / 0.225)
    hook.remove()
    features, scores = vmrtool.load_backbone("i3d-r50", path)(pixels * 2 - 1, scores=True)
    assert features.shape == (1, BACKBONES["i3d-r50"].dim)
    assert relative_error(features, seen[0].mean(dim=(1, 2, 3))) <= 1e-4
    assert relative_error(scores, their_scores) <= 1e-4


@torch.inference_mode()
def test_i3d_charades_has_its_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = InceptionI3D(num_classes=157).state_dict()
    state = {key: t for key, t in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "rgb_charades.pt")
    backbone = load_backbone("i3d-charades", tmp_path / "rgb_charades.pt")
    features, scores = backbone(torch.rand(1, 3, 8, 64, 64) * 2 - 1, scores=True)
    assert features.shape == (1, 1024) and scores.shape == (1, 157)


def c3d_tensors() -> dict[str, Tensor]:
    """Seeded tensors of C3D under the names of `c3d.pickle`."""
    generator = torch.Generator().manual_seed(0)

    def layer(name: str, *shape: int) -> dict[str, Tensor]:
        scale = (2 / np.prod(shape[1:])) ** 0.5
        weight = torch.empty(shape).normal_(generator=generator) * scale
        bias = torch.empty(shape[0]).normal_(generator=generator) * 0.1
        return {f"{name}.weight": weight.half(), f"{name}.bias": bias.half()}

    widths = {"1": (3, 64), "2": (64, 128), "3a": (128, 256), "3b": (256, 256)}
    widths |= {"4a": (256, 512), "4b": (512, 512), "5a": (512, 512), "5b": (512, 512)}
    tensors = {}
    for name, (inputs, outputs) in widths.items():
        tensors |= layer(f"conv{name}", outputs, inputs, 3, 3, 3)
    return tensors | layer("fc6", 4096, 8192) | layer("fc7", 4096, 4096) | layer("fc8", 487, 4096)


def c3d_reference(tensors: dict[str, Tensor], pixels: Tensor) -> dict[str, Tensor]:
    """fc6, fc7 and class scores of clips of pixel values 0 to 255 (B, 3, 16, 112, 112)."""
    t = {key: tensor.float() for key, tensor in tensors.items()}
    x = pixels - torch.tensor([104.0, 117.0, 128.0]).view(3, 1, 1, 1)

    def conv(x: Tensor, name: str) -> Tensor:
        return F.relu(F.conv3d(x, t[f"conv{name}.weight"], t[f"conv{name}.bias"], padding=1))

    x = F.max_pool3d(conv(x, "1"), (1, 2, 2))
    x = F.max_pool3d(conv(x, "2"), 2)
    x = F.max_pool3d(conv(conv(x, "3a"), "3b"), 2)
    x = F.max_pool3d(conv(conv(x, "4a"), "4b"), 2)
    x = F.max_pool3d(conv(conv(x, "5a"), "5b"), 2, padding=(0, 1, 1))
    fc6 = F.relu(F.linear(x.flatten(1), t["fc6.weight"], t["fc6.bias"]))
    fc7 = F.relu(F.linear(fc6, t["fc7.weight"], t["fc7.bias"]))
    return {"fc6": fc6, "fc7": fc7, "scores": F.linear(fc7, t["fc8.weight"], t["fc8.bias"])}


@pytest.fixture(scope="module")
def c3d(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Path]:
    tensors = c3d_tensors()
    path = tmp_path_factory.mktemp("c3d") / "c3d.pickle"
    torch.save(tensors, path)
    return tensors, path


@torch.inference_mode()
def test_c3d_by_its_public_names(c3d: tuple[dict[str, Tensor], Path]) -> None:
    tensors, path = c3d
    pixels = torch.randint(0, 256, (2, 3, 16, 112, 112)).float()
    theirs = c3d_reference(tensors, pixels)
    features, scores = load_backbone("c3d", path)(pixels / 127.5 - 1, scores=True)
    assert relative_error(features, theirs["fc7"]) <= 1e-4
    assert relative_error(scores, theirs["scores"]) <= 1e-4
    fc6 = load_backbone("c3d-fc6", path)(pixels / 127.5 - 1)
    assert relative_error(fc6, theirs["fc6"]) <= 1e-4


@torch.inference_mode()
def test_c3d_reduced_as_activitynets(c3d: tuple[dict[str, Tensor], Path], tmp_path: Path) -> None:
    _, path = c3d
    rng = np.random.default_rng(0)
    mean = rng.standard_normal(4096).astype(np.float32)
    axes = rng.standard_normal((4096, 600)).astype(np.float32) / 64
    clips = torch.rand(1, 3, 16, 112, 112) * 2 - 1
    fc7 = load_backbone("c3d", path)(clips)
    beside = path.with_name(PCA_FILE)
    with pytest.raises(MissingError, match="no such PCA file"):
        load_backbone("c3d-pca", path)
    with h5py.File(beside, "w") as file:
        file.create_group("data").create_dataset("x_mean", data=mean)
        file["data"]["U"] = axes
    backbone = load_backbone("c3d-pca", path)
    assert backbone.info.dim == DIM and len(backbone.settings["pca"]) == 64
    expected = (fc7.numpy() - mean) @ axes[:, :DIM]
    assert relative_error(backbone(clips), torch.from_numpy(expected)) <= 1e-4

    odd = tmp_path / "odd.hdf5"
    with h5py.File(odd, "w") as file:
        file["x_mean"], file["U"] = mean[:100], axes[:100]
    with pytest.raises(ModelError, match=r"x_mean \(100,\)"):
        load_backbone("c3d-pca", path, pca=odd)
    odd.write_bytes(b"once upon a time")
    with pytest.raises(ModelError, match="not a PCA"):
        load_backbone("c3d-pca", path, pca=odd)


@torch.inference_mode()
def test_c3d_of_mmaction2_has_other_names_and_no_classifier(
    c3d: tuple[dict[str, Tensor], Path], tmp_path: Path
) -> None:
    tensors, path = c3d
    first = {"conv1": "conv1a", "conv2": "conv2a"}
    theirs = {}
    for key, tensor in tensors.items():
        layer, _, what = key.partition(".")
        if layer != "fc8":
            theirs[f"{first.get(layer, layer)}.conv.{what}" if "conv" in layer else key] = tensor
    assert public_names(theirs).keys() == tensors.keys() - {"fc8.weight", "fc8.bias"}
    torch.save({"state_dict": theirs, "meta": {}}, tmp_path / "mmaction.pth")
    backbone = load_backbone("c3d", tmp_path / "mmaction.pth")
    clips = torch.rand(1, 3, 16, 112, 112) * 2 - 1
    assert torch.equal(backbone(clips), load_backbone("c3d", path)(clips))
    with pytest.raises(ModelError, match="no classifier"):
        backbone(clips, scores=True)


def test_c3d_takes_clips_of_one_size(c3d: tuple[dict[str, Tensor], Path]) -> None:
    with pytest.raises(UsageError, match="16 frames of 112 x 112, not 8 of 112 x 112"):
        load_backbone("c3d", c3d[1])(torch.zeros(1, 3, 8, 112, 112))


@pytest.mark.parametrize("name", ["i3d", "i3d-r50", "c3d"])
def test_weights_of_another_network_say_what_differs(
    name: str, c3d: tuple[dict[str, Tensor], Path], r50: tuple[nn.Module, Path]
) -> None:
    path = r50[1] if name.startswith("c3d") else c3d[1]
    with pytest.raises(ModelError, match=r"\d+ missing \(.+, …\); \d+ not of this network"):
        load_backbone(name, path)


@pytest.mark.parametrize("name", BACKBONES)
def test_facts_are_whole(name: str) -> None:
    info = BACKBONES[name]
    assert info.name == name and info.licence and info.source and info.description
    assert info.preprocessing.scaling in SCALINGS
    assert info.shares is None or info.shares in BACKBONES
    check_stride(info.stride, info.preprocessing.frames)
