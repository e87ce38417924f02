"""A batch split among processes so that their gradients add up to those of the whole batch."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from vmrtool.datasets.batches import Batch
from vmrtool.grounding.losses import Targets, contrastive_loss, grounding_loss
from vmrtool.grounding.network import GroundingNetwork, GroundingOutput
from vmrtool.training.processes import Processes
from vmrtool.training.settings import RetrievalSettings


class SharedLosses(nn.Module):
    """One process's share of a batch's losses.

    Every process makes the same batch and computes every `world`-th of its pairs. Means are over
    the whole batch, whoever has how many of its moments; the contrastive term compares the
    queries of all processes with the stretches of all. The shares of all processes add up to the
    losses of the batch, and so do their gradients.
    """

    def __init__(
        self, network: GroundingNetwork, retrieval: RetrievalSettings, processes: Processes
    ) -> None:
        super().__init__()
        self.network = network
        self._retrieval = retrieval
        self._processes = processes

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The shares by part, as `vmrtool.training.loop.losses` names them; `batch` is whole."""
        network, count = self.network, len(batch.video_mask)
        rows, own = _rows_of(count, self._processes)
        device = network.feature_mean.device
        stretches, part = batch.stretches[rows].to(device), _pairs(batch, rows).to(device)
        video = network.encode_video(part.features, part.video_mask)
        query = network.encode_query(part.words, part.word_mask)
        # One that has no row of its own still reads one, which then counts for nothing.
        read = max(1, own)
        output = network.fuse_and_predict(video, query)
        targets = _targets(part.targets, slice(read))
        parts = grounding_loss(_output(output, slice(read)), targets)
        moments = batch.targets.moment_mask.any(dim=1)
        mine = moments[rows[:own]].sum() / moments.sum().clamp(min=1)
        parts["start_end"] = parts["start_end"] * mine.to(device)
        if "segment" in parts:
            parts["segment"] = parts["segment"] * (own / count)
        if self._retrieval.weight > 0:
            gathered = self._processes.gathered
            whole = torch.stack(
                [
                    contrastive_loss(
                        gathered(head.query_vector(words, query.mask))[: batch.n_matched],
                        gathered(head.stretch_vectors(snippets, video.mask, stretches))[
                            :count
                        ].flatten(0, 1),
                        batch.positive.to(device).flatten(1),
                        batch.ignore.to(device).flatten(1),
                        self._retrieval.temperature,
                    )
                    for head, snippets, words in network.contrasted(video, query)
                ]
            ).sum()
            # All compute the same value, each with the gradients of its own rows.
            parts["contrastive"] = whole - whole.detach() * (1 - 1 / self._processes.world)
        return parts


def _rows_of(count: int, processes: Processes) -> tuple[Tensor, int]:
    """The rows of a batch that a process reads, as many as any other; and how many count.

    Those past the batch's end are its first row again, so that shapes are everywhere the same.
    """
    most = -(-count // processes.world)
    rows = torch.arange(most) * processes.world + processes.rank
    own = int((rows < count).sum())
    return torch.where(rows < count, rows, 0), own


def _pairs(batch: Batch, rows: Tensor) -> Batch:
    """Some pairs of a batch, without what compares pairs."""
    nothing = batch.positive[:0, :0]
    return replace(
        batch,
        features=batch.features[rows],
        video_mask=batch.video_mask[rows],
        words=batch.words[rows],
        word_mask=batch.word_mask[rows],
        targets=_targets(batch.targets, rows),
        stretches=batch.stretches[:0],
        stretch_mask=batch.stretch_mask[:0],
        positive=nothing,
        ignore=nothing,
    )


def _targets(targets: Targets, rows: Tensor | slice) -> Targets:
    return Targets(targets.moments[rows], targets.moment_mask[rows], targets.segment[rows])


def _output(output: GroundingOutput, rows: slice) -> GroundingOutput:
    segment = output.segment_logits
    return GroundingOutput(
        output.start_logits[rows],
        output.end_logits[rows],
        None if segment is None else segment[rows],
        output.mask[rows],
    )
