"""What the shell offers after TAB: names of models, backbones, data sets and videos. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

DATASETS = ("activitynet", "charades")


def models(incomplete: str) -> list[str]:
    """Models of the zoo, and paths."""
    from vmrtool.assets.models import zoo

    return [*_starting(incomplete, zoo()), *_paths(incomplete)]


def names(incomplete: str) -> list[str]:
    """Models and assets."""
    from vmrtool.assets.models import zoo
    from vmrtool.assets.registry import ASSETS

    return _starting(incomplete, [*zoo(), *ASSETS])


def backbones(incomplete: str) -> list[str]:
    """Backbones by name, the demo archive's own too."""
    from vmrtool.features.published import BACKBONES

    return _starting(incomplete, [*BACKBONES, "blocks"])


def datasets(incomplete: str) -> list[str]:
    """Named data sets, and paths."""
    return [*_starting(incomplete, DATASETS), *_paths(incomplete)]


def pullable(incomplete: str) -> list[str]:
    """Data sets that can be pulled, and word vectors."""
    return _starting(incomplete, [*DATASETS, "glove"])


def videos(context: typer.Context, incomplete: str) -> list[str]:
    """Videos of the catalog: their names below their folders."""
    from vmrtool.catalog import Catalog
    from vmrtool.catalog.paths import display
    from vmrtool.config import find_catalog
    from vmrtool.errors import VmrtoolError

    named: Any = context.params.get("catalog")
    try:
        with Catalog.open(find_catalog(Path(named) if named else None)) as catalog:
            names = [display(row.path_bytes) for row in catalog.videos()]
    except VmrtoolError:
        return []
    return _starting(incomplete, names)


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _paths(incomplete: str) -> list[str]:
    """Files and folders, as the shell itself would offer them."""
    folder, _, start = incomplete.rpartition("/")
    here = Path(f"{folder}/" if folder or incomplete.startswith("/") else ".").expanduser()
    prefix = incomplete[: len(incomplete) - len(start)]
    try:
        found = sorted(here.iterdir())
    except OSError:
        return []
    return [
        f"{prefix}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(start) and (start or not path.name.startswith("."))
    ]
