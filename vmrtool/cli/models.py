"""`vmrtool models`: which models and weights there are, and getting those that are not here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmrtool.cli import completion
from vmrtool.cli.console import message_console

if TYPE_CHECKING:
    from vmrtool.assets.progress import Progress

models_app = typer.Typer(
    help="Models, backbone weights and other published files by name.", no_args_is_help=True
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
NamesArgument = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="As in models list.", autocompletion=completion.names),
]


@models_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """What is known by name: terms, source, size, and what of it is here."""
    from vmrtool.assets.listing import overview

    told = overview(_backbones())
    if _as_json(as_json, told):
        return
    _table(
        "models",
        ("name", "features", "weights"),
        [
            (
                row["name"],
                row["backbone"] or "",
                "none needed"
                if row["name"] == "labels"
                else "here"
                if row["weights"]
                else "to be trained",
            )
            for row in told["models"]
        ],
    )
    for kind, title in (
        ("weights", "backbone weights"),
        ("vectors", "word vectors"),
        ("annotations", "annotations"),
    ):
        _table(
            title,
            ("name", "what it is", "size", "licence", "state"),
            [
                (
                    row["name"],
                    "\n".join([row["description"], *(text for _, text in _prepared(row))]),
                    _size(row["size"]),
                    row["licence"],
                    _state(row),
                )
                for row in told["assets"]
                if row["kind"] == kind
            ],
        )


@models_app.command()
def info(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="As in models list.", autocompletion=completion.names),
    ],
    as_json: JsonOption = False,
) -> None:
    """All about one: preprocessing, terms, source, checksum, where its file is."""
    from vmrtool.assets.listing import details

    told = details(name, _backbones())
    if told["kind"] == "model" and "labels" in told["settings"]:
        told["classes"] = _classes()
    if _as_json(as_json, told):
        return
    if "classes" in told:
        rows = [
            ("model", f"{name}: zero-shot, by the names of the backbone's classes"),
            ("recipe", told["recipe"]),
            ("card", told["card"] or "none"),
            *(
                (f"classes of {backbone}", ", ".join(names))
                for backbone, names in told["classes"].items()
            ),
        ]
    elif told["kind"] == "model":
        rows = [
            ("model", name),
            ("features", told["backbone"] or "not said"),
            ("weights", told["weights"] or "none here: train it, vmrtool train --recipe " + name),
            ("backbone", told["backbone_weights"] or "published weights"),
            ("recipe", told["recipe"] or "none"),
            ("card", told["card"] or "none"),
        ]
    else:
        checksum = told["checksum"] or "not published; that of the first file seen is held to"
        if told["checksum"] and not told["checksum_published"]:
            checksum += " (not published; as first seen)"
        state = {None: "not here", True: "intact", False: "NOT the expected file"}
        rows = [
            (told["kind"], f"{name}: {told['description']}"),
            *_prepared(told),
            ("licence", told["licence"]),
            ("source", told["source"]),
            *(("from", url) for url in told["urls"]),
            ("file", told["path"] or told["file"]),
            ("size", _size(told["size"])),
            ("checksum", checksum),
            ("state", state[told["intact"]]),
        ]
    _grid(rows)


@models_app.command()
def pull(names: NamesArgument, as_json: JsonOption = False) -> None:
    """Download what is not here yet, and compare its checksum."""

    from vmrtool.cli.downloads import Downloads
    from vmrtool.errors import VmrtoolError

    console = message_console()
    rows: list[dict[str, Any]] = []
    failed: list[tuple[str, VmrtoolError]] = []
    for name in names:
        try:
            with Downloads(console) as downloads:
                rows.append(_pulled(name, downloads))
        except VmrtoolError as error:
            failed.append((name, error))
    if not rows:
        raise failed[0][1]
    told = {
        "schema": "vmrtool.pull/1",
        "assets": rows,
        "failed": [{"name": name, "error": str(e), "remedy": e.remedy} for name, e in failed],
    }
    if not _as_json(as_json, told):
        for row in rows:
            typer.echo(f"{row['name']}: {row['path']} ({row['licence']})")
    for name, failure in failed:
        console.print(f"failed {name}: {failure}", style="red", markup=False)
        if failure.remedy:
            console.print(failure.remedy, style="dim", markup=False)
    if failed:
        raise typer.Exit(1)


@models_app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]", help="Only these; else all.", autocompletion=completion.names
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the checksums of the files that are here."""
    from vmrtool.assets.listing import verify as compare

    told = compare(names)
    if not _as_json(as_json, told):
        if not told["assets"]:
            typer.echo("nothing is here yet: vmrtool models pull NAME")
        for row in told["assets"]:
            if row["intact"]:
                typer.echo(f"{row['name']}: intact ({row['found']})")
            else:
                typer.echo(f"{row['name']}: {row['path']} is {row['found']}, not {row['expected']}")
    if not all(row["intact"] for row in told["assets"]):
        raise typer.Exit(1)


