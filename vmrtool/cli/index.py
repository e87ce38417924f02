"""`vmrtool index`: bring the catalog up to date with folders of videos."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.progress import TaskID

    from vmrtool.indexing.choice import Choice
    from vmrtool.indexing.report import Event, IndexReport
    from vmrtool.indexing.shards import Shard


def index(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders, or single files.")
    ],
    catalog: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The catalog; else the nearest vmrtool.db.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|RUN|FILE", help="Index for this grounding model."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME", help="A backbone alone, e.g. i3d.")
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
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only part I of N of the videos.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Videos decoded at once.", show_default="one a core")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Windows a batch; by default what fits the device.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Index videos: new and changed ones are decoded, the rest is known by name or content."""
    from rich.console import Console

    from vmrtool.config import find_catalog
    from vmrtool.indexing.choice import Choice
    from vmrtool.indexing.shards import Shard

    console = Console(stderr=True, soft_wrap=True, highlight=False)
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
        workers=workers,
        compiled=compiled,
    )
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(report.to_dict()))
        print_failures(report, console)
    else:
        out = Console(soft_wrap=True, highlight=False)
        print_summary(report, out)
        print_failures(report, out)
    if report.seen == 0:
        console.print(f"note: no videos in {', '.join(map(str, paths))}", style="yellow")
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
    workers: int | None = None,
    compiled: bool = False,
) -> IndexReport:
    """Indexes with progress on `console`; the arguments are the command's options.

    Raises:
        typer.Exit: Ctrl-C was pressed; what is done is kept, and told.
    """
    from vmrtool.cli.downloads import Downloads
    from vmrtool.indexing.choice import Choice, Spec, find_extractor
    from vmrtool.indexing.pipeline import index as index_videos
    from vmrtool.indexing.source import ExtractorSource

    def read_spec(checkpoint: Path) -> Spec:
        from vmrtool.grounding.checkpoint import load_model

        return load_model(checkpoint).extractor

    def find() -> ExtractorSource:
        with Downloads(console) as downloads:
            return find_extractor(
                asked,
                Choice.remembered(catalog),
                device=device,
                batch_size=batch_size,
                read_spec=read_spec,
                tell=lambda line: console.print(line, style="dim", markup=False),
                progress=downloads,
                compiled=compiled,
            )

    with Display(console) as display:
        try:
            return index_videos(
                paths,
                catalog,
                find,
                exclude=exclude,
                shard=shard,
                retry_failed=retry_failed,
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
            "relocate OLD NEW` where they moved, `forget` where they are gone for good",
            markup=False,
        )
    rate = ""
    if report.seconds_of_video and report.elapsed_s:
        rate = f", {report.seconds_of_video / report.elapsed_s:.1f} s of video a second"
    out.print(
        f"{report.seconds_of_video:.1f} s of video in {report.elapsed_s:.1f} s{rate} "
        f"-> {report.catalog}",
        markup=False,
        style="dim",
    )


def print_failures(report: IndexReport, out: Console) -> None:
    """Every failure with its reason, and once what to do about each kind."""
    from rich.text import Text

    from vmrtool.catalog.paths import display, path_key, printable

    for failure in report.failed:
        reason = f"{display(path_key(failure.path))}: {failure.error} ({failure.stage})"
        out.print(Text.assemble(("failed ", "red"), printable(reason)))
    for remedy in dict.fromkeys(row.remedy for row in report.failed if row.remedy):
        out.print(remedy, style="dim", markup=False)


class Display:
    """Progress on stderr: a live line on a terminal, elsewhere a plain one now and then."""

    _EVERY_S = 30.0

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        from vmrtool.indexing.progress import Progress as Follower

        self.progress = Follower()
        self._console = console
        self._live = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._told = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Takes the live line away."""
        if self._task is not None:
            self._live.stop()

    def follow(self, event: Event) -> None:
        """Shows where the run is."""
        import time

        from vmrtool.catalog.paths import printable
        from vmrtool.indexing.report import Noted, Started

        self.progress.follow(event)
        if isinstance(event, Noted):
            text = f"note: {printable(event.text)}"
            self._console.print(text, style="yellow", markup=False)
            return
        if isinstance(event, Started):
            self._told = time.monotonic()
            if self._console.is_terminal and self.progress.done < self.progress.videos:
                self._live.start()
                self._task = self._live.add_task("")
        if self._task is not None:
            self._live.update(
                self._task,
                total=self.progress.videos,
                completed=self.progress.done,
                description=self._line(),
            )
        elif not self._console.is_terminal and time.monotonic() - self._told >= self._EVERY_S:
            self._told = time.monotonic()
            self._console.print(self._line(), markup=False)

    def _line(self) -> str:
        progress = self.progress
        parts = [f"{progress.done:,}/{progress.videos:,} videos"]
        if progress.rate is not None:
            parts.append(f"{progress.rate:.1f} s of video a second")
        if progress.left_s is not None and progress.done < progress.videos:
            parts.append(f"{_clock(progress.left_s)} left")
        if progress.failed:
            parts.append(f"{progress.failed:,} failed")
        return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
