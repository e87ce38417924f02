"""`vmrtool eval`: score a model, another system's predictions and baselines on a data set."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


def eval(
    dataset: Annotated[
        list[str],
        typer.Option(
            "--dataset",
            metavar="NAME|FILE",
            help="charades, activitynet, or a JSONL file; repeatable.",
        ),
    ],
    features: Annotated[
        list[Path] | None,
        typer.Option(
            "--features",
            "--catalog",
            metavar="PATH",
            help="Catalog, HDF5 file or folder: once for all data sets, or once for each.",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of a named data set's annotation files."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split of a named data set.", show_default="test; activitynet: val_2"),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME|RUN|FILE", help="A model to score; repeatable."),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Predictions to score, as JSONL; repeatable."),
    ] = None,
    save_predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the first model's predictions as JSONL."),
    ] = None,
    per_query: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every method's figures of every query as JSONL."),
    ] = None,
    corpus: Annotated[
        bool, typer.Option("--corpus", help="Also search the whole archive for each query.")
    ] = False,
    truth: Annotated[
        str, typer.Option(metavar="raw|clipped", help="Truth as published, or cut to the video.")
    ] = "raw",
    train_dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--train-dataset",
            metavar="NAME|FILE",
            help="Training queries, for the prior; without it the model's or the data set's own.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--breakdown",
            metavar="kind|length|position|words",
            help="Figures by event kind, moment length or position, or query length too.",
        ),
    ] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Show every model zeros instead of features.")
    ] = False,
    shuffle: Annotated[
        bool, typer.Option("--shuffle-video", help="Show every model snippets in random order.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse videos without features.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score moments within the given video (R@n, IoU>=m, mIoU) and over the archive."""
    import sys
    from functools import partial

    from rich.console import Console

    from vmrtool.datasets.dataset import without_features
    from vmrtool.datasets.load import (
        chosen_split,
        default_stores,
        load_parts,
        read_annotations,
    )
    from vmrtool.datasets.named import NAMED
    from vmrtool.datasets.prior import fit_prior
    from vmrtool.errors import UsageError
    from vmrtool.evaluation.evaluate import evaluate, load_contestant
    from vmrtool.evaluation.groups import BREAKDOWNS
    from vmrtool.evaluation.predictions import read_predictions, write_predictions
    from vmrtool.evaluation.rows import write_per_query
    from vmrtool.features.device import choose_device

    if truth not in ("raw", "clipped"):
        raise UsageError(f"--truth {truth}: it can be raw or clipped")
    if by is not None and by not in BREAKDOWNS:
        raise UsageError(f"--breakdown {by}: it can be {', '.join(BREAKDOWNS)}")
    if save_predictions is not None and not models:
        raise UsageError("--save-predictions writes a model's predictions: give --model")
    console = Console(stderr=True, highlight=False)
    say = partial(console.print, markup=False, soft_wrap=True)
    chosen, reason = choose_device(device)
    contestants = [load_contestant(ref, chosen) for ref in models or []]
    if contestants:
        say(f"device {chosen} ({reason})")
        stores = features or default_stores(dataset)
        parts = load_parts(
            dataset, stores, use="test", annotations=annotations, split=split, strict=strict
        )
    else:
        read = partial(read_annotations, annotations=annotations, split=split, use="test")
        parts = [without_features(read(name)) for name in dataset]
    for part in parts:
        if part.missing:
            say(f"{part.name}: left out, without features: {len(part.missing)} videos")
        for kind, count in part.fixes.items():
            say(f"{part.name}: {kind}: {count}")
    samples = [sample for part in parts for sample in part.samples]
    priors = [contestant.prior for contestant in contestants if contestant.prior]
    if train_dataset or (not priors and dataset[0] in NAMED):
        names = train_dataset or dataset[:1]
        read = partial(read_annotations, annotations=annotations, use="train")
        priors = [fit_prior([sample for name in names for sample in read(name).samples])]
    if not priors:
        say("no prior: give --train-dataset to have it")
    asked = len(samples) * sum(len(c.models) for c in contestants) * (2 if corpus else 1)
    with _progress(console, asked) as progress:
        result = evaluate(
            parts,
            contestants,
            others=[(path.stem, read_predictions(path, samples)) for path in predictions or []],
            prior=priors[0] if priors else None,
            truth=truth,
            zeroed=blind,
            shuffled=shuffle,
            corpus=corpus,
            progress=progress,
        )
    if save_predictions is not None:
        write_predictions(save_predictions, samples, result.predictions)
    if per_query is not None:
        write_per_query(per_query, samples, result.rows)
    document = result.to_json(
        parts, split=chosen_split(dataset[0], split, "test"), truth=truth, corpus=corpus, by=by
    )
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(document))
    else:
        _print_tables(document)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A bar of queries answered, on stderr; gives the function that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("evaluating", BarColumn(), MofNCompleteColumn(), "queries", TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total or None)
        yield lambda count: bar.advance(task, count)


def _print_tables(document: dict[str, Any]) -> None:
    """The figures as Rich tables: within the video, over the archive, by group."""
    from rich.console import Console
    from rich.table import Table

    def table(title: str, rows: list[dict[str, Any]], names: list[str]) -> None:
        shown = Table(title=title, title_justify="left")
        grouped = "group" in rows[0]
        for name in ("method", "group", "queries") if grouped else ("method",):
            shown.add_column(name, no_wrap=True, justify="right" if name == "queries" else "left")
        for name in names:
            shown.add_column(name.removeprefix("corpus_").replace("_IoU", "\n"), justify="right")
        for row in rows:
            cells = [row["method"], row["group"], str(row["pairs"])] if grouped else [row["method"]]
            shown.add_row(*cells, *(_cell(row[name], row["seeds"]) for name in names))
        Console().print(shown)

    rows = document["rows"]
    within = [name for name in rows[0] if name.startswith(("R@", "mIoU"))]
    pairs, truth = document["pairs"], document["truth"]
    table(f"{document['dataset']}: {pairs} queries, {truth} truth", rows, within)
    searched = [row for row in rows if "video_R@1" in row]
    if searched:
        over = [name for name in searched[0] if name.startswith(("video_", "corpus_R@1_"))]
        hit = (
            "any occurrence of the event" if document["hit"] == "event" else "the annotated moment"
        )
        table(f"over the whole archive; a hit is {hit}", searched, over)
    if "breakdown" in document:
        short = [name for name in within if name.startswith("R@1_")] + ["mIoU"]
        table(f"by {document['breakdown']['by']}", document["breakdown"]["rows"], short)


def _cell(figure: dict[str, float], seeds: int) -> str:
    spread = f" ± {figure['std']:.1f}" if seeds > 1 else ""
    return f"{figure['mean']:.2f}{spread}"
