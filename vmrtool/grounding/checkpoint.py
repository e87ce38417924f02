"""A trained grounding model as one safetensors file: weights, and all that is needed to use them.

The file's metadata holds one JSON document (under one key, because safetensors writes several in
an order that changes from run to run, and a model's sha256 names it in catalogs). Files are read
as data only: nothing in them is executed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.overrides import TorchFunctionMode

from vmrtool.errors import ModelError, UsageError
from vmrtool.files import whole
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.grounding.pooling import LENGTHS
from vmrtool.grounding.queries import Words, query_encoder
from vmrtool.grounding.ranking import RankingWeights
from vmrtool.text.vocabulary import Vocabulary

FORMAT = "vmrtool.model/1"
_KEY = "vmrtool"


@dataclass(frozen=True)
class ExtractorSpec:
    """The features a model was trained on.

    backbone: its name; weights_sha256: None where the features came ready-made; settings: what
    changes features (stride, frames, fps, resize ...), as the extractor and the catalog name them.
    """

    backbone: str
    weights_sha256: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, other: "ExtractorSpec") -> list[str]:
        """What keeps features of `other` from fitting, a line each; empty if they fit.

        What either side does not know is not compared.
        """
        lines = []
        if self.backbone != other.backbone:
            lines.append(f"backbone {self.backbone}, not {other.backbone}")
        ours, theirs = self.weights_sha256, other.weights_sha256
        if ours and theirs and ours != theirs:
            lines.append(f"backbone weights {ours[:12]}, not {theirs[:12]}")
        for name in sorted(set(self.settings) & set(other.settings)):
            if _plain(self.settings[name]) != _plain(other.settings[name]):
                lines.append(f"{name} {self.settings[name]}, not {other.settings[name]}")
        return lines


@dataclass(frozen=True)
class GroundingModel:
    """A network and what goes with it. `name` and `sha256` are the loaded file's, else empty."""

    network: GroundingNetwork
    vocabulary: Vocabulary
    extractor: ExtractorSpec
    ranking: RankingWeights = field(default_factory=RankingWeights)
    pooling: tuple[int, ...] = LENGTHS
    recipe: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        """Raise ModelError where the vocabulary is not the network's."""
        if len(self.vocabulary) != self.config.vocabulary_size:
            raise ModelError(_misfit(self.vocabulary, self.config))

    @property
    def config(self) -> GroundingConfig:
        """The network's settings."""
        return self.network.config

    def words(self, query: str) -> Words:
        """A sentence as the network takes it: int64 (L,) of the vocabulary, or states (L, W).

        Raises MissingError where the network's text model is not here.
        """
        return query_encoder(self.config, self.vocabulary)(query)

    def unknown_words(self, words: Sequence[str]) -> list[str]:
        """The words of a query that the model knows nothing of, each once, in order."""
        return [] if self.config.text_model else self.vocabulary.unknown(words)

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return self.network.feature_mean.device


def save_model(path: Path, model: GroundingModel) -> GroundingModel:
    """Write `model` to `path`, whole or not at all; the model as loading it would name it.

    The same model gives the same bytes.
    """
    document = {
        "format": FORMAT,
        "config": model.config.to_json(),
        "vocabulary": list(model.vocabulary.words[2:]),
        "extractor": asdict(model.extractor),
        "ranking": asdict(model.ranking),
        "pooling": list(model.pooling),
        "recipe": dict(model.recipe),
        "training": dict(model.training),
    }
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.network.state_dict().items()
    }
    # safetensors writes files through one of its own, which a kill would leave behind.
    data = save(weights, metadata={_KEY: json.dumps(document, sort_keys=True)})
    with whole(path) as place:
        place.write_bytes(data)
    return replace(model, name=model.name or _name(path), sha256=_sha256(path))


