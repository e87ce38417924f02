"""`vmrtool catalog`: look into the catalog, and tell it when an archive has moved."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmrtool.cli import completion
from vmrtool.cli.console import message_console

if TYPE_CHECKING:
    from rich.console import Console

catalog_app = typer.Typer(help="Look into the catalog, and tend it.", no_args_is_help=True)

CatalogOption = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", help="The catalog; else the nearest vmrtool.db."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@catalog_app.command()
def info(catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """What the catalog holds: folders, videos, model, extractor."""
    from vmrtool.catalog import Catalog
    from vmrtool.catalog.listing import info as tell
    from vmrtool.config import find_catalog

    with Catalog.open(find_catalog(catalog)) as opened:
        told = tell(opened)
    if print_json(as_json, told):
        return
    videos = ", ".join(f"{count:,} {state}" for state, count in told["videos"].items() if count)
    _table(
        ("catalog", f"{told['catalog']} ({told['bytes'] / 1e6:.1f} MB)"),
        ("videos", videos or "none"),
        ("length", f"{told['seconds_of_video'] / 3600:.2f} h, {told['snippets']:,} snippets"),
        ("features", _extractor(told["extractor"])),
        ("model", told["model"] or "none"),
        *(("folder", f"{root['path']} ({root['videos']:,})") for root in told["roots"]),
        *(
            ("vector index", f"{index['path']} ({index['bytes'] / 1e6:.1f} MB)")
            for index in told["indexes"]
        ),
    )


@catalog_app.command()
def show(
    video: Annotated[
        Path,
        typer.Argument(
            metavar="VIDEO",
            help="A path, or a name if unique.",
            autocompletion=completion.videos,
        ),
    ],
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is stored of one video: facts, extractor, snippets, failure."""
    from vmrtool.catalog import Catalog
    from vmrtool.catalog.listing import find_video
    from vmrtool.catalog.listing import show as tell
    from vmrtool.config import find_catalog

    with Catalog.open(find_catalog(catalog)) as opened:
        told = tell(opened, find_video(opened, video))
    if print_json(as_json, told):
        return
    spans = told["snippets"]
    failure = told["failure"]
    _table(
        ("video", told["video"]),
        ("state", told["state"]),
        ("length", "unknown" if told["duration_s"] is None else f"{told['duration_s']:.3f} s"),
        ("pictures", _pictures(told)),
        ("content", told["content_hash"] or "not read"),
        *((("cut short", told["truncated"]),) if told["truncated"] else ()),
        ("features", _extractor(told["extractor"])),
        ("snippets", f"{len(spans):,}"),
        *(
            (("failure", f"{failure['error']} ({failure['stage']}, {failure['attempts']} tries)"),)
            if failure
            else ()
        ),
    )
    for number, span in enumerate(spans):
        (seen_from, seen_to), (start, end) = span["seen"], span["cell"]
        typer.echo(
            f"{number:6}  cell {start:9.3f} {end:9.3f}   seen {seen_from:9.3f} {seen_to:9.3f}"
        )


