"""`vmrtool eval`: score a model, another system's predictions and baselines on a data set."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmrtool.cli import completion
from vmrtool.cli.console import message_console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from vmrtool.datasets.dataset import Dataset
    from vmrtool.datasets.samples import Sample
    from vmrtool.evaluation.metrics import Prediction


def eval(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="NAME|FILE",
            help="charades, activitynet, or a JSONL file; repeatable.",
            autocompletion=completion.datasets,
        ),
    ] = None,
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
        typer.Option(
            "--model",
            metavar="NAME|RUN|FILE",
            help="A model to score; repeatable.",
            autocompletion=completion.models,
        ),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Refuse models of another variant than this.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="RUNS",
            help="Score the finished runs of an experiment, under the paper's own table.",
        ),
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
        typer.Option(
            metavar="FILE", help="Write every method's figures and moments of every query as JSONL."
        ),
    ] = None,
    cases: Annotated[
        int,
        typer.Option(
            min=0, help="Draw so many queries, from the best answered to the worst, into --out."
        ),
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the --cases.")
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Videos by name, for the key frames of --cases."),
    ] = None,
    corpus: Annotated[
        bool, typer.Option("--corpus", help="Also search the whole archive for each query.")
    ] = False,
    searches: Annotated[
        bool,
        typer.Option(
            "--searches",
            help="With --corpus: the first model by shortlist and pooling, between its bounds.",
        ),
    ] = False,
    corpus_queries: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --searches: only N queries.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --corpus: draw how true the scores are, as PNG."),
    ] = None,
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
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="table|json|markdown",
            help="How to print it.",
            show_default="table on a terminal, else json",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Score moments within the given video (R@n, IoU>=m, mIoU) and over the archive."""
    from functools import partial

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
    from vmrtool.evaluation.calibration import draw_calibration
    from vmrtool.evaluation.cases import videos_in, write_cases
    from vmrtool.evaluation.evaluate import evaluate, load_contestant
    from vmrtool.evaluation.experiment import find_experiment
    from vmrtool.evaluation.groups import BREAKDOWNS
    from vmrtool.evaluation.metrics import truths_of
    from vmrtool.evaluation.predictions import write_predictions
    from vmrtool.evaluation.printed import PRINTED
    from vmrtool.evaluation.rows import write_per_query
    from vmrtool.evaluation.searches import compare_searches, count_ways
    from vmrtool.features.device import choose_device
    from vmrtool.grounding.config import VARIANTS

    if truth not in ("raw", "clipped"):
        raise UsageError(f"--truth {truth}: it can be raw or clipped")
    if by is not None and by not in BREAKDOWNS:
        raise UsageError(f"--breakdown {by}: it can be {', '.join(BREAKDOWNS)}")
    if variant is not None and variant not in VARIANTS:
        raise UsageError(f"--variant {variant}: it can be {', '.join(VARIANTS)}")
    if save_predictions is not None and not models:
        raise UsageError("--save-predictions writes a model's predictions: give --model")
    _check_cases(cases, out, videos, bool(models or table or predictions))
    if (searches or calibration is not None) and not (corpus and (models or table)):
        raise UsageError("--searches and --calibration take --corpus and a model")
    if corpus_queries is not None and not searches:
        raise UsageError("--corpus-queries is for --searches")
    write = _writer(format_, as_json)
    console = message_console()
    say = partial(console.print, markup=False, soft_wrap=True)
    chosen, reason = choose_device(device)
    contestants = [
        load_contestant(ref, chosen, variant, lambda: features or default_stores(dataset or []))
        for ref in models or []
    ]
    if table is not None:
        experiment = find_experiment(table)
        contestants += experiment.load(chosen)
        dataset, annotations, features = experiment.data(dataset, annotations, features)
        if experiment.unfinished:
            say(f"{table}: left out, not finished: {experiment.unfinished} runs")
    if not dataset:
        raise UsageError("no data set to score on", remedy="name one: --dataset NAME|FILE")
    read = partial(read_annotations, annotations=annotations, split=split, use="test")
    if contestants:
        say(f"device {chosen} ({reason})")
        stores = features or default_stores(dataset)
        parts = load_parts(
            dataset, stores, use="test", annotations=annotations, split=split, strict=strict
        )
    else:
        parts = [without_features(read(name)) for name in dataset]
    for part in parts:
        for line in part.mended():
            say(f"{part.name}: {line}")
    samples = [sample for part in parts for sample in part.samples]
    at_hand = videos_in(videos, samples) if videos is not None else None
    priors = [contestant.prior for contestant in contestants if contestant.prior]
    if train_dataset or (not priors and dataset[0] in NAMED):
        names = train_dataset or dataset[:1]
        read_train = partial(read_annotations, annotations=annotations, use="train")
        priors = [fit_prior([sample for name in names for sample in read_train(name).samples])]
    if not priors:
        say("no prior: give --train-dataset to have it")
    others: list[tuple[str, list[Prediction]]] = []
    notes: list[str] = []
    if predictions:
        annotated = [
            read(name).samples if part.missing else part.samples
            for name, part in zip(dataset, parts, strict=True)
        ]
        others, notes = _read_others(predictions, parts, annotated)
    asked = len(samples) * sum(len(c.models) for c in contestants) * (2 if corpus else 1)
    with _progress(console, asked) as progress:
        result = evaluate(
            parts,
            contestants,
            others=others,
            prior=priors[0] if priors else None,
            truth=truth,
            zeroed=blind,
            shuffled=shuffle,
            corpus=corpus,
            progress=progress,
        )
    if save_predictions is not None:
        write_predictions(save_predictions, samples, result.answers[0])
    if per_query is not None:
        truths = truths_of(samples, truth)
        write_per_query(per_query, samples, result.rows, truths=truths, answers=result.answers)
    failed: tuple[tuple[Path, str], ...] = ()
    if out is not None:
        with _progress(console, min(cases, len(samples)), "drawing") as progress:
            written = write_cases(
                *(out, parts, contestants, result, cases),
                truth=truth,
                zeroed=blind,
                shuffled=shuffle,
                videos=at_hand,
                progress=progress,
            )
        failed = written.failed
        say(f"cases: {written.index}")
    tested = chosen_split(dataset[0], split, "test")
    document = result.to_json(
        parts,
        split=tested,
        truth=truth,
        corpus=corpus,
        by=by,
        printed=PRINTED.get(dataset[0]) if len(dataset) == 1 and tested != "train" else None,
        notes=notes,
    )
    if searches:
        asked = sum(min(len(part), corpus_queries or len(part)) for part in parts)
        asked *= count_ways(contestants[0].models[0])
        with _progress(console, asked, "searching") as progress:
            document["searches"] = [
                {"dataset": part.name, **row}
                for part in parts
                for row in compare_searches(
                    *(
                        contestants[0].models[0],
                        contestants[0].shown(part, zeroed=blind, shuffled=shuffle),
                    ),
                    queries=corpus_queries,
                    progress=progress,
                )
            ]
    if calibration is not None:
        draw_calibration(calibration, result.calibrations)
        say(f"calibration: {calibration}")
    write(document)
    for _, why in failed:
        say(f"no key frames: {why}")
    if failed:
        raise typer.Exit(1)


