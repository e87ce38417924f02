"""Recipes: TOML files that hold the settings of a run, by a zoo model's name or by path."""

import tomllib
from pathlib import Path
from typing import Any

from vmrtool.assets import find_model
from vmrtool.errors import UsageError
from vmrtool.training.settings import SECTIONS


def load_recipe(ref: str) -> dict[str, Any]:
    """The sections of a recipe: of the zoo's model `ref`, or of the TOML file at that path.

    Raises:
        UsageError: it is neither, or has a section that no run reads.
        MissingError: no model of that name.
    """
    path = Path(ref)
    if path.suffix == ".toml" or path.is_file():
        try:
            recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(
                f"--recipe {ref}: cannot be read ({error})",
                remedy="a recipe is a TOML file, or the name of a model that has one",
            ) from error
    else:
        recipe = find_model(ref).recipe
        if not recipe:
            raise UsageError(f"--recipe {ref}: this model has no recipe.toml")
    unread = [name for name in recipe if name not in SECTIONS and isinstance(recipe[name], dict)]
    if unread:
        raise UsageError(
            f"--recipe {ref}: unknown section {', '.join(unread)}",
            remedy=f"sections are {', '.join(SECTIONS)}",
        )
    return recipe
