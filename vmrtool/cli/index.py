"""`vmrtool index`: bring the catalog up to date with folders of videos."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from vmrtool.cli import completion, supervision
from vmrtool.cli import extractor_options as options
from vmrtool.cli.console import message_console
from vmrtool.cli.extractor_options import find_source
from vmrtool.cli.index_display import following, print_failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from vmrtool.indexing.choice import Choice
    from vmrtool.indexing.report import IndexReport
    from vmrtool.indexing.shards import Shard
    from vmrtool.indexing.source import ExtractorSource

_ADDRESS = re.compile(r"auto|local|ray://\S+|[^/\s]+:\d+")


class IndexCommand(TyperCommand):
    """Lets `--ray` stand without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Gives a `--ray` that no address follows an empty one."""
        told = list(args)
        for place in reversed([i for i, word in enumerate(told) if word == "--ray"]):
            if not _ADDRESS.fullmatch("".join(told[place + 1 : place + 2])):
                told.insert(place + 1, "")
        return super().parse_args(ctx, told)


def index(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Folders or single files; s3://, gs:// and http(s):// too."
        ),
    ],
    catalog: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The catalog; else the nearest vmrtool.db.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|RUN|FILE",
            help="Index for this grounding model.",
            autocompletion=completion.models,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A backbone alone, e.g. i3d.",
            autocompletion=completion.backbones,
        ),
    ] = None,
    weights: options.Weights = None,
    stride: options.Stride = None,
    sampling: options.Sampling = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    compiled: options.Compiled = False,
    exclude: options.Exclude = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Take what is gone from DIR out of the catalog.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only part I of N of the videos.")
    ] = None,
    workers: options.Workers = None,
    batch_size: options.BatchSize = None,
    timeout: options.Timeout = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write where another host was writing: a network disk's."),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Extract on a Ray cluster: HOST:PORT, auto, or local for one started here; "
            "without ADDRESS $RAY_ADDRESS, else local.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Index videos: new and changed ones are decoded, the rest is known by name or content."""
    supervision.supervised()

    from rich.console import Console

    from vmrtool.addresses import as_path
    from vmrtool.config import find_catalog
    from vmrtool.indexing.choice import Choice
    from vmrtool.indexing.shards import Shard

    console = message_console()
    report = run_index(
        paths,
        find_catalog(catalog, create=True),
        Choice(model, backbone, weights, stride, precision, sampling),
        console,
        device=device,
        batch_size=batch_size,
        exclude=exclude or (),
        shard=None if shard is None else Shard.parse(shard),
        retry_failed=retry_failed,
        prune=prune,
        workers=workers,
        compiled=compiled,
        timeout=timeout,
        force=force,
        ray=ray,
    )
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(report.to_dict()))
        print_failures(report.failed, console)
    else:
        out = Console(soft_wrap=True, highlight=False)
        print_summary(report, out)
        print_failures(report.failed, out)
    if report.seen == 0:
        places = ", ".join(str(as_path(path)) for path in paths)
        console.print(f"note: no videos in {places}", style="yellow")
    if report.failed:
        raise typer.Exit(1)


def run_index(
    paths: Sequence[Path],
    catalog: Path,
    asked: Choice,
    console: Console,
    *,
    device: str,
    batch_size: int | None = None,
    exclude: Sequence[str] = (),
    shard: Shard | None = None,
    retry_failed: bool = False,
    prune: bool = False,
    workers: int | None = None,
    compiled: bool = False,
    timeout: float | None = None,
    force: bool = False,
    ray: str | None = None,
) -> IndexReport:
    """Indexes with progress on `console`; the arguments are the command's options.

    Raises:
        UsageError: `ray` and `compiled` are both asked for.
        MissingError: Ray is asked for and not installed.
        typer.Exit: Ctrl-C was pressed; what is done is kept, and told.
    """
    from vmrtool.config import default_workers
    from vmrtool.errors import UsageError
    from vmrtool.indexing.choice import Choice
    from vmrtool.indexing.pipeline import index as index_videos
    from vmrtool.indexing.ray_extractor import on_ray, require_ray

    if ray is not None:
        require_ray()
        if compiled:
            raise UsageError("--compile is for one machine: leave it out with --ray")

    def find() -> ExtractorSource:
        source = find_source(
            asked,
            Choice.remembered(catalog),
            console,
            device=device,
            batch_size=batch_size,
            compiled=compiled,
            timeout_s=timeout,
        )
        return source if ray is None else on_ray(source, ray, gpus=device != "cpu")

    with following(console) as display:
        return index_videos(
            paths,
            catalog,
            find,
            exclude=exclude,
            shard=shard,
            retry_failed=retry_failed,
            prune=prune,
            workers=workers or default_workers(),
            timeout_s=timeout,
            force=force,
            on_event=display.follow,
        )


def print_summary(report: IndexReport, out: Console) -> None:
    """What became of the videos, in two lines."""
    counts = {
        "indexed": report.indexed,
        "unchanged": report.unchanged,
        "renamed": report.renamed,
        "copies": report.copies,
        "failed": len(report.failed),
    }
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    videos = f"{report.seen:,} video{'' if report.seen == 1 else 's'}"
    out.print(f"{videos}: {told}" if told else videos, markup=False)
    if report.missing:
        out.print(
            f"{report.missing:,} known to the catalog are gone from there: `vmrtool catalog "
            "relocate OLD NEW` where they moved, `remove --missing` where they are gone for good",
            markup=False,
        )
    if report.removed:
        out.print(f"{report.removed:,} gone from there were removed", markup=False)
    rate = ""
    if report.seconds_of_video and report.elapsed_s:
        rate = f", {report.seconds_of_video / report.elapsed_s:.1f} s of video a second"
    out.print(
        f"{report.seconds_of_video:.1f} s of video in {report.elapsed_s:.1f} s{rate} "
        f"-> {report.catalog}",
        markup=False,
        style="dim",
    )
