"""`vmrtool extract`: features of videos as files, without a catalog."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from vmrtool.indexing.extraction import ExtractReport


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
        typer.Option(metavar="NAME|RUN|FILE", help="Features as this grounding model reads them."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME", help="A backbone alone [i3d].")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The backbone's weights.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, metavar="F", help="Frames from one window to the next [16 for i3d]."),
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="windows, or dense: one pass over the video [windows]."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (all of them) or cuda:N.")] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="auto, float32 or bfloat16 [what suits the device]."),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Use torch.compile; pays on a GPU, in long runs.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Leave out what fits by name or path; repeatable."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Videos decoded at once.", show_default="one a core")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Windows a batch; by default what fits the device.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the features of videos and their times to files, one a video; no catalog is made."""
    from rich.console import Console

    from vmrtool.cli.downloads import Downloads
    from vmrtool.cli.index import Display
    from vmrtool.indexing.choice import Choice, Spec, find_extractor
    from vmrtool.indexing.extraction import extract as extract_videos
    from vmrtool.indexing.source import ExtractorSource

    console = Console(stderr=True, soft_wrap=True, highlight=False)

    def read_spec(checkpoint: Path) -> Spec:
        from vmrtool.grounding.checkpoint import load_model

        return load_model(checkpoint).extractor

    def find() -> ExtractorSource:
        with Downloads(console) as downloads:
            return find_extractor(
                Choice(model, backbone, weights, stride, precision, sampling),
                Choice(),
                device=device,
                batch_size=batch_size,
                read_spec=read_spec,
                tell=lambda line: console.print(line, style="dim", markup=False),
                progress=downloads,
                compiled=compiled,
                for_search=False,
            )

    with Display(console) as display:
        try:
            report = extract_videos(
                videos,
                out,
                find,
                file_format=file_format,
                exclude=exclude or (),
                workers=workers or min(8, os.cpu_count() or 1),
                on_event=display.follow,
            )
        except KeyboardInterrupt:
            display.stop()
            console.print(
                f"interrupted: {display.progress.done} of {display.progress.videos} videos are "
                "done and kept; the same command goes on from here",
                style="yellow",
            )
            raise typer.Exit(130) from None
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(report.to_dict()))
    else:
        _print_summary(report, Console(soft_wrap=True, highlight=False))
    _print_failures(report, console)
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


def _print_failures(report: ExtractReport, console: Console) -> None:
    """Every failure with its reason, and once what to do about each kind."""
    from rich.text import Text

    from vmrtool.catalog.paths import display, path_key, printable

    for failure in report.failed:
        reason = f"{display(path_key(failure.path))}: {failure.error} ({failure.stage})"
        console.print(Text.assemble(("failed ", "red"), printable(reason)))
    for remedy in dict.fromkeys(failure.remedy for failure in report.failed if failure.remedy):
        console.print(remedy, style="dim", markup=False)
