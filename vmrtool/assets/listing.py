"""What is known of models and assets, as JSON values."""

from collections.abc import Mapping
from typing import Any

from vmrtool.assets.cache import expected, here, mismatch
from vmrtool.assets.checksum import checksum_of
from vmrtool.assets.models import CARD, RECIPE, find_model, zoo
from vmrtool.assets.registry import ASSETS, Asset, find_asset
from vmrtool.errors import MissingError

Backbones = Mapping[str, Mapping[str, Any]]
"""Of every backbone: its `dim` and `preprocessing`."""


def overview(backbones: Backbones) -> dict[str, Any]:
    """All models and assets; no file is read."""
    return {
        "schema": "vmrtool.models/1",
        "models": [_model(name) for name in zoo()],
        "assets": [_asset(asset, backbones) for asset in ASSETS.values()],
    }


def details(name: str, backbones: Backbones) -> dict[str, Any]:
    """All that is known of one, the checksum of its file compared.

    Raises:
        MissingError: there is no model and no asset of that name.
    """
    told: dict[str, Any]
    if name in ASSETS:
        asset = ASSETS[name]
        path = here(asset)
        told = _asset(asset, backbones) | {
            "urls": list(asset.urls),
            "intact": None if path is None else mismatch(asset, path) is None,
        }
        # Looking at the file may have been what made the checksum known.
        told["checksum"] = expected(asset)
    else:
        try:
            told = _model(name) | {"kind": "model", "settings": find_model(name).recipe}
        except MissingError as error:
            raise MissingError(
                f"'{name}' is no model and no asset",
                remedy=f"Known: {', '.join((*zoo(), *ASSETS))}; or a run folder.",
            ) from error
    return {"schema": "vmrtool.modelinfo/1", **told}


def verify(names: list[str] | None = None) -> dict[str, Any]:
    """Compares the checksums of the assets that are here, or of those named.

    Raises:
        MissingError: no asset of that name, or it is not here.
    """
    rows = []
    for asset in [find_asset(name) for name in names] if names else ASSETS.values():
        path = here(asset)
        if path is None:
            if names:
                raise MissingError(
                    f"{asset.name} ({asset.file}) is not here",
                    remedy=f"Get it: vmrtool models pull {asset.name}",
                )
            continue
        checksum = expected(asset)
        algorithm = "sha256" if checksum is None else checksum.partition(":")[0]
        rows.append(
            {
                "name": asset.name,
                "path": str(path),
                "expected": checksum,
                "found": checksum_of(path, algorithm),
                "intact": mismatch(asset, path) is None,
            }
        )
    return {"schema": "vmrtool.verify/1", "assets": rows}


def _model(name: str) -> dict[str, Any]:
    model = find_model(name)
    card = model.folder / CARD
    recipe = model.folder / RECIPE
    return {
        "name": name,
        "backbone": model.recipe.get("extractor", {}).get("backbone"),
        "recipe": str(recipe) if recipe.is_file() else None,
        "card": str(card) if card.is_file() else None,
        "weights": None if model.checkpoint is None else str(model.checkpoint),
        "backbone_weights": (
            None if model.backbone_weights is None else str(model.backbone_weights)
        ),
    }


def _asset(asset: Asset, backbones: Backbones) -> dict[str, Any]:
    path = here(asset)
    backbone = backbones.get(asset.name, {}) if asset.kind == "weights" else {}
    return {
        "name": asset.name,
        "kind": asset.kind,
        "description": asset.description,
        "file": asset.file,
        "size": asset.size if path is None else path.stat().st_size,
        "licence": asset.licence,
        "non_commercial": asset.non_commercial,
        "source": asset.homepage,
        "path": None if path is None else str(path),
        "checksum": expected(asset),
        "checksum_published": asset.checksum is not None,
        "dim": backbone.get("dim"),
        "preprocessing": backbone.get("preprocessing"),
    }
