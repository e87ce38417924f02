"""The model `labels` made ready: where its class head is, and how names are compared here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmrtool.assets import ModelRef, find_asset
from vmrtool.assets.cache import here
from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import ExtractorRow
from vmrtool.errors import CatalogError, MissingError, ModelError, UsageError, VmrtoolError
from vmrtool.features.class_head import ClassHead, head_key
from vmrtool.grounding.checkpoint import ExtractorSpec
from vmrtool.search.labels import LabelModel
from vmrtool.text.compact import pulled_vectors
from vmrtool.text.likeness import (
    WAYS,
    Likeness,
    Way,
    by_glove,
    by_text_model,
    by_words,
    read_glove,
)
from vmrtool.text.states import sentence_vectors, text_model_here

LABELS = "labels"
"""Name of the zero-shot model, and of its section in a recipe."""


def open_labels(ref: ModelRef, catalog: Catalog) -> LabelModel:
    """The zero-shot model for the features that a catalog has in use.

    Raises:
        MissingError: there are no such features, or no class head and class names for them.
        ModelError: the recipe says what cannot be.
    """
    rows = catalog.extractors()
    extractor = catalog.extractor or (rows[-1] if rows else None)
    if extractor is None:
        raise MissingError(
            f"{catalog.path}: the catalog holds no features yet",
            remedy="Fill it: vmrtool index DIR",
        )
    head = find_head(catalog, extractor)
    return LabelModel(
        head,
        _likeness(head.names, ref.recipe.get(LABELS, {}), ref.name),
        ExtractorSpec(extractor.backbone, extractor.weights_sha256, extractor.settings),
        ref.name,
    )


def announcement(model: LabelModel) -> str:
    """What the user is told before the first answer, in a sentence."""
    ways = {
        "words": "words in common (by their meaning once `vmrtool data pull glove` has been run)",
        "glove": "GloVe",
        "sentence-transformers": "a sentence-transformers model",
    }
    return (
        f"Model {model.name} is zero-shot: nothing was trained. It compares the query with the "
        f"names of the {len(model.head.names)} classes of backbone {model.extractor.backbone} by "
        f"{ways[model.likeness.way]}."
    )


def find_head(catalog: Catalog, extractor: ExtractorRow) -> ClassHead:
    """The last layer of the backbone that made an extractor's features.

    It is the one that `index` kept in the catalog. For catalogs made before it did that, it is read
    from the backbone's weights where these are here, and then kept as well.

    Raises:
        MissingError: there is none.
        ModelError: what the catalog holds is not one.
    """
    stored = catalog.setting(head_key(extractor.weights_sha256))
    if stored is not None:
        try:
            return ClassHead.from_json(stored)
        except ModelError as error:
            raise ModelError(
                f"{catalog.path}: {error}", remedy="Index again: vmrtool index DIR"
            ) from error
    head = _from_weights(catalog, extractor)
    if head is None:
        raise MissingError(
            f"{catalog.path}: there are no class scores for its features (backbone "
            f"{extractor.backbone}), which the zero-shot model labels needs",
            remedy="Index again with the weights at hand (vmrtool index DIR), or with a backbone "
            "that has class names (--backbone i3d), or train a model with `vmrtool train`.",
        )
    try:
        with Catalog.open(catalog.path, readonly=False) as writer:
            writer.remember(**{head_key(extractor.weights_sha256): head.to_json()})
    except CatalogError:
        pass  # read again next time
    return head


def has_head(catalog: Catalog) -> bool:
    """Whether the features that a catalog has in use have a class head here.

    One that is stored is not looked into: whether it can be read shows when it is.
    """
    if catalog.extractor is None:
        return False
    if catalog.setting(head_key(catalog.extractor.weights_sha256)) is not None:
        return True
    try:
        find_head(catalog, catalog.extractor)
    except MissingError:
        return False
    return True


def _from_weights(catalog: Catalog, extractor: ExtractorRow) -> ClassHead | None:
    """The head from the file that the catalog was filled with, or the published one; if it is here.

    Nothing is downloaded for it.
    """
    from vmrtool.features.backbones import BACKBONES, load_backbone

    weights = catalog.setting("weights")
    if weights is None and extractor.backbone in BACKBONES:
        known = here(find_asset(BACKBONES[extractor.backbone].shares or extractor.backbone))
        if known is None:
            return None
        weights = str(known)
    try:
        backbone = load_backbone(extractor.backbone, weights)
    except VmrtoolError:
        return None
    same = backbone.weights_sha256 == extractor.weights_sha256
    return backbone.head if same else None


def _likeness(names: tuple[str, ...], settings: Mapping[str, Any], model: str) -> Likeness:
    """The way to compare that the recipe names; with "auto" the first that is here."""
    wanted = settings.get("text", "auto")
    text_model = str(settings.get("text_model", "all-MiniLM-L6-v2"))
    if wanted not in ("auto", *WAYS):
        raise UsageError(
            f"model '{model}': labels.text is {wanted!r}",
            remedy=f"It can be auto, {', '.join(WAYS)}",
        )
    for way in WAYS if wanted == "auto" else (wanted,):
        try:
            return _by(way, names, text_model, only_here=wanted == "auto")
        except MissingError:
            if wanted != "auto":
                raise
    return by_words(names)


def _by(way: Way, names: tuple[str, ...], text_model: str, *, only_here: bool) -> Likeness:
    """One way to compare; with `only_here` no text model is looked for elsewhere.

    Raises:
        MissingError: what it needs is not here.
    """
    if way == "sentence-transformers":
        if only_here and not text_model_here(text_model):
            raise MissingError(f"there is no text model {text_model} here")

        def embed(texts: Any) -> NDArray[np.floating]:
            return sentence_vectors(text_model, texts)

        return by_text_model(names, embed)
    if way == "glove":
        path = pulled_vectors()
        if path is None:
            raise MissingError(
                "there are no word vectors here", remedy="Get them: vmrtool data pull glove"
            )
        return by_glove(names, read_glove(path))
    return by_words(names)
