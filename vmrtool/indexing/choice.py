"""Which extractor fills a catalog: as the user asks, else as the catalog remembers, else i3d."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vmrtool.assets import SILENT, Progress, find_asset, find_model, weights_path, zoo
from vmrtool.catalog import Catalog
from vmrtool.errors import AssetError, ModelError, UsageError, VmrtoolError
from vmrtool.features.class_head import head_key
from vmrtool.indexing.source import ExtractorSource

if TYPE_CHECKING:
    from vmrtool.features.backbones import Backbone

DEFAULT_BACKBONE = "i3d"
DEFAULT_MODEL = "charades"
DEFAULT_SAMPLING = "windows"
# What catalogs and recipes mean that do not say it.
_OLD_PRECISION = "float32"


class Spec(Protocol):
    """The features that a grounding model reads: which backbone's, and with which settings."""

    @property
    def backbone(self) -> str: ...  # noqa: D102
    @property
    def weights_sha256(self) -> str | None: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, Any]: ...  # noqa: D102


ReadSpec = Callable[[Path], Spec]
"""Reads the spec of a grounding model from its checkpoint."""


@dataclass(frozen=True)
class Choice:
    """What makes the features: asked for, or remembered. None where nothing was said."""

    model: str | None = None
    backbone: str | None = None
    weights: Path | None = None
    stride: int | None = None
    precision: str | None = None
    sampling: str | None = None
    weights_sha256: str | None = None

    @classmethod
    def remembered(cls, catalog: Path) -> "Choice":
        """What the catalog at this path was last filled with; nothing where there is none.

        Raises:
            CatalogError: it cannot be read.
        """
        if not catalog.exists() or catalog.stat().st_size == 0:
            return cls()
        with Catalog.open(catalog) as opened:
            weights = opened.setting("weights")
            extractor = opened.extractor
            return cls(
                model=opened.model,
                backbone=opened.setting("backbone"),
                weights=None if weights is None else Path(weights),
                stride=opened.setting("stride"),
                precision=opened.setting("precision"),
                sampling=opened.setting("sampling"),
                weights_sha256=extractor.weights_sha256 if extractor else None,
            )


def find_extractor(
    asked: Choice,
    before: Choice,
    *,
    device: str,
    batch_size: int | None,
    read_spec: ReadSpec,
    tell: Callable[[str], None],
    progress: Progress = SILENT,
    compiled: bool = False,
    for_search: bool = True,
    timeout_s: float | None = None,
) -> ExtractorSource:
    """Load the extractor to index with.

    A model that is asked for settles everything. A backbone, weights, stride, sampling or
    precision that are asked for settle that, and the catalog's model stays only where it fits. Else
    it is what the catalog remembers; where it remembers nothing, the model "charades" if it is
    here, else i3d, in the precision that suits the device.

    Args:
        asked: what the command line says.
        before: what the catalog remembers.
        device: as `choose_devices` takes it.
        batch_size: windows a batch; None for what fits the device.
        read_spec: reads what a model was trained on.
        tell: told in lines what was chosen and why, and what the user should know.
        progress: told of weights that have to be downloaded.
        compiled: whether `torch.compile` is to make the backbone faster.
        for_search: whether the features are to be searched, so that it matters which grounding
            model reads them.
        timeout_s: seconds that decoding one video may take; None for what its length allows.

    Raises:
        UsageError: values that are none, or contradict each other.
        MissingError: there is no such model, or its weights cannot be had.
        ModelError: weights that do not fit.
    """
    settled = (asked.backbone, asked.stride, asked.precision, asked.sampling)
    if asked.model is not None and any(settled):
        raise UsageError(
            "--model settles backbone, stride, sampling and precision",
            remedy="Leave out --model, or --backbone, --stride, --sampling and --precision.",
        )
    finder = _Finder(
        *(asked, before, device, batch_size, read_spec, tell, progress, compiled, for_search),
        timeout_s,
    )
    if asked.model is not None:
        return finder.for_model(asked.model)
    if asked == Choice():
        if before.backbone is not None:
            return finder.as_before()
        if _is_here(DEFAULT_MODEL):
            return finder.for_model(DEFAULT_MODEL)
    return finder.alone()


