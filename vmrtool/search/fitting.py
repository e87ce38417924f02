"""Which model answers for a catalog, and which of the catalog's features it reads."""

from vmrtool.assets import ModelRef, find_model, zoo
from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import ExtractorRow
from vmrtool.errors import MissingError, ModelError
from vmrtool.grounding.checkpoint import ExtractorSpec
from vmrtool.indexing.choice import DEFAULT_MODEL
from vmrtool.search.label_model import LABELS, has_head
from vmrtool.search.labels import Model


def choose_model(catalog: Catalog, wanted: str | None) -> ModelRef:
    """The model to search with: the one asked for, else the catalog's own, else the default.

    Where that is not here, it is the zero-shot model, if the catalog's features have class scores.

    Raises:
        MissingError: there is no such model, or it has no weights here.
    """
    ref = wanted or catalog.model
    if ref is not None:
        model = find_model(ref)
        if not model.zero_shot:
            model.require_checkpoint()
        return model
    if DEFAULT_MODEL in zoo():
        model = find_model(DEFAULT_MODEL)
        if model.checkpoint is not None:
            return model
    if LABELS in zoo() and has_head(catalog):
        return find_model(LABELS)
    extractor = catalog.extractor
    features = f" for its features (backbone {extractor.backbone})" if extractor else ""
    raise MissingError(
        f"{catalog.path}: the catalog has no grounding model{features}, and the default model "
        f"'{DEFAULT_MODEL}' is not here",
        remedy="Train one on this catalog with `vmrtool train`, or name one with --model: a run "
        f"folder, a model.safetensors, or one of the zoo ({', '.join(zoo()) or 'empty here'}).",
    )


def choose_extractor(catalog: Catalog, model: Model, ref: str) -> ExtractorRow:
    """The extractor whose features the model reads: the one in use where it fits, else the latest.

    `catalog` has been indexed; `ref` is how the model is called, as `find_model` takes it.

    Raises:
        ModelError: the catalog holds only features that the model was not made for.
    """
    rows = catalog.extractors()
    in_use = catalog.extractor or rows[-1]
    fitting = [row for row in rows if not model.extractor.differences(_spec(row))]
    if fitting:
        return in_use if in_use in fitting else fitting[-1]
    differences = model.extractor.differences(_spec(in_use))
    raise ModelError(
        f"model '{ref}' does not fit {catalog.path}: it was made for " + "; ".join(differences),
        remedy=f"Index the videos for it: vmrtool index DIR --model {ref}; or search with a model "
        "made for the catalog's features.",
    )


def _spec(row: ExtractorRow) -> ExtractorSpec:
    return ExtractorSpec(row.backbone, row.weights_sha256, row.settings)
