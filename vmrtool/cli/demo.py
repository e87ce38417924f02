"""`vmrtool demo render`: write the procedural demo archive "blocks"."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vmrtool.cli.console import message_console

demo_app = typer.Typer(
    help="Render a procedural archive of videos with queries, to try vmrtool on.",
    no_args_is_help=True,
)


@demo_app.callback()
def _group() -> None:
    """Keeps `render` a command of its own."""


@demo_app.command()
def render(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if need be.")],
    videos: Annotated[int, typer.Option(help="How many videos.")] = 20,
    seed: Annotated[int, typer.Option(help="Another seed, another archive.")] = 0,
    rounds: Annotated[
        int, typer.Option(help="Ask so many times, each in other words; for training.")
    ] = 1,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at work.", show_default="one a core")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Render DIR/*.mp4 and DIR/queries.jsonl, which says what happens in them and when."""
    import sys

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from vmrtool.demo.archive import QUERIES, render_archive

    columns = ("rendering", BarColumn(), MofNCompleteColumn(), "videos", TimeRemainingColumn())
    with Progress(*columns, console=message_console(), transient=True) as progress:
        task = progress.add_task("", total=videos)
        summary = render_archive(
            directory,
            videos,
            seed,
            jobs,
            on_video=lambda _: progress.advance(task),
            rounds=rounds,
        )
    if as_json or not sys.stdout.isatty():
        result = {
            "schema": "vmrtool.demo/1",
            "directory": str(summary.directory.resolve()),
            "videos": len(summary.videos),
            "seconds_of_video": summary.seconds_of_video,
            "queries": summary.queries,
            "temporal_queries": summary.temporal_queries,
            "events": summary.events,
        }
        typer.echo(json.dumps(result))
    else:
        typer.echo(
            f"{len(summary.videos)} videos, {summary.seconds_of_video / 60:.1f} minutes, "
            f"{summary.queries} queries in {summary.directory / QUERIES}"
        )