@dataclass(frozen=True)
class _Finder:
    """The ways to an extractor; fields as the arguments of `find_extractor`."""

    asked: Choice
    before: Choice
    device: str
    batch_size: int | None
    read_spec: ReadSpec
    tell: Callable[[str], None]
    progress: Progress
    compiled: bool
    for_search: bool
    timeout_s: float | None

    def for_model(self, name: str) -> ExtractorSource:
        """The extractor that a grounding model reads the features of."""
        model = find_model(name)
        spec = None if model.checkpoint is None else self.read_spec(model.checkpoint)
        recipe = dict(model.recipe.get("extractor", {}))
        backbone = spec.backbone if spec else recipe.get("backbone")
        settings = spec.settings if spec else recipe
        if not backbone:
            raise ModelError(
                f"model '{name}' does not say which backbone it reads the features of",
                remedy="Choose one: --backbone NAME.",
            )
        source = self._load(
            # A path is remembered so that it holds from any folder.
            model=name if name in zoo() else str(Path(name).expanduser().absolute()),
            backbone=backbone,
            weights=self._weights(backbone, model.backbone_weights),
            stride=settings.get("stride"),
            sampling=settings.get("sampling", DEFAULT_SAMPLING),
            precision=settings.get("precision", _OLD_PRECISION),
        )
        misfits = _misfits(spec, source) if spec else []
        if misfits:
            raise ModelError(
                f"model '{name}' was made for other features than can be made here: "
                + "; ".join(misfits),
                remedy="Give the backbone weights that it was trained with: --weights FILE.",
            )
        if spec is None and self.for_search and not model.zero_shot:
            self.tell(
                f"note: model '{name}' has no grounding weights here yet: the videos can be "
                "indexed for it, and searched once it is trained"
            )
        return source

    def alone(self) -> ExtractorSource:
        """A backbone by itself, and the grounding model that fits it, if there is one."""
        asked, before = self.asked, self.before
        backbone = asked.backbone or before.backbone or DEFAULT_BACKBONE
        if backbone != before.backbone:
            before = Choice(model=before.model)
        stride = asked.stride or before.stride
        sampling = asked.sampling or before.sampling or DEFAULT_SAMPLING
        source = self._load(
            model=None,
            backbone=backbone,
            weights=self._weights(backbone),
            stride=stride,
            sampling=sampling,
            precision=asked.precision
            or before.precision
            or self._read_precision(backbone, stride, sampling),
        )
        if not self.for_search:
            return source
        model = _fitting(source, before.model, self.read_spec)
        head = head_key(source.weights_sha256) in source.remember
        if model is None and head:
            self.tell(
                "note: no grounding model for these features is here; search will take the "
                "zero-shot model labels until one is trained (`vmrtool train`)"
            )
        elif model is None:
            ready = ", ".join(name for name in zoo() if _is_here(name))
            self.tell(
                "note: no grounding model for these features is here; search needs one: train it "
                "with `vmrtool train`" + (f", or index with --model ({ready})" if ready else "")
            )
        return replace(source, remember={**source.remember, "model": model})

    def as_before(self) -> ExtractorSource:
        """What the catalog was last filled with, which must not have changed meanwhile."""
        before = self.before
        backbone = before.backbone or DEFAULT_BACKBONE
        source = self._load(
            model=before.model,
            backbone=backbone,
            weights=self._weights(backbone),
            stride=before.stride,
            sampling=before.sampling or DEFAULT_SAMPLING,
            precision=before.precision or _OLD_PRECISION,
        )
        if before.weights_sha256 not in (None, source.weights_sha256):
            again = f"--model {before.model}" if before.model else f"--backbone {backbone}"
            raise ModelError(
                f"the weights of backbone '{backbone}' are not those the catalog was filled with",
                remedy=f"To index every video again with the new ones: {again}; else name the old "
                "file: --weights FILE.",
            )
        return source

    def _load(
        self,
        *,
        model: str | None,
        backbone: str,
        weights: Path | None,
        stride: int | None,
        sampling: str,
        precision: str,
    ) -> ExtractorSource:
        from vmrtool.features.backbones import load_backbone
        from vmrtool.features.device import choose_devices, choose_precision
        from vmrtool.features.extract import Extractor

        places, reason = choose_devices(self.device)
        chosen, why = choose_precision(precision, places[0])
        network = load_backbone(backbone, weights, places[0], chosen)
        if self.compiled:
            network.compile()
        extractor = Extractor(
            network,
            stride=stride,
            sampling=sampling,
            batch_size=self.batch_size,
            devices=places[1:],
            timeout_s=self.timeout_s,
        )
        for_model = f" for model {model}" if model else ""
        dense = ", sampled densely" if sampling == "dense" else ""
        self.tell(f"features: {backbone}, stride {extractor.stride}{dense}, {chosen}{for_model}")
        self.tell(f"device: {', '.join(map(str, places))} ({reason})")
        if precision != chosen:
            self.tell(f"precision: {chosen} ({why}; --precision float32 or bfloat16 settles it)")
        return ExtractorSource(
            backbone=backbone,
            weights_sha256=network.weights_sha256,
            settings=extractor.settings,
            extractor=extractor,
            remember={
                "model": model,
                "backbone": backbone,
                "weights": None if weights is None else str(weights.absolute()),
                "stride": extractor.stride,
                "sampling": sampling,
                "precision": chosen,
                **_head_of(network),
            },
        )

    def _read_precision(self, backbone: str, stride: int | None, sampling: str) -> str:
        """The precision that a grounding model here wants such features in, else "auto"."""
        for _, spec in _specs(self.before.model, self.read_spec):
            settings = {"sampling": DEFAULT_SAMPLING, **spec.settings}
            same = settings["sampling"] == sampling and stride in (None, settings.get("stride"))
            if spec.backbone == backbone and same:
                return str(settings.get("precision", _OLD_PRECISION))
        return "auto"

    def _weights(self, backbone: str, own: Path | None = None) -> Path | None:
        """The weights file of a backbone; None for one that the program brings with it.

        That is the file asked for, else the model's `own`, else the one that the catalog was
        filled with, else the published one, whose terms are then told.

        Raises:
            AssetError: it cannot be had.
        """
        from vmrtool.features.published import BACKBONES

        if self.asked.weights is not None or own is not None:
            return self.asked.weights or own
        before = self.before.weights if self.before.backbone == backbone else None
        if before is not None and before.is_file():
            return before
        if backbone not in BACKBONES:
            return None
        try:
            published = BACKBONES[backbone].shares or backbone
            path = weights_path(published, progress=self.progress)
        except AssetError as error:
            raise type(error)(
                f"backbone '{backbone}' needs its weights"
                + (f" ({before} is gone)" if before else "")
                + f": {error}",
                remedy=f"{error.remedy} Or --weights FILE; or a model that brings its own: "
                "--model blocks.",
            ) from error
        asset = find_asset(published)
        self.tell(f"weights: {asset.file} of {asset.homepage} ({asset.licence})")
        return path


