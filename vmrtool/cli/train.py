"""`vmrtool train`: train a grounding model on a data set, into a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmrtool.cli import completion
from vmrtool.cli.console import message_console

if TYPE_CHECKING:
    from vmrtool.training.grid import Cell
    from vmrtool.training.start import TrainingResult


def train(
    dataset: Annotated[
        list[str],
        typer.Option(
            "--dataset",
            metavar="NAME|FILE",
            help="charades, activitynet, or a JSONL file; repeatable.",
            autocompletion=completion.datasets,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="RUN",
            help="Run folder to write.",
            show_default="runs/NAME, after the data set",
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
    videos: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Raw videos: indexed first, into --catalog or the nearest vmrtool.db, with the "
            "recipe's backbone; repeatable.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The backbone's weights, for --videos.")
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of a named data set's annotation files."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of a named data set.", show_default="train")
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            "--validation",
            metavar="NAME|FILE",
            help="Queries to choose the best epoch by, instead of a share of the videos.",
        ),
    ] = None,
    validation_features: Annotated[
        list[Path] | None,
        typer.Option(
            "--validation-features",
            metavar="PATH",
            help="Their features, if not in --features.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Settings: a model's name or a TOML file.",
            autocompletion=completion.models,
            show_default="a named data set's own",
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all",
            help="ci-mha, ci-mha-no-ms, mha or mha-ms; all is a grid, in RUN/METHOD/seed-S.",
        ),
    ] = None,
    reading: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all", help="Of eq. 7: aligned, broadcast or skip; all is a grid."
        ),
    ] = None,
    glove: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Word vectors to start from; else those pulled."),
    ] = None,
    text_model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="Read queries as the token states of this frozen sentence-transformers model.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs, one a seed, in RUN/seed-S when more than one.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first run's seed.")] = 0,
    blind: Annotated[
        bool,
        typer.Option(
            "--blind",
            help="Train on zeros: what can be told without seeing. To a grid it adds a blind twin.",
        ),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, as network.dim=256."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse videos without features.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with what RUN holds; finished runs stay as they are."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a grounding model; RUN is then a model for `search` and `eval`.

    Under torchrun each process trains on a share of every batch.
    """
    import sys
    from functools import partial

    from vmrtool.cli import report_error
    from vmrtool.cli.index import print_summary, run_index
    from vmrtool.cli.index_display import print_failures
    from vmrtool.cli.train_display import TrainDisplay, show_fixes
    from vmrtool.config import find_catalog
    from vmrtool.datasets.dataset import merge, split_by_video
    from vmrtool.datasets.load import all_queries, default_stores, load_parts
    from vmrtool.datasets.named import NAMED
    from vmrtool.errors import DivergedError, UsageError
    from vmrtool.evaluation.within import measure
    from vmrtool.features.device import choose_device
    from vmrtool.grounding.config import GroundingConfig
    from vmrtool.indexing.choice import Choice
    from vmrtool.text.compact import pulled_vectors
    from vmrtool.text.given import read_given_vectors
    from vmrtool.text.states import text_model_settings
    from vmrtool.training.grid import plan_runs
    from vmrtool.training.processes import (
        device_of_process,
        joined_processes,
        number_of_process,
    )
    from vmrtool.training.recipes import load_recipe
    from vmrtool.training.settings import make_settings
    from vmrtool.training.start import require_words
    from vmrtool.training.start import train as train_model

    rank, world = number_of_process()
    console = message_console()
    console.quiet = console.quiet or rank > 0
    if out is None:
        out = _default_out(dataset)
        console.print(f"run folder {out}: --out names another", markup=False, soft_wrap=True)
    changes = [] if glove is None else ["network.query_encoder=glove"]
    if text_model is not None:
        if glove is not None:
            raise UsageError("--glove and --text-model are two ways to read a query: give one")
        changes = text_model_settings(text_model)
    changes += overrides or []
    changes += [] if epochs is None else [f"training.epochs={epochs}"]
    if recipe is None and len(dataset) == 1 and dataset[0] in NAMED:
        recipe = dataset[0]
        console.print(f"recipe {recipe}: the data set's own; --recipe names another")
    settings = make_settings(load_recipe(recipe) if recipe else {}, changes)
    cells = plan_runs(
        settings, range(seed, seed + seeds), variant=variant, reading=reading, blind=blind
    )
    if glove is None and settings.network.get("query_encoder") == "glove":
        glove = pulled_vectors()
    require_words(settings, given=glove is not None)
    failed_videos = 0
    if videos is None:
        stores = features or default_stores(dataset)
        if weights is not None:
            raise UsageError(
                "--weights are a backbone's, for --videos; features are given as they are"
            )
    else:
        if world > 1:
            raise UsageError(
                "--videos is for one process, and torchrun has started several",
                remedy="index first: vmrtool index DIR; then train on that catalog",
            )
        stores = features or [find_catalog(create=True)]
        if len(stores) > 1:
            raise UsageError(
                "--videos goes into one catalog", remedy="give --catalog once, or not at all"
            )
        wanted = {
            name: settings.extractor.get(name)
            for name in ("backbone", "stride", "sampling", "precision")
        }
        indexed = run_index(
            videos, stores[0], Choice(weights=weights, **wanted), console, device=device
        )
        print_summary(indexed, console)
        print_failures(indexed.failed, console)
        failed_videos = len(indexed.failed)
    load = partial(load_parts, annotations=annotations, strict=strict)
    whole = merge(load(dataset, stores, use="train", split=split))
    held = None
    if validation:
        held = merge(load(validation, validation_features or stores[:1], use="validation"))
    show_fixes(console, whole, held)
    given = None
    if glove is not None:
        known = [name for names in (dataset, validation or []) for name in names]
        given = read_given_vectors(
            glove,
            [query for name in known for query in all_queries(name, annotations=annotations)],
            settings.network.get("word_dim", GroundingConfig.word_dim),
            more=settings.training.more_words,
        )
    source = {
        "dataset": [name if name in NAMED else str(Path(name).resolve()) for name in dataset],
        "annotations": None if annotations is None else str(annotations.resolve()),
        "features": [str(path.resolve()) for path in stores],
    }
    chosen, reason = choose_device(device_of_process(device))
    reason += f"; {world} processes" if world > 1 else ""
    if held is None and settings.training.validation_share > 0:
        # The same videos are set aside for every seed, variant and blind twin.
        whole, held = split_by_video(whole, settings.training.validation_share, seed=0)
    runs: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    with joined_processes(chosen) as processes:
        for number, cell in enumerate(cells, start=1):
            if len(cells) > 1:
                console.print(f"run {number} of {len(cells)}: {cell.folder}", style="bold")
            try:
                with TrainDisplay(console, f"{chosen} ({reason})") as display:
                    result = train_model(
                        whole,
                        held,
                        cell.settings,
                        out / cell.folder,
                        measure=measure,
                        given=given,
                        seed=cell.seed,
                        blind=cell.blind,
                        device=chosen,
                        resume=resume,
                        source=source,
                        report=display.report,
                        processes=processes,
                    )
            except KeyboardInterrupt:
                console.print(f"interrupted; {out} is saved: go on with --resume")
                raise typer.Exit(130) from None
            except DivergedError as error:
                if len(cells) == 1:
                    raise
                # A grid of days must not stand still over one run.
                report_error(str(error), error.remedy)
                folder = str((out / cell.folder).resolve())
                failed.append({"folder": folder, "error": str(error), "remedy": error.remedy})
            else:
                runs.append(_as_json(cell, result))
    if rank > 0:
        return
    if as_json or not sys.stdout.isatty():
        document = {"schema": "vmrtool.train/1", "out": str(out.resolve()), "runs": runs}
        typer.echo(json.dumps(document | {"failed": failed}))
    else:
        for run in runs:
            figures = ", ".join(f"{name} {value:.2f}" for name, value in run["validation"].items())
            typer.echo(
                f"{run['folder']}: seed {run['seed']}, best of {run['epochs']} epochs is "
                f"{run['best_epoch']}" + (f" ({figures})" if figures else "")
            )
    if failed or failed_videos:
        raise typer.Exit(1)


def _default_out(datasets: list[str]) -> Path:
    """runs/NAME: the data sets' names, or their files' without the suffix.

    A file `queries.jsonl`, as the tool's own archives have, is named after its folder.
    """
    names = []
    for dataset in datasets:
        path = Path(dataset).resolve()
        names.append(path.parent.name if path.stem == "queries" else path.stem)
    return Path("runs", "+".join(names))


def _as_json(cell: Cell, result: TrainingResult) -> dict[str, Any]:
    network = result.model.config
    return {
        "folder": str(result.folder.resolve()),
        "variant": network.variant,
        "reading": network.reading,
        "seed": cell.seed,
        "blind": cell.blind,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "validation": result.figures,
    }
