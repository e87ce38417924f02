"""The settings of a training run: where they come from, how they are checked and overridden."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vmrtool.errors import UsageError
from vmrtool.grounding.pooling import LENGTHS

SCHEDULES = ("constant", "cosine")
SECTIONS = ("extractor", "network", "training", "retrieval")


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained. Defaults are the paper's where it prints a value.

    Attributes:
        epochs: passes over the training queries.
        batch_size: pairs a batch, mismatched ones included.
        lr: Adam's learning rate, after warm-up.
        schedule: "constant", or "cosine" down to zero at the last step.
        warmup: share of all steps over which the rate rises from zero.
        weight_decay: decoupled from the gradient (AdamW); 0 is plain Adam.
        clip: largest norm of the gradient, 0 for no limit.
        patience: epochs without a better validation figure before training ends; 0 for never.
        select: the validation figure by which the best epoch is kept.
        validation_share: share of the videos set aside when no validation file is given; 0 keeps
            the last epoch.
        negative_share: share of each batch that is a query with a video where its moment does not
            happen, all of whose snippets are background.
        negative_candidates: random videos among which the mismatched one is chosen that is most
            like the query in its own queries' words; 1 chooses at random.
        start_end_weight, segment_weight: weights of the paper's two losses.
        min_word_count: words rarer than this in the training sentences are unknown, unless word
            vectors are given and have them.
        more_words: most words that given word vectors add to those of the data set's sentences,
            from the top of their file.
        crop, crop_shortest, snippet_dropout, noise: see `vmrtool.datasets.crops.Augmentation`.
    """

    epochs: int = 30
    batch_size: int = 100
    lr: float = 1e-4
    schedule: str = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0
    clip: float = 0.0
    patience: int = 0
    select: str = "mIoU"
    validation_share: float = 0.1
    negative_share: float = 0.0
    negative_candidates: int = 1
    start_end_weight: float = 1.0
    segment_weight: float = 1.0
    min_word_count: int = 1
    more_words: int = 20000
    crop: float = 0.0
    crop_shortest: float = 0.5
    snippet_dropout: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Raises UsageError for a value out of its range."""
        if self.schedule not in SCHEDULES:
            raise UsageError(f"training.schedule is {self.schedule!r}, not {_either(SCHEDULES)}")
        for name in ("epochs", "batch_size", "min_word_count", "negative_candidates"):
            if getattr(self, name) < 1:
                raise UsageError(f"training.{name} is {getattr(self, name)}, not at least 1")
        for name in ("warmup", "validation_share", "negative_share", "crop", "snippet_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"training.{name} is {getattr(self, name)}, not in [0, 1)")
        if self.more_words < 0:
            raise UsageError(f"training.more_words is {self.more_words}, not 0 or more")
        if self.lr <= 0:
            raise UsageError(f"training.lr is {self.lr}, not above 0")


@dataclass(frozen=True)
class RetrievalSettings:
    """How the retrieval head is trained, which finds the videos to look into.

    Attributes:
        weight: weight of the contrastive loss.
        temperature: its temperature.
        lengths: snippets in the stretches whose means stand for a window, besides the whole window;
            none of them leaves one mean a window.
        ranking_queries: most validation queries used to fit the weights of the final score.
        ranking_videos: videos that each of them is asked of, those that resemble it most.
    """

    weight: float = 1.0
    temperature: float = 0.07
    lengths: tuple[int, ...] = LENGTHS
    ranking_queries: int = 300
    ranking_videos: int = 50

    def __post_init__(self) -> None:
        """Raises UsageError for a value out of its range."""
        if self.weight < 0 or self.temperature <= 0:
            raise UsageError("retrieval.weight must be 0 or more and retrieval.temperature above 0")
        if not all(type(length) is int and length > 0 for length in self.lengths):
            raise UsageError("retrieval.lengths are numbers of snippets, each 1 or more")


@dataclass(frozen=True)
class RunSettings:
    """All settings of a run, as a recipe's sections.

    `network` holds those of `GroundingConfig` that the recipe sets; widths that follow from the
    data are not among them. `extractor` says which features the recipe was made for.
    """

    extractor: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The settings as nested dictionaries, ready for JSON."""
        told = asdict(self)
        told["retrieval"]["lengths"] = list(self.retrieval.lengths)  # as it comes back from JSON
        return told


def make_settings(recipe: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunSettings:
    """Settings from a recipe's sections, with `section.key=value` overrides.

    Raises:
        UsageError: an unknown section or key, or a value of the wrong kind.
    """
    sections = {name: dict(recipe.get(name, {})) for name in SECTIONS}
    for text in overrides:
        section, key, value = _parse(text)
        sections[section][key] = value
    return RunSettings(
        extractor=sections["extractor"],
        network=sections["network"],
        training=_fill(TrainingSettings, sections["training"], "training"),
        retrieval=_fill(RetrievalSettings, sections["retrieval"], "retrieval"),
    )


def _parse(text: str) -> tuple[str, str, Any]:
    """Splits "network.dim=256"; the value is read as TOML, or as a plain word."""
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not dot or not key or section not in SECTIONS:
        raise UsageError(
            f"--set {text}: not of the form section.key=value",
            remedy=f"sections are {', '.join(SECTIONS)}; for example --set network.dim=256",
        )
    try:
        return section, key, tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return section, key, float(value)  # ".5" is no TOML, but everybody writes it
    except ValueError:
        return section, key, value.strip()


def _fill(kind: type[Any], values: Mapping[str, Any], section: str) -> Any:
    """The dataclass with the values given; numbers are brought to the kind of the default."""
    defaults = {item.name: item.default for item in fields(kind)}
    filled = {}
    for key, value in values.items():
        if key not in defaults:
            raise UsageError(
                f"{section}.{key} is no setting", remedy=f"known are {', '.join(defaults)}"
            )
        wanted = type(defaults[key])
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if wanted is tuple and isinstance(value, list):
            value = tuple(value)
        if type(value) is not wanted:
            kind_name = "list" if wanted is tuple else wanted.__name__
            raise UsageError(f"{section}.{key} is {value!r}, not of kind {kind_name}")
        filled[key] = value
    return kind(**filled)


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