def _head_of(network: "Backbone") -> dict[str, Any]:
    """The backbone's last layer, for the zero-shot model; nothing where it has none with names."""
    if network.head is None:
        return {}
    return {head_key(network.weights_sha256): network.head.to_json()}


def _is_here(name: str) -> bool:
    return name in zoo() and find_model(name).checkpoint is not None


def _fitting(source: ExtractorSource, remembered: str | None, read_spec: ReadSpec) -> str | None:
    """A grounding model that reads exactly these features: the catalog's own first."""
    fitting = (name for name, spec in _specs(remembered, read_spec) if not _misfits(spec, source))
    return next(fitting, None)


def _specs(remembered: str | None, read_spec: ReadSpec) -> Iterator[tuple[str, Spec]]:
    """The trained grounding models that are here, the catalog's own first."""
    for name in (remembered, *zoo()):
        if name is None:
            continue
        try:
            checkpoint = find_model(name).checkpoint
            if checkpoint is not None:
                yield name, read_spec(checkpoint)
        except VmrtoolError:
            continue  # a model that cannot be read fits nothing


def _misfits(spec: Spec, source: ExtractorSource) -> Sequence[str]:
    """In what the features that a model wants differ from those that an extractor makes."""
    wanted = {"backbone": spec.backbone, "weights": spec.weights_sha256, **spec.settings}
    made = {"backbone": source.backbone, "weights": source.weights_sha256, **source.settings}
    return [
        f"{name} {wanted[name]}, not {made[name]}"
        for name in wanted
        if wanted[name] is not None and name in made and wanted[name] != made[name]
    ]