def load_model(
    path: Path, device: torch.device | str = "cpu", *, variant: str | None = None
) -> GroundingModel:
    """Read a model file, ready to predict (evaluation mode) on `device`.

    variant: refuse a model of another one.
    Raises ModelError: no such file, not a model file, another format version, settings or weights
    that do not fit together, another variant.
    """
    document, weights = _read(path)
    try:
        config = GroundingConfig.from_json(document["config"])
        vocabulary = Vocabulary(document["vocabulary"])
        extractor = ExtractorSpec(**document["extractor"])
        ranking = RankingWeights(**document["ranking"])
        pooling = tuple(int(length) for length in document["pooling"])
        recipe, training = dict(document["recipe"]), dict(document["training"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise ModelError(
            f"model file {path}: its description is not usable: {error!r}",
            remedy="train the model again, or get the file again",
        ) from error
    if variant is not None and config.variant != variant:
        raise ModelError(
            f"model file {path} holds variant {config.variant}, not {variant}",
            remedy=f"train it with --variant {variant}, or ask for {config.variant}",
        )
    network = _empty_network(config)
    _fill(network, weights, path)
    network.to(device).eval()
    if len(vocabulary) != config.vocabulary_size:
        raise ModelError(f"model file {path}: {_misfit(vocabulary, config)}")
    return GroundingModel(
        network, vocabulary, extractor, ranking, pooling, recipe, training,
        name=_name(path), sha256=_sha256(path),
    )  # fmt: skip


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The description and the tensors of a model file."""
    if not path.is_file():
        raise ModelError(
            f"no model file {path}", remedy="train one with `vmrtool train`, or check the path"
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            document = json.loads(metadata[_KEY]) if _KEY in metadata else {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not a vmrtool model file: {error}",
            remedy="give a model.safetensors written by `vmrtool train`; pickles are not read",
        ) from error
    found = document.get("format") if isinstance(document, dict) else None
    if found is None:
        raise ModelError(
            f"{path} holds weights, but not of a vmrtool grounding model",
            remedy="give a model.safetensors written by `vmrtool train`",
        )
    if found != FORMAT:
        raise ModelError(
            f"model file {path} has format {found}; this vmrtool reads {FORMAT}",
            remedy="use the version of vmrtool that wrote it, or train again",
        )
    return document, weights


class _Unfilled(TorchFunctionMode):
    """Skips drawing initial weights, all of which are replaced: a tenth of a second.

    (On the device "meta" they would not even have memory, but making modules there imports sympy.)
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.__name__ in ("kaiming_uniform_", "uniform_", "normal_"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _empty_network(config: GroundingConfig) -> GroundingNetwork:
    """A network to be filled, made without disturbing anybody's random numbers."""
    with torch.random.fork_rng(devices=[]), _Unfilled():
        return GroundingNetwork(config, initial=False)


def _fill(network: GroundingNetwork, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Copy weights into the network, refusing any that do not fit exactly."""
    own = network.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = [f"lacks {name}" for name in sorted(expected.keys() - shapes.keys())]
    wrong += [f"has a foreign {name}" for name in sorted(shapes.keys() - expected.keys())]
    wrong += [
        f"{name} is {shapes[name]}, not {expected[name]}"
        for name in sorted(expected.keys() & shapes.keys())
        if shapes[name] != expected[name]
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        variant = network.config.variant
        raise ModelError(
            f"model file {path}: weights do not fit its settings (variant {variant}): "
            f"{'; '.join(wrong[:3])}{more}",
            remedy="the file was altered or mixed up: train the model again, or get it again",
        )
    if not all(map(_finite, weights.values())):
        raise ModelError(f"model file {path}: weights are not finite", remedy="train it again")
    # Copies: what was read may still be the file, which somebody may write into.
    copies = {name: tensor.to(own[name].dtype, copy=True) for name, tensor in weights.items()}
    network.load_state_dict(copies, assign=True)


def _finite(tensor: torch.Tensor) -> bool:
    # A sum takes an eighth of the time. It is not finite where a number is not; where it only
    # overflows, each number is looked at.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _misfit(vocabulary: Vocabulary, config: GroundingConfig) -> str:
    return f"vocabulary of {len(vocabulary)} words beside word vectors for {config.vocabulary_size}"


def _plain(value: Any) -> Any:
    """A value as JSON gives it back, so that tuples equal lists."""
    return json.loads(json.dumps(value))


def _name(path: Path) -> str:
    """A run folder or zoo folder names its model.safetensors; another file names itself."""
    return path.resolve().parent.name if path.stem == "model" else path.stem


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
