"""Settings from outside: which catalog a command works on, and where assets lie."""

import os
from pathlib import Path

from vmrtool.errors import MissingError

CATALOG_NAME = "vmrtool.db"
CATALOG_VARIABLE = "VMRTOOL_CATALOG"
ASSETS_VARIABLE = "VMRTOOL_ASSETS"
OFFLINE_VARIABLE = "VMRTOOL_OFFLINE"


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


def default_workers() -> int:
    """Videos decoded at once where nothing is said."""
    return min(8, os.cpu_count() or 1)


def mirror() -> Path | str | None:
    """What $VMRTOOL_ASSETS names: a folder with assets, or a base URL; None where it is unset."""
    named = os.environ.get(ASSETS_VARIABLE)
    if not named:
        return None
    return named.rstrip("/") if "://" in named else Path(named).expanduser()


def offline() -> bool:
    """Whether $VMRTOOL_OFFLINE forbids downloads."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "false", "no", "off")


def cache_folder() -> Path:
    """The folder that downloaded files are kept in, the user's own; it need not exist."""
    from platformdirs import user_cache_path

    return user_cache_path("vmrtool", appauthor=False)
