"""Models by name: where the zoo, a run folder or a checkpoint file is, and what lies in it."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmrtool.errors import MissingError, ModelError

CHECKPOINT = "model.safetensors"
BACKBONE = "backbone.safetensors"
RECIPE = "recipe.toml"
CARD = "README.md"


@dataclass(frozen=True)
class ModelRef:
    """A model's files; `checkpoint` and `backbone_weights` are None where there are none."""

    name: str
    folder: Path
    checkpoint: Path | None
    backbone_weights: Path | None
    recipe: dict[str, Any] = field(default_factory=dict)

    @property
    def zero_shot(self) -> bool:
        """Whether it needs no weights of its own: its recipe has a section `labels`."""
        return self.checkpoint is None and "labels" in self.recipe

    def require_checkpoint(self) -> Path:
        """The checkpoint's path; MissingError where the model has only a recipe."""
        if self.checkpoint is None:
            raise MissingError(
                f"model '{self.name}' has a recipe but no weights here",
                remedy=f"Train it: vmrtool train --recipe {self.name} … --out RUN, then use "
                "--model RUN.",
            )
        return self.checkpoint


def zoo_folder() -> Path:
    """The folder of the model zoo: `vmrtool/_models` when installed, the repository's `models`."""
    package = Path(__file__).parent.parent
    packaged = package / "_models"
    return packaged if packaged.is_dir() else package.parent / "models"


def zoo() -> list[str]:
    """Names of the zoo's models, those with a recipe, sorted."""
    return sorted(path.parent.name for path in zoo_folder().glob(f"*/{RECIPE}"))


def find_model(ref: str | os.PathLike[str]) -> ModelRef:
    """The model `ref` names: one of the zoo, a run folder, or a checkpoint file.

    Raises:
        MissingError: there is no such model.
        ModelError: its recipe cannot be read.
    """
    name = os.fspath(ref)
    if name in zoo():
        return _in_folder(zoo_folder() / name, name)
    path = Path(name).expanduser()
    if path.is_file():
        backbone = path.parent / BACKBONE
        return ModelRef(
            name=path.parent.name if path.name == CHECKPOINT else path.stem,
            folder=path.parent,
            checkpoint=path,
            backbone_weights=backbone if backbone.is_file() else None,
            recipe=_recipe(path.parent),
        )
    if path.is_dir() and any((path / file).is_file() for file in (CHECKPOINT, RECIPE)):
        return _in_folder(path, path.resolve().name)
    where = f"the folder {path} holds no {CHECKPOINT}" if path.is_dir() else "no such model or file"
    raise MissingError(
        f"model '{name}': {where}",
        remedy=f"Known by name: {', '.join(zoo()) or 'none'}; or give a run folder or a checkpoint "
        "file.",
    )


def _in_folder(folder: Path, name: str) -> ModelRef:
    checkpoint, backbone = folder / CHECKPOINT, folder / BACKBONE
    return ModelRef(
        name=name,
        folder=folder,
        checkpoint=checkpoint if checkpoint.is_file() else None,
        backbone_weights=backbone if backbone.is_file() else None,
        recipe=_recipe(folder),
    )


def _recipe(folder: Path) -> dict[str, Any]:
    path = folder / RECIPE
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a recipe: {error}") from error
