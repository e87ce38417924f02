"""Settings from outside: which catalog a command works on, and where assets lie."""

import os
from pathlib import Path

from vmrtool.errors import MissingError

CATALOG_NAME = "vmrtool.db"
CATALOG_VARIABLE = "VMRTOOL_CATALOG"
ASSETS_VARIABLE = "VMRTOOL_ASSETS"


def find_catalog(explicit: Path | None = None, *, create: bool = False) -> Path:
    """The catalog to work on.

    It is `explicit`, else what $VMRTOOL_CATALOG names, else the nearest vmrtool.db in this folder
    or one above. With `create`, where there is none, it is to be made in this folder.

    Raises:
        MissingError: there is none, and `create` was not asked for.
    """
    if explicit is None and os.environ.get(CATALOG_VARIABLE):
        explicit = Path(os.environ[CATALOG_VARIABLE])
    if explicit is not None:
        path = explicit.expanduser().absolute()
        if not create and not path.exists():
            raise MissingError(
                f"{path}: no such catalog", remedy=f"Make one: vmrtool index DIR --catalog {path}"
            )
        return path
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / CATALOG_NAME).is_file():
            return folder / CATALOG_NAME
    if create:
        return here / CATALOG_NAME
    raise MissingError(
        f"no catalog: there is no {CATALOG_NAME} in {here} or above",
        remedy=f"Make one: vmrtool index DIR; or name one with --catalog or ${CATALOG_VARIABLE}.",
    )


def assets_folder() -> Path | None:
    """The folder that $VMRTOOL_ASSETS names, where weights lie by name; None where it is unset."""
    folder = os.environ.get(ASSETS_VARIABLE)
    return Path(folder).expanduser() if folder else None