@catalog_app.command()
def failures(catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Videos that could not be indexed, with the reason and what to do."""
    from vmrtool.catalog import Catalog
    from vmrtool.catalog.listing import failures as tell
    from vmrtool.catalog.paths import printable
    from vmrtool.config import find_catalog

    with Catalog.open(find_catalog(catalog)) as opened:
        told = tell(opened)
    if print_json(as_json, told):
        return
    if not told["failures"]:
        typer.echo("no failures")
    for row in told["failures"]:
        tries = "1 try" if row["attempts"] == 1 else f"{row['attempts']} tries"
        line = f"{row['path']}: {row['error']} ({row['stage']}, {tries}, {row['when']})"
        typer.echo(printable(line))
        if row["remedy"]:
            typer.echo(f"    {row['remedy']}")


@catalog_app.command()
def relocate(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Where the archive lay.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Where it lies now.")],
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the catalog that a folder of videos has moved; nothing is decoded again."""
    from vmrtool.catalog import Catalog
    from vmrtool.config import find_catalog

    path = find_catalog(catalog)
    with Catalog.open(path, readonly=False) as opened:
        done = opened.relocate(old, new)
    told = {
        "schema": "vmrtool.relocate/1",
        "catalog": str(path),
        "moved": done.moved,
        "found": done.found,
        "merged": done.merged,
    }
    if print_json(as_json, told):
        return
    typer.echo(f"{done.moved:,} moved to {new}, {done.found:,} of them found there")
    if done.merged:
        typer.echo(f"{done.merged:,} were known there already")


@catalog_app.command()
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT.db", help="The new catalog.")],
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART.db...", help="Catalogs of one extractor.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Join catalogs into a new one: what `index --shard` has made of an archive."""
    from rich.progress import Progress

    from vmrtool.catalog.merge import merge_catalogs

    with Progress(console=message_console(), transient=True) as bar:
        task = bar.add_task("merging", total=None)
        done = merge_catalogs(
            [part.absolute() for part in parts],
            out.absolute(),
            lambda count, total: bar.update(task, completed=count, total=total),
        )
    told = {
        "schema": "vmrtool.merge/1",
        "catalog": str(done.catalog),
        "parts": [str(part) for part in done.parts],
        "videos": done.videos,
        "contents": done.contents,
        "duplicates": done.duplicates,
        "bytes": done.catalog.stat().st_size,
    }
    if not print_json(as_json, told):
        twice = f", {done.duplicates:,} were in several parts" if done.duplicates else ""
        typer.echo(f"{done.videos:,} videos, {done.contents:,} contents{twice}: {done.catalog}")


@catalog_app.command("export-features")
def export_features(
    out: Annotated[Path, typer.Argument(metavar="OUT.h5", help="The file to write.")],
    catalog: CatalogOption = None,
    names: Annotated[
        str,
        typer.Option(
            metavar="stem|path", help="Name videos by file name, or by path below their folder."
        ),
    ] = "stem",
    as_json: JsonOption = False,
) -> None:
    """Write the features and their times as one HDF5 file that others can read."""
    from rich.progress import Progress

    from vmrtool.catalog import Catalog
    from vmrtool.config import find_catalog
    from vmrtool.datasets.export import export_features as export

    path = find_catalog(catalog)
    with (
        Catalog.open(path) as opened,
        Progress(console=message_console(), transient=True) as bar,
    ):
        task = bar.add_task("writing", total=None)
        done = export(
            *(opened, out),
            names=names,
            progress=lambda count, total: bar.update(task, completed=count, total=total),
        )
    told = {
        "schema": "vmrtool.export/1",
        "catalog": str(path),
        "out": str(done.out.absolute()),
        "bytes": done.out.stat().st_size,
        "videos": done.videos,
        "contents": done.contents,
        "snippets": done.snippets,
        "dim": done.dim,
    }
    if not print_json(as_json, told):
        typer.echo(
            f"{done.videos:,} videos, {done.snippets:,} snippets of {done.dim} values: {done.out}"
        )


def print_json(asked: bool, told: dict[str, Any]) -> bool:
    """Prints a result as JSON where it was asked for or stdout is no terminal; whether it did."""
    if asked or not sys.stdout.isatty():
        typer.echo(json.dumps(told))
        return True
    return False


def _table(*rows: tuple[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vmrtool.catalog.paths import printable

    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(Text(name, style="dim"), Text(printable(value), overflow="fold"))
    out: Console = Console(highlight=False)
    out.print(grid)


def _extractor(row: dict[str, Any] | None) -> str:
    if row is None:
        return "none yet"
    settings = ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in row["settings"].items()
        if value is not None
    )
    return f"{row['backbone']} ({settings}), weights {row['weights_sha256'][:12]}"


def _pictures(told: dict[str, Any]) -> str:
    if told["width"] is None:
        return "unknown"
    fps = "no rate" if told["fps"] is None else f"{told['fps']:.3f} a second"
    turned = f", turned {told['rotation']}" if told["rotation"] else ""
    return (
        f"{told['width']}x{told['height']}, {fps}, {told['codec']} in {told['container']}{turned}"
    )
