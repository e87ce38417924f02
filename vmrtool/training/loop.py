"""The training loop: epochs of steps, validation, the best and the last checkpoint, resuming."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vmrtool.datasets.batches import Batch, BatchMaker
from vmrtool.errors import DivergedError, UsageError
from vmrtool.grounding.checkpoint import GroundingModel, load_model, save_model
from vmrtool.grounding.losses import contrastive_loss, grounding_loss
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.interrupts import on_interrupt
from vmrtool.training.events import EventLog
from vmrtool.training.folder import RunFolder
from vmrtool.training.optimiser import clip_gradients, make_optimiser, rate_at
from vmrtool.training.processes import Processes
from vmrtool.training.settings import RetrievalSettings, RunSettings
from vmrtool.training.shares import SharedLosses

Figures = dict[str, float]
Validate = Callable[[GroundingModel], Figures]
ALONE = Processes()


@dataclass(frozen=True)
class StartReport:
    """What a run is about to do: the contents of its config.json, and the epochs already done."""

    config: dict[str, Any]
    epochs_done: int


@dataclass(frozen=True)
class StepReport:
    """Progress: batch `batch` of `n_batches` in epoch `epoch` of `epochs` is done, from 1.

    `losses` are the means of the epoch so far, by part.
    """

    epoch: int
    epochs: int
    batch: int
    n_batches: int
    losses: Figures


@dataclass(frozen=True)
class EpochReport:
    """An epoch's line of metrics.jsonl."""

    record: dict[str, Any]


Report = Callable[[StartReport | StepReport | EpochReport], None]


@dataclass
class _Progress:
    """How far a run is; what state.pt holds beside weights, optimiser and random state."""

    epoch: int = 0  # epochs done
    batch: int = 0  # batches done in the epoch under way
    sums: Figures = field(default_factory=dict)  # losses summed over those batches
    best: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0  # spent on the epoch under way


