"""The options that say how features are made, for all commands that make them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from vmrtool.indexing.choice import Choice
    from vmrtool.indexing.source import ExtractorSource

Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="The backbone's weights.")]
Stride = Annotated[
    int | None,
    typer.Option(min=1, metavar="F", help="Frames from one window to the next [16 for i3d]."),
]
Sampling = Annotated[
    str | None,
    typer.Option(metavar="HOW", help="windows, or dense: one pass over the video [windows]."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda (all of them) or cuda:N.")]
Precision = Annotated[
    str | None,
    typer.Option(metavar="TYPE", help="auto, float32 or bfloat16 [what suits the device]."),
]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile; pays on a GPU, in long runs.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Leave out what fits by name or path; repeatable."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Videos decoded at once.", show_default="one a core")
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Windows a batch; by default what fits the device.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        metavar="S",
        help="Seconds that decoding one video may take; by default what its length allows.",
    ),
]


def find_source(
    asked: Choice,
    before: Choice,
    console: Console,
    *,
    device: str,
    batch_size: int | None,
    compiled: bool,
    for_search: bool = True,
    timeout_s: float | None = None,
) -> ExtractorSource:
    """The extractor that the options choose; choices and downloads are told on `console`.

    The arguments are those of `vmrtool.indexing.choice.find_extractor`.
    """
    from vmrtool.api import extractor_of
    from vmrtool.cli.downloads import Downloads
    from vmrtool.indexing.choice import find_extractor

    with Downloads(console) as downloads:
        return find_extractor(
            asked,
            before,
            device=device,
            batch_size=batch_size,
            read_spec=extractor_of,
            tell=lambda line: console.print(line, style="dim", markup=False),
            progress=downloads,
            compiled=compiled,
            for_search=for_search,
            timeout_s=timeout_s,
        )
