"""Backbones: the reference's numbers, files of weights good and bad, devices."""

import importlib.util
import json
import os
import pickle
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from vmrtool.errors import MissingError, ModelError, UsageError
from vmrtool.features.backbones import (
    BACKBONES,
    Preprocessing,
    choose_device,
    load_backbone,
    save_backbone,
)
from vmrtool.features.device import choose_devices, choose_precision
from vmrtool.features.i3d import InceptionI3D

SMALL = Preprocessing(fps=12.0, frames=8, resize=("exact", (32, 40)), crop=None)


@pytest.fixture(scope="module")
def reference(real_data: Path) -> ModuleType:
    """The script that makes the stand-in checkpoint and the clips."""
    script = real_data.parent / "reference" / "make_i3d_checkpoint.py"
    if not script.is_file():
        pytest.skip("no reference numbers beside the real data")
    spec = importlib.util.spec_from_file_location("make_i3d_checkpoint", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkpoint(reference: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "rgb_imagenet.pt"
    torch.save({k: torch.from_numpy(v) for k, v in reference.state(0).items()}, path)
    return path


def expected(reference: ModuleType, frames: int) -> tuple[NDArray, NDArray]:
    """Features (1024,) and class scores (400,) of the reference, averaged over time."""
    with np.load(Path(reference.__file__ or "").with_name("inception_i3d_expected.npz")) as file:
        return file[f"features_{frames}"].mean(axis=1), file[f"logits_{frames}"].mean(axis=1)


def relative_error(ours: torch.Tensor, theirs: NDArray) -> float:
    return float(np.linalg.norm(ours[0].numpy() - theirs) / np.linalg.norm(theirs))


def test_the_public_networks_numbers(reference: ModuleType, checkpoint: Path) -> None:
    backbone = load_backbone("i3d", checkpoint)
    for frames in (64, 16, 79):
        clip = torch.from_numpy(reference.clip(0, frames))
        features, scores = backbone(clip, scores=True)
        their_features, their_scores = expected(reference, frames)
        assert relative_error(features, their_features) <= 1e-3
        assert relative_error(scores, their_scores) <= 1e-3


def test_bfloat16_is_close(reference: ModuleType, checkpoint: Path) -> None:
    backbone = load_backbone("i3d", checkpoint, precision="bfloat16")
    features = backbone(torch.from_numpy(reference.clip(0, 16)))
    assert features.dtype == torch.float32
    theirs = torch.from_numpy(expected(reference, 16)[0])
    assert torch.cosine_similarity(features[0], theirs, dim=0) >= 0.999


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("own") / "backbone.safetensors"
    save_backbone(
        path, InceptionI3D(5, width=0.125), name="blocks", width=0.125, preprocessing=SMALL
    )
    return path


def test_an_own_backbone_says_what_it_is(own: Path) -> None:
    backbone = load_backbone("blocks", own)
    assert backbone.info.preprocessing == SMALL
    assert (backbone.info.dim, backbone.info.classes) == (128, 5)
    assert len(backbone.weights_sha256) == 64
    clips = torch.rand(2, 3, 8, 32, 40) * 2 - 1
    features, scores = backbone(clips, scores=True)
    assert features.shape == (2, 128) and scores.shape == (2, 5)
    assert not features.requires_grad


def test_pictures_become_clips_from_minus_one_to_one(own: Path) -> None:
    frames = torch.zeros(1, 8, 32, 40, 3, dtype=torch.uint8)
    frames[0, 2, 5, 7, 1] = 255
    clips = load_backbone("blocks", own).clips(frames)
    assert clips.shape == (1, 3, 8, 32, 40)
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)
    assert clips[0, 1, 2, 5, 7] == 1.0
    assert (clips == -1).sum() == clips.numel() - 1


def test_the_layout_of_clips_does_not_matter(own: Path) -> None:
    backbone = load_backbone("blocks", own)
    clips = torch.rand(1, 3, 8, 32, 40) * 2 - 1
    moved = clips.contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(backbone(clips), backbone(moved))


@pytest.mark.parametrize(
    "preprocessing",
    [SMALL, Preprocessing(24.0, 64, ("short", 256), (224, 224)), BACKBONES["i3d"].preprocessing],
)
def test_preprocessing_survives_json(preprocessing: Preprocessing) -> None:
    values = json.loads(json.dumps(preprocessing.to_json()))
    assert Preprocessing.from_json(values) == preprocessing


class Trap:
    """Unpickled, it makes a folder: what no weights file may do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def test_only_tensors_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "trap.pt"
    torch.save({"weight": Trap(tmp_path / "sprung")}, path)
    with pytest.raises(ModelError, match="not a file of weights"):
        load_backbone("i3d", path)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(ModelError, match="not a file of weights"):
        load_backbone("i3d", path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"once upon a time", b"\x00" * 100])
def test_what_is_no_weights_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a file of weights") as error:
        load_backbone("i3d", path)
    assert error.value.remedy


def test_weights_of_another_network(tmp_path: Path, own: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="not the weights of 'i3d'"):
        load_backbone("i3d", path)
    torch.save(["not", "a", "dict"], path)
    with pytest.raises(ModelError, match="something other than tensors"):
        load_backbone("i3d", path)
    with pytest.raises(ModelError, match="not the weights of 'i3d-charades'") as error:
        load_backbone("i3d-charades", own)
    assert "Conv3d_1a_7x7.conv3d.weight is (8, 3, 7, 7, 7), not (64, 3" in str(error.value)
    assert "more of other shapes" in str(error.value)


@pytest.mark.parametrize(
    "about",
    [
        None,
        {"name": "stripes", "width": 0.125, "classes": 5, "preprocessing": SMALL.to_json()},
        {"name": "blocks", "width": "wide", "classes": 5, "preprocessing": SMALL.to_json()},
        {"name": "blocks", "width": 0.125, "classes": 5, "preprocessing": {"fps": 24}},
        {
            "name": "blocks",
            "width": 0.125,
            "classes": 5,
            "preprocessing": SMALL.to_json() | {"resize": ["longest", 3]},
        },
    ],
)
def test_an_own_file_that_does_not_say_what_it_is(tmp_path: Path, about: dict | None) -> None:
    path = tmp_path / "odd.safetensors"
    metadata = None if about is None else {"backbone": json.dumps(about)}
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(ModelError, match="not a backbone of this project"):
        load_backbone("blocks", path)


def test_a_compiled_network_computes_the_same(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def compile_(function: object, dynamic: bool) -> object:
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    clips = torch.rand(1, 3, 8, 32, 40) * 2 - 1
    usual, faster = load_backbone("blocks", own), load_backbone("blocks", own)
    faster.compile()
    assert torch.equal(usual(clips), faster(clips))
    stream = faster.stream()
    assert len(faster.advance(stream, clips, last=True)) == 1
    assert len(compiled) == 1 + len(faster.layers)


def test_ways_to_ask_wrongly(own: Path) -> None:
    with pytest.raises(UsageError, match="no backbone 'resnet'"):
        load_backbone("resnet", own)
    with pytest.raises(MissingError, match=r"rgb_imagenet\.pt") as missing:
        load_backbone("i3d")
    assert "vmrtool models add" in (missing.value.remedy or "")
    with pytest.raises(MissingError, match="no such weights file"):
        load_backbone("i3d", own.with_name("elsewhere.pt"))
    with pytest.raises(UsageError, match="precision 'int1'"):
        load_backbone("blocks", own, precision="int1")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == (torch.device("cpu"), "no CUDA device found")
    assert choose_device("cpu") == (torch.device("cpu"), "asked for")
    for name, reason in (("cuda", "no CUDA device was found"), ("warp", "not a device")):
        with pytest.raises(UsageError, match=reason):
            choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Abacus 9")
    assert choose_device("auto") == (torch.device("cuda", 0), "found Abacus 9")
    assert choose_device("cuda:1")[0] == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="there are 2 CUDA devices"):
        choose_device("cuda:2")
    with pytest.raises(UsageError, match="not supported"):
        choose_device("meta")


def test_all_gpus_work_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = [torch.device("cuda", 0), torch.device("cuda", 1)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Abacus 9")
    assert choose_devices("auto") == (cuda, "found Abacus 9, 2 in all")
    assert choose_devices("cuda") == (cuda, "asked for, 2 in all")
    assert choose_devices("cuda:1") == (cuda[1:], "asked for")
    assert choose_devices("cpu") == ([torch.device("cpu")], "asked for")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_devices("auto")[0] == [torch.device("cpu")]


def test_bfloat16_where_the_hardware_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    for capability, precision in (((7, 5), "float32"), ((9, 0), "bfloat16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert choose_precision("auto", cuda)[0] == precision
    for amx, avx, chosen in (
        (True, False, ("bfloat16", "this processor has AMX")),
        (False, True, ("bfloat16", "this processor has AVX-512 BF16")),
        (False, False, ("float32", "bfloat16 is slower here")),
    ):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=amx: has)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=avx: has)
        assert choose_precision("auto", cpu) == chosen
        assert choose_precision("float32", cpu) == ("float32", "asked for")