class TrainingRun:
    """One run of training, from scratch or from where it stopped."""

    def __init__(
        self,
        model: GroundingModel,
        batches: BatchMaker,
        settings: RunSettings,
        folder: RunFolder,
        *,
        validate: Validate | None = None,
        report: Report = lambda _: None,
        processes: Processes = ALONE,
    ) -> None:
        """Takes over where the folder's state.pt stopped, if there is one.

        Args:
            model: a fresh network on the device to train on, with its vocabulary.
            batches: makes each epoch's batches.
            settings: all settings of the run.
            folder: where checkpoints, metrics and state go.
            validate: gives the figures of a model on the validation part, by which the best
                epoch is kept; None keeps the last.
            report: is told of every step and epoch.
            processes: those that train together, each with a share of every batch; the first
                writes, validates and reports.
        """
        self.model = model
        self._network: GroundingNetwork = model.network
        self._batches = batches
        self._settings = settings
        self._folder = folder
        self._validate = validate
        self._report = report if processes.writes else _unheard
        self._processes = processes
        self._optimiser = make_optimiser(self._network, settings.training)
        self._at = _Progress()
        self._stop = False
        state = folder.load_state()
        if state is not None:
            self._network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._at = _Progress(**state["progress"])
        self._take_random_state(state)
        self._losses = self._make_losses()
        processes.wait()
        if processes.writes:
            folder.write_epochs(folder.epochs()[: self._at.epoch])

    @property
    def epoch(self) -> int:
        """Epochs done so far."""
        return self._at.epoch

    @property
    def best_epoch(self) -> int:
        """The epoch whose model is kept as the best, from 1; 0 before the first."""
        return self._at.best_epoch

    def run(self) -> GroundingModel:
        """Trains to the end and returns the best model, as read back from the folder.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; the state is saved and the run can be resumed.
            DivergedError: a loss is not finite.
        """
        if not self._finished():
            with self._interruptible(), self._event_log() as events:
                while not self._finished():
                    self._train_epoch()
                    self._end_epoch(events)
        return load_model(self._folder.best, self.model.device)

    def _event_log(self) -> AbstractContextManager[EventLog | None]:
        if not self._processes.writes:
            return nullcontext()
        return EventLog(self._folder.events, self._at.epoch)

    def _make_losses(self) -> Callable[[Batch], dict[str, Tensor]]:
        """What computes the losses of a batch, or this process's share of them."""
        network, retrieval = self._network, self._settings.retrieval
        if self._processes.alone:
            return lambda batch: losses(network, batch.to(self.model.device), retrieval)
        shared = SharedLosses(network, retrieval, self._processes)
        return DistributedDataParallel(shared, find_unused_parameters=True)

    def _take_random_state(self, state: dict[str, Any] | None) -> None:
        """Goes on with the random state of dropout, each process with its own.

        One that was not there before draws from a state that follows from the seed, its number
        and how far the run is.
        """
        rank, at = self._processes.rank, self._at
        known = [] if state is None else [state["random"], *state.get("others", [])]
        if rank < len(known):
            _set_random_state(known[rank])
        elif rank:
            torch.manual_seed(hash((torch.initial_seed(), rank, at.epoch, at.batch)) % 2**63)

    def _finished(self) -> bool:
        training = self._settings.training
        stale = self._at.epoch - self._at.best_epoch
        return self._at.epoch >= training.epochs or (0 < training.patience <= stale)

    def _train_epoch(self) -> None:
        """The steps of an epoch that are still to be done."""
        training = self._settings.training
        n_batches = self._batches.n_batches
        total = n_batches * training.epochs
        self._network.train()
        began = time.monotonic() - self._at.seconds
        for batch in self._batches.epoch(self._at.epoch, start=self._at.batch):
            rate = rate_at(self._at.epoch * n_batches + batch.index, total, training)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            for name, value in self._step(batch).items():
                self._at.sums[name] = self._at.sums.get(name, 0.0) + value
            self._at.batch = batch.index + 1
            self._at.seconds = time.monotonic() - began
            self._report(
                StepReport(
                    self._at.epoch + 1, training.epochs, self._at.batch, n_batches, self._means()
                )
            )
            if self._stop:
                self._save_state()
                raise KeyboardInterrupt

    def _step(self, batch: Batch) -> Figures:
        """One step of the optimiser; the losses by part."""
        device = self.model.device
        on_gpu = device.type == "cuda"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_gpu):
            parts = self._losses(batch)
        training = self._settings.training
        weights = {
            "start_end": training.start_end_weight,
            "segment": training.segment_weight,
            "contrastive": self._settings.retrieval.weight,
        }
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        values = {"loss": float(loss.detach())}
        values |= {name: float(part.detach()) for name, part in parts.items()}
        if not self._processes.alone:
            values = self._processes.summed({**values, "stop": float(self._stop)})
            self._stop = values.pop("stop") > 0  # all stop at one step
        if not math.isfinite(values["loss"]):
            self._refuse(batch, values)
        self._optimiser.zero_grad(set_to_none=True)
        (loss * self._processes.world).backward()  # gradients are averaged over processes
        if training.clip > 0:
            clip_gradients(self._network, training.clip)
        self._optimiser.step()
        return values

    def _refuse(self, batch: Batch, values: Figures) -> None:
        """Ends the run over a loss that is not a number."""
        parts = ", ".join(f"{name} {value}" for name, value in values.items())
        qids = ", ".join(map(str, batch.qids[:8])) + (" …" if len(batch.qids) > 8 else "")
        kept = (
            f"the last epoch is kept in {self._folder.path}"
            if self._at.epoch
            else "no epoch was finished, so no model is kept"
        )
        raise DivergedError(
            f"the loss is not finite in epoch {self._at.epoch + 1}, batch {batch.index + 1} of "
            f"{self._batches.n_batches} (queries {qids}): {parts}",
            remedy=f"lower training.lr or set training.clip; {kept}",
        )

    def _end_epoch(self, events: EventLog | None) -> None:
        """Validates, keeps the model if it is the best, and saves everything."""
        means = self._means()
        rate = self._optimiser.param_groups[0]["lr"]
        self._network.eval()
        figures = self._figures()
        self._at.epoch += 1
        value = self._selected(figures)
        better = value > self._at.best
        record = {
            "epoch": self._at.epoch,
            "losses": means,
            "lr": rate,
            "validation": figures,
            "best": better,
            "seconds": round(self._at.seconds, 3),
        }
        if better:
            self._at.best, self._at.best_epoch = value, self._at.epoch
        self._at.batch, self._at.sums, self._at.seconds = 0, {}, 0.0
        if events is not None:
            self._keep(record, figures, better)
        self._save_state()
        if events is not None:
            events.write(record)
        self._report(EpochReport(record))
        if self._stop and self._processes.alone:  # several agree on it at their next step
            raise KeyboardInterrupt

    def _figures(self) -> Figures:
        """What the first process measures on the validation part, told to all."""
        figures = {}
        if self._validate and self._processes.writes:
            figures = self._validate(self.model)
        told: Figures = self._processes.told(figures)
        return told

    def _keep(self, record: dict[str, Any], figures: Figures, better: bool) -> None:
        """Writes the epoch's model, as the best too where it is, and its line."""
        record_of = {"epoch": self._at.epoch, "validation": figures}
        kept = replace(self.model, training={**self.model.training, **record_of})
        if better:
            save_model(self._folder.best, kept)
        save_model(self._folder.last, kept)
        self._folder.write_epochs([*self._folder.epochs()[: self._at.epoch - 1], record])

    def _selected(self, figures: Figures) -> float:
        """The figure that decides which epoch is best; without validation the latest is."""
        if not figures:
            return float(self._at.epoch)
        select = self._settings.training.select
        if select not in figures:
            raise UsageError(
                f"training.select is {select!r}, which is not measured",
                remedy=f"one of {', '.join(figures)}",
            )
        return figures[select]

    def _means(self) -> Figures:
        """The epoch's losses so far."""
        return {name: value / max(1, self._at.batch) for name, value in self._at.sums.items()}

    def _save_state(self) -> None:
        random, *others = self._processes.everyones(_random_state())
        if not self._processes.writes:
            return
        self._folder.save_state(
            {
                "network": self._network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "random": random,
                "others": others,
                "progress": vars(self._at),
            }
        )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Lets a first Ctrl-C end the step under way, so that the state can be saved."""

        def stop(number: int, frame: FrameType | None) -> None:
            # A second one: the user does not want to wait. torchrun sends two of its own accord.
            if self._stop and self._processes.alone:
                raise KeyboardInterrupt
            self._stop = True

        with on_interrupt(stop):
            yield


def _unheard(event: StartReport | StepReport | EpochReport) -> None:
    """For those of several processes that do not talk to the user."""


def losses(
    network: GroundingNetwork, batch: Batch, retrieval: RetrievalSettings
) -> dict[str, Tensor]:
    """The losses of a batch by part: start_end, segment (where the variant has it), contrastive."""
    video = network.encode_video(batch.features, batch.video_mask)
    query = network.encode_query(batch.words, batch.word_mask)
    parts = grounding_loss(network.fuse_and_predict(video, query), batch.targets)
    if retrieval.weight > 0:
        n = batch.n_matched
        parts["contrastive"] = torch.stack(
            [
                contrastive_loss(
                    head.query_vector(words[:n], query.mask[:n]),
                    head.stretch_vectors(snippets, video.mask, batch.stretches).flatten(0, 1),
                    batch.positive.flatten(1),
                    batch.ignore.flatten(1),
                    retrieval.temperature,
                )
                for head, snippets, words in network.contrasted(video, query)
            ]
        ).sum()
    return parts


def _random_state() -> dict[str, Any]:
    """The random state of dropout on every device in use."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