@models_app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file got by hand.")],
    name: Annotated[
        str | None,
        typer.Option(metavar="N", help="Which it is, where its file name does not tell."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take a published file that you have into the cache, its checksum compared."""
    from vmrtool.assets.cache import add as take
    from vmrtool.assets.cache import expected

    asset, path = take(file, name)
    told = {
        "schema": "vmrtool.add/1",
        "name": asset.name,
        "path": str(path),
        "checksum": expected(asset),
        "licence": asset.licence,
    }
    if not _as_json(as_json, told):
        typer.echo(f"{asset.name}: {path} ({asset.licence})")


def _pulled(name: str, downloads: Progress) -> dict[str, Any]:
    """Gets one and says what it is."""
    from vmrtool.assets import find_model, zoo
    from vmrtool.assets.cache import expected, obtain
    from vmrtool.assets.registry import find_asset

    checksum: str | None = None
    if name in zoo():
        path, licence = find_model(name).require_checkpoint(), "Apache-2.0"
    else:
        asset = find_asset(name)
        path, licence = obtain(asset, progress=downloads), asset.licence
        checksum = expected(asset)
    return {
        "name": name,
        "path": str(path),
        "size": path.stat().st_size,
        "licence": licence,
        "checksum": checksum,
    }


def _backbones() -> dict[str, dict[str, Any]]:
    from vmrtool.features.published import BACKBONES

    return {
        name: {"dim": info.dim, "preprocessing": info.preprocessing.to_json()}
        for name, info in BACKBONES.items()
    }


def _classes() -> dict[str, list[str]]:
    """Class names of the backbones that have them, in the order of their scores."""
    from vmrtool.assets import find_model
    from vmrtool.features.backbones import load_backbone
    from vmrtool.features.class_head import class_names
    from vmrtool.features.published import BACKBONES

    named = {name: list(class_names(name)) for name in BACKBONES}
    if find_model("blocks").backbone_weights is not None:
        head = load_backbone("blocks", device="cpu").head
        named["blocks"] = list(head.names) if head is not None else []
    return {name: names for name, names in named.items() if names}


def _as_json(asked: bool, told: dict[str, Any]) -> bool:
    if asked or not sys.stdout.isatty():
        typer.echo(json.dumps(told))
        return True
    return False


def _prepared(told: dict[str, Any]) -> list[tuple[str, str]]:
    """A backbone's features and preprocessing, in words."""
    if told["preprocessing"] is None:
        return []
    values = told["preprocessing"]
    kind, size = values["resize"]
    resized = f"shorter side to {size}" if kind == "short" else f"to {size[1]}x{size[0]}"
    crop = values["crop"]
    cropped = f", {crop[1]}x{crop[0]} from the centre" if crop else ""
    return [
        ("features", f"{told['dim']}-d"),
        ("clips", f"{values['frames']} frames at {values['fps']:g} a second"),
        ("pictures", f"{resized}{cropped}, in {values['scaling']}"),
    ]


def _state(row: dict[str, Any]) -> str:
    if row["path"] is None:
        return "not here"
    return "here" if row["checksum"] else "here, unchecked"


def _size(size: int | None) -> str:
    return "not known" if size is None else f"{size / 1e6:,.1f} MB"


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column == "size" else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table, markup=False)


def _grid(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    Console(highlight=False).print(grid)
