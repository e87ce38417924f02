"""`vmrtool data`: get the public data sets, and see what a data set holds."""

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

    from vmrtool.datasets.pull import PulledVectors

data_app = typer.Typer(help="Data sets: get them, look into them.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@data_app.command()
def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="charades, activitynet, or glove (word vectors).",
            autocompletion=completion.pullable,
        ),
    ],
    features: Annotated[
        bool,
        typer.Option("--features", help="Also public I3D features, and vectors of its words."),
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Where to, instead of your cache."),
    ] = None,
    words: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="glove: also the words of this JSONL data set or text file; repeatable.",
        ),
    ] = None,
    more: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="glove: also the N most frequent other words.",
            show_default="20000",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep downloaded archives once they are unpacked.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download a data set, its checksums compared; `train` and `eval` find it by name."""

    from vmrtool.cli.downloads import Downloads
    from vmrtool.datasets.named import NAMED
    from vmrtool.errors import UsageError

    if name not in (*NAMED, "glove"):
        raise UsageError(
            f"no data set '{name}' to pull", remedy=f"Known: {', '.join((*NAMED, 'glove'))}."
        )
    if name == "glove" and features:
        raise UsageError("--features: glove has none")
    if name != "glove" and (words or more is not None):
        raise UsageError(
            f"--words and --more: {name} is pulled whole", remedy="They are for: data pull glove"
        )
    console = message_console()
    told: dict[str, Any] = {"schema": "vmrtool.datapull/1", "dataset": name}
    with Downloads(console) as downloads:
        if name == "glove":
            told |= _pull_vectors(directory, words or [], more, keep, downloads)
        else:
            told |= _pull_data(name, directory, features, keep, downloads)
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(told))
        return
    for row in told["files"]:
        typer.echo(row["path"])
    if told["features"]:
        typer.echo(f"{told['features']['path']} ({told['features']['videos']:,} files)")
    if told["vectors"]:
        counts = told["vectors"]
        typer.echo(
            f"{counts['path']} ({counts['words']:,} words; {counts['absent']:,} have no vector)"
        )


@data_app.command()
def check(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="charades, activitynet, or a JSONL file.",
            autocompletion=completion.datasets,
        ),
    ],
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of a named data set's annotation files."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Catalog, HDF5 file or folder to find the videos in."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Count queries and videos, what is amiss in the annotations, videos without features."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress

    from vmrtool.datasets.check import check as look

    bars = Progress(
        "looking up", BarColumn(), MofNCompleteColumn(), "videos",
        console=message_console(), transient=True,
    )  # fmt: skip
    with bars:
        task = bars.add_task("", total=None, visible=False)
        told = look(
            dataset,
            annotations=annotations,
            features=features,
            on_video=lambda done, total: bars.update(
                task, completed=done, total=total, visible=True
            ),
        )
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(told))
    else:
        _print(told, Console(highlight=False))


def _pull_vectors(
    directory: Path | None, words: list[Path], more: int | None, keep: bool, downloads: Any
) -> dict[str, Any]:
    from vmrtool.assets.registry import find_asset
    from vmrtool.datasets.pull import (
        MORE_WORDS,
        pull_vectors,
        words_of_file,
        words_of_pulled,
    )

    asset = find_asset("glove")
    downloads.note(f"glove: {asset.licence}, {asset.homepage}")
    wanted = words_of_pulled().union(*(words_of_file(path) for path in words))
    more = MORE_WORDS if more is None else more
    done = pull_vectors(wanted, directory, more=more, keep=keep, progress=downloads)
    return {
        "directory": str(done.path.parent.absolute()),
        "licence": asset.licence,
        "non_commercial": asset.non_commercial,
        "files": [],
        "features": None,
        "vectors": _vectors(done),
    }


def _pull_data(
    name: str, directory: Path | None, features: bool, keep: bool, downloads: Any
) -> dict[str, Any]:
    from vmrtool.assets.registry import annotation_files
    from vmrtool.datasets.pull import pull_annotations, pull_features, pull_vectors, words_of

    first = annotation_files(name)[0]
    downloads.note(f"{name}: {first.licence}, {first.homepage}")
    files = pull_annotations(name, directory, progress=downloads)
    told: dict[str, Any] = {
        "directory": str(files[0][1].parent.absolute()),
        "licence": first.licence,
        "non_commercial": first.non_commercial,
        "files": [
            {"path": str(path.absolute()), "checksum": known.checksum} for known, path in files
        ],
        "features": None,
        "vectors": None,
    }
    if features:
        done = pull_features(name, directory, keep=keep, progress=downloads)
        downloads.note(f"features: {done.licence}, Zenodo record {done.record}")
        told["features"] = {
            "path": str(done.path.absolute()),
            "record": done.record,
            "licence": done.licence,
            "videos": done.videos,
            "left_out": list(done.left_out),
        }
        words = words_of(name, files[0][1].parent)
        vectors = pull_vectors(words, directory, keep=keep, progress=downloads)
        told["vectors"] = _vectors(vectors)
    return told


def _vectors(done: PulledVectors) -> dict[str, Any]:
    return {"path": str(done.path.absolute()), "words": done.words, "absent": done.absent}


def _print(told: dict[str, Any], out: Console) -> None:
    """The counts as a table, and under it what was mended and what is missing."""
    from rich import box
    from rich.table import Table

    from vmrtool.datasets.samples import fix_lines

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names = ("queries", "videos", "reversed", "overlong", "dropped")
    for name in ("split", *names, "no features"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for row in told["splits"]:
        found = row["features"]
        table.add_row(
            row["split"] or "all",
            *(f"{row[name]:,}" for name in names),
            "–" if found is None else f"{len(found['missing']):,}",
        )
    out.print(table)
    for row in told["splits"]:
        where = f"{row['split']}: " if row["split"] else ""
        for line in fix_lines(row["fixes"]):
            out.print(f"{where}{line}", markup=False, soft_wrap=True)
        found = row["features"]
        if found is None:
            continue
        dims = " and ".join(map(str, found["dims"])) or "none"
        out.print(
            f"{where}features of {found['videos']:,} videos, {found['snippets']:,} snippets, "
            f"width {dims}",
            markup=False,
        )
        if found["missing"]:
            out.print(f"{where}without: {', '.join(found['missing'][:5])} …", markup=False)
