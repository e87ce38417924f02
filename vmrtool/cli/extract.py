"""`vmrtool extract`: features of videos as files, without a catalog."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmrtool.cli import completion, supervision
from vmrtool.cli import extractor_options as options
from vmrtool.cli.console import message_console
from vmrtool.cli.extractor_options import find_source
from vmrtool.cli.index_display import following, print_failures

if TYPE_CHECKING:
    from rich.console import Console

    from vmrtool.indexing.extraction import ExtractReport
    from vmrtool.indexing.source import ExtractorSource


def extract(
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO...", help="Files, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the features.")],
    file_format: Annotated[
        str, typer.Option("--format", metavar="TYPE", help="npy, with times in JSON; or hdf5.")
    ] = "npy",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|RUN|FILE",
            help="Features as this grounding model reads them.",
            autocompletion=completion.models,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A backbone alone [i3d].", autocompletion=completion.backbones
        ),
    ] = None,
    weights: options.Weights = None,
    stride: options.Stride = None,
    sampling: options.Sampling = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    compiled: options.Compiled = False,
    exclude: options.Exclude = None,
    workers: options.Workers = None,
    batch_size: options.BatchSize = None,
    timeout: options.Timeout = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the features of videos and their times to files, one a video; no catalog is made."""
    supervision.supervised()

    from rich.console import Console

    from vmrtool.config import default_workers
    from vmrtool.indexing.choice import Choice
    from vmrtool.indexing.extraction import extract as extract_videos

    console = message_console()
    asked = Choice(model, backbone, weights, stride, precision, sampling)

    def find() -> ExtractorSource:
        return find_source(
            asked,
            Choice(),
            console,
            device=device,
            batch_size=batch_size,
            compiled=compiled,
            for_search=False,
            timeout_s=timeout,
        )

    with following(console) as display:
        report = extract_videos(
            videos,
            out,
            find,
            file_format=file_format,
            exclude=exclude or (),
            workers=workers or default_workers(),
            on_event=display.follow,
        )
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(report.to_dict()))
    else:
        _print_summary(report, Console(soft_wrap=True, highlight=False))
    print_failures(report.failed, console)
    if not (report.extracted or report.unchanged or report.failed):
        console.print(f"note: no videos in {', '.join(map(str, videos))}", style="yellow")
    if report.failed:
        raise typer.Exit(1)


def _print_summary(report: ExtractReport, out: Console) -> None:
    """How many files there are, and how fast it went."""
    counts = {
        "extracted": len(report.extracted),
        "unchanged": len(report.unchanged),
        "failed": len(report.failed),
    }
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    rate = ""
    if report.seconds_of_video and report.elapsed_s:
        rate = f", {report.seconds_of_video / report.elapsed_s:.1f} s of video a second"
    out.print(told or "nothing to do", markup=False)
    out.print(
        f"{report.seconds_of_video:.1f} s of video in {report.elapsed_s:.1f} s{rate} "
        f"-> {report.out}",
        markup=False,
        style="dim",
    )
