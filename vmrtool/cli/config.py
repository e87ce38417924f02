"""`vmrtool config`: which settings are in effect, and where each comes from."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from vmrtool.cli.catalog import CatalogOption, JsonOption, print_json


def config(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Defaults too, not only what is set.")
    ] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """The settings in effect, and where each comes from: environment, a file, or the default."""
    from vmrtool.config import find_catalog

    told = effective(context.find_root(), [f"--catalog={catalog}"] if catalog else [])
    told["catalog"] = str(find_catalog(catalog, create=True))
    if print_json(as_json, told):
        return
    for file in told["files"]:
        typer.echo(f"{file['path']}{'' if file['there'] else ' (not there)'}")
    for row in told["options"]:
        if everything or row["source"] != "default":
            name = " ".join((*row["command"], f"--{row['option']}"))
            typer.echo(f"{name} = {json.dumps(row['value'])}  ({row['source']})")
    for name, value in told["environment"].items():
        typer.echo(f"${name} = {value}")


def effective(root: Any, words: list[str]) -> dict[str, Any]:
    """Every option's value without flags, as the JSON object `vmrtool.config/1`."""
    from vmrtool.cli import settings
    from vmrtool.config import ASSETS_VARIABLE, CATALOG_VARIABLE, OFFLINE_VARIABLE

    loaded = settings.load(root.command, root, words)
    rows = []
    for command, key, param in settings.options(root.command):
        place = (command, key)
        if place in loaded.sources:
            value, source = loaded.sources[place].value, loaded.sources[place].source
        elif not command and os.environ.get(f"VMRTOOL_{key.upper()}"):
            value, source = os.environ[f"VMRTOOL_{key.upper()}"], f"$VMRTOOL_{key.upper()}"
        else:
            value, source = settings.plain(param.default), "default"
        rows.append({"command": list(command), "option": key, "value": value, "source": source})
    return {
        "schema": "vmrtool.config/1",
        "files": [{"path": str(path), "there": path.is_file()} for path in loaded.files],
        "options": rows,
        "environment": {
            name: os.environ[name]
            for name in (CATALOG_VARIABLE, ASSETS_VARIABLE, OFFLINE_VARIABLE)
            if os.environ.get(name)
        },
    }