def _read_others(
    paths: list[Path], parts: Sequence[Dataset], annotated: Sequence[Sequence[Sample]]
) -> tuple[list[tuple[str, list[Prediction]]], list[str]]:
    """Others' predictions for the queries that are scored, each with its file's name; and notes.

    They are matched to every annotated query of a part, for a file may well answer those whose
    videos have no features here; these are then left out and counted.

    Raises:
        DataError: see `read_predictions`.
    """
    from vmrtool.evaluation.predictions import read_predictions

    every = [sample for samples in annotated for sample in samples]
    scored = [
        sample.vid not in part.missing
        for part, samples in zip(parts, annotated, strict=True)
        for sample in samples
    ]
    others, notes = [], []
    for path in paths:
        found = list(zip(scored, read_predictions(path, every), strict=True))
        answers = [moments for kept, moments in found if kept]
        others.append((path.stem, answers))
        if (answered := sum(map(bool, answers))) < len(answers):
            notes.append(
                f"{path.stem}: answers {answered:,} of {len(answers):,} queries; "
                "the others count as misses"
            )
        if left_out := sum(bool(moments) for kept, moments in found if not kept):
            notes.append(
                f"{path.stem}: left out, their videos have no features: {left_out:,} "
                f"prediction{'s' * (left_out != 1)}"
            )
    return others, notes


def _check_cases(cases: int, out: Path | None, videos: Path | None, answered: bool) -> None:
    """Raises UsageError where --cases, --out and --videos do not go together."""
    from vmrtool.errors import UsageError

    if bool(cases) != (out is not None):
        raise UsageError(
            "--cases N and --out DIR go together", remedy="for example --cases 8 --out cases"
        )
    if cases and not answered:
        raise UsageError("--cases draws answers: give --model or --predictions")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is not a folder")
    if videos is not None and not cases:
        raise UsageError("--videos is for the key frames of --cases")


def _writer(format_: str | None, as_json: bool) -> Callable[[dict[str, Any]], None]:
    """What prints the result: as asked for, else as fits where it goes.

    Raises:
        UsageError: there is no such format, or two are asked for.
    """
    import sys

    from vmrtool.errors import UsageError

    writers = {
        "table": _print_tables,
        "json": lambda document: typer.echo(json.dumps(document)),
        "markdown": _print_markdown,
    }
    if format_ is None:
        format_ = "json" if as_json or not sys.stdout.isatty() else "table"
    if format_ not in writers or (as_json and format_ != "json"):
        raise UsageError(f"--format {format_}: it can be {', '.join(writers)}, without --json")
    return writers[format_]


def _print_markdown(document: dict[str, Any]) -> None:
    """The figures as Markdown tables."""
    from vmrtool.report.figures import figure_tables, to_markdown

    typer.echo("\n".join(map(to_markdown, figure_tables(document))), nl=False)


@contextmanager
def _progress(
    console: Console, total: int, doing: str = "evaluating"
) -> Iterator[Callable[[int], None]]:
    """A bar of queries done, on stderr; gives the function that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (doing, BarColumn(), MofNCompleteColumn(), "queries", TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total or None)
        yield lambda count: bar.advance(task, count)


def _print_tables(document: dict[str, Any]) -> None:
    """The figures as Rich tables, each over its notes."""
    from rich.console import Console
    from rich.table import Table

    from vmrtool.report.figures import figure_tables

    console = Console(highlight=False)
    for table in figure_tables(document):
        shown = Table(title=table.title, title_justify="left")
        for name in table.columns:
            words = name in ("method", "group")
            shown.add_column(
                name.replace("_IoU", "\n"), no_wrap=words, justify="left" if words else "right"
            )
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        for note in table.notes:
            console.print(note, markup=False, style="dim")
