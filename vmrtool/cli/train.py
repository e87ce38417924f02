"""`vmrtool train`: train a grounding model on a data set, into a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from vmrtool.training.loop import EpochReport, StartReport, StepReport
    from vmrtool.training.start import TrainingResult


def train(
    dataset: Annotated[
        list[str],
        typer.Option(
            "--dataset",
            metavar="NAME|FILE",
            help="charades, activitynet, or a JSONL file; repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to write.")],
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
            show_default="a named data set's own",
        ),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="ci-mha, ci-mha-no-ms, mha or mha-ms.")
    ] = None,
    glove: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Word vectors to start from; else those pulled."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs, one a seed, in RUN/seed-S when more than one.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first run's seed.")] = 0,
    blind: Annotated[
        bool, typer.Option("--blind", help="Train on zeros: what can be told without seeing.")
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
        bool, typer.Option("--resume", help="Go on with the run that RUN holds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a grounding model; RUN is then a model for `search` and `eval`."""
    import sys
    from functools import partial

    from rich.console import Console

    from vmrtool.datasets.dataset import merge, split_by_video
    from vmrtool.datasets.load import all_queries, default_stores, load_parts
    from vmrtool.datasets.named import NAMED
    from vmrtool.datasets.pulled import pulled_vectors
    from vmrtool.evaluation.within import measure
    from vmrtool.features.device import choose_device
    from vmrtool.grounding.config import GroundingConfig
    from vmrtool.text.given import read_given_vectors
    from vmrtool.training.recipes import load_recipe
    from vmrtool.training.settings import make_settings
    from vmrtool.training.start import require_words
    from vmrtool.training.start import train as train_model

    console = Console(stderr=True, highlight=False)
    changes = [] if glove is None else ["network.query_encoder=glove"]
    changes += overrides or []
    changes += [] if variant is None else [f"network.variant={variant}"]
    changes += [] if epochs is None else [f"training.epochs={epochs}"]
    if recipe is None and len(dataset) == 1 and dataset[0] in NAMED:
        recipe = dataset[0]
        console.print(f"recipe {recipe}: the data set's own; --recipe names another")
    settings = make_settings(load_recipe(recipe) if recipe else {}, changes)
    if glove is None and settings.network.get("query_encoder") == "glove":
        glove = pulled_vectors()
    require_words(settings, given=glove is not None)
    stores = features or default_stores(dataset)
    load = partial(load_parts, annotations=annotations, strict=strict)
    whole = merge(load(dataset, stores, use="train", split=split))
    held = None
    if validation:
        held = merge(load(validation, validation_features or stores[:1], use="validation"))
    given = None
    if glove is not None:
        known = [name for names in (dataset, validation or []) for name in names]
        given = read_given_vectors(
            glove,
            [query for name in known for query in all_queries(name, annotations=annotations)],
            settings.network.get("word_dim", GroundingConfig.word_dim),
            more=settings.training.more_words,
        )
    chosen, reason = choose_device(device)
    results = []
    for number in range(seed, seed + seeds):
        part, aside = whole, held
        if held is None and settings.training.validation_share > 0:
            # The same videos are set aside for every seed, variant and blind twin.
            part, aside = split_by_video(whole, settings.training.validation_share, seed=0)
        with _Display(console, f"{chosen} ({reason})") as display:
            try:
                result = train_model(
                    part,
                    aside,
                    settings,
                    out if seeds == 1 else out / f"seed-{number}",
                    measure=measure,
                    given=given,
                    seed=number,
                    blind=blind,
                    device=chosen,
                    resume=resume,
                    report=display.report,
                )
            except KeyboardInterrupt:
                console.print(f"interrupted; {out} is saved: go on with --resume")
                raise typer.Exit(130) from None
        results.append((number, result))
    if as_json or not sys.stdout.isatty():
        typer.echo(json.dumps(_as_json(out, results)))
    else:
        for number, result in results:
            figures = ", ".join(f"{name} {value:.2f}" for name, value in result.figures.items())
            typer.echo(
                f"{result.folder}: seed {number}, best of {result.epochs} epochs is "
                f"{result.best_epoch}" + (f" ({figures})" if figures else "")
            )


def _as_json(out: Path, results: list[tuple[int, TrainingResult]]) -> dict[str, Any]:
    return {
        "schema": "vmrtool.train/1",
        "out": str(out.resolve()),
        "runs": [
            {
                "folder": str(result.folder.resolve()),
                "seed": seed,
                "epochs": result.epochs,
                "best_epoch": result.best_epoch,
                "validation": result.figures,
            }
            for seed, result in results
        ],
    }


class _Display:
    """Rich progress on stderr: the epoch, its losses by part, time left; a line each epoch."""

    def __init__(self, console: Console, device: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        self._device = device
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", epoch="-", losses="")

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, event: StartReport | StepReport | EpochReport) -> None:
        """Shows the start, a step or an epoch."""
        from vmrtool.training.loop import EpochReport, StartReport

        if isinstance(event, StartReport):
            self._show_start(event)
            return
        if isinstance(event, EpochReport):
            record = event.record
            figures = _told(record["validation"])
            self._line(
                f"epoch {record['epoch']}: {_told(record['losses'], digits=3)}"
                + (f" | {figures}" if figures else "")
                + (" | best so far" if record["best"] else "")
            )
            return
        self._progress.update(
            self._task,
            total=event.epochs * event.n_batches,
            completed=(event.epoch - 1) * event.n_batches + event.batch,
            epoch=f"{event.epoch}/{event.epochs}",
            losses=_told(event.losses, digits=3),
        )

    def _show_start(self, event: StartReport) -> None:
        """The effective configuration, and once what was mended in the data."""
        config = event.config
        for name in ("train", "validation"):
            data = config[name]
            if data is None:
                continue
            self._line(
                f"{name}: {data['name']}, {data['queries']} queries, {data['videos']} videos"
            )
            if data["videos_without_features"]:
                self._line(
                    f"  left out, without features: {data['videos_without_features']} videos"
                )
        for kind, count in config["train"]["fixes"].items():
            self._line(f"  {kind}: {count}")
        words = config["words"]
        self._line(
            f"words: {words['vocabulary']}"
            + (f", {words['given']} with vectors of {words['source']}" if words["source"] else "")
        )
        for section, values in config["settings"].items():
            self._line(
                f"[{section}] " + " ".join(f"{key}={value}" for key, value in values.items())
            )
        self._line(
            f"device {self._device}, seed {config['seed']}"
            + (", blind: every feature is zero" if config["blind"] else "")
            + (f"; going on after epoch {event.epochs_done}" if event.epochs_done else "")
        )

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def _told(figures: dict[str, float], digits: int = 1) -> str:
    return " ".join(f"{name} {value:.{digits}f}" for name, value in figures.items())
