"""What `vmrtool train` shows on stderr while it works: settings, progress, a line each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from vmrtool.datasets.dataset import Dataset
    from vmrtool.training.loop import EpochReport, StartReport, StepReport


class TrainDisplay:
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

    def __enter__(self) -> TrainDisplay:
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
        """The effective configuration."""
        config = event.config
        for name in ("train", "validation"):
            data = config[name]
            if data is None:
                continue
            self._line(
                f"{name}: {data['name']}, {data['queries']} queries, {data['videos']} videos"
            )
        words = config["words"]
        reader = config["settings"]["network"]["text_model"]
        self._line(
            (f"words: token states of {reader}" if reader else f"words: {words['vocabulary']}")
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


def show_fixes(console: Console, train: Dataset, validation: Dataset | None) -> None:
    """What was mended in the data and left out of it: once, however many runs it is for.

    Args:
        console: where to.
        train: all that is trained on, before a share is set aside.
        validation: queries that are given for validation, if any.
    """
    for use, data in (("train", train), ("validation", validation)):
        if data is None:
            continue
        for line in data.mended():
            console.print(f"{use}, {data.name}: {line}", markup=False, soft_wrap=True)


def _told(figures: dict[str, float], digits: int = 1) -> str:
    return " ".join(f"{name} {value:.{digits}f}" for name, value in figures.items())
