"""Run by torchrun: the gradients of two processes are those of one, batch by batch."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from vmrtool.datasets.batches import Batch, BatchMaker
from vmrtool.datasets.crops import Augmentation
from vmrtool.datasets.load import load_parts
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.losses import Targets
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.grounding.pooling import LENGTHS, stretches
from vmrtool.text.tokens import tokenize
from vmrtool.text.vocabulary import build_vocabulary
from vmrtool.training.loop import losses
from vmrtool.training.processes import joined_processes
from vmrtool.training.settings import RetrievalSettings
from vmrtool.training.shares import SharedLosses

Values = dict[str, float]


def step(
    network: GroundingNetwork, compute: Callable[[Batch], dict[str, Any]], batch: Batch, times: int
) -> tuple[Values, dict[str, torch.Tensor]]:
    """The losses by part, and the gradients of their sum."""
    network.zero_grad(set_to_none=True)
    parts = compute(batch)
    (torch.stack(list(parts.values())).sum() * times).backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return {name: float(part.detach()) for name, part in parts.items()}, gradients


def main(queries: str, catalog: str) -> None:
    """Exits with an error where they differ."""
    torch.set_num_threads(1)
    (dataset,) = load_parts([queries], [Path(catalog)], use="train")
    words = build_vocabulary([sample.query for sample in dataset.samples], 1)
    batches = BatchMaker(
        # Seven pairs a batch, and at the end of the epoch fewer than there are processes.
        dataset.select(range(11)),
        lambda query: np.array(words.encode(tokenize(query), 25), np.int64),
        lambda n: stretches(n, LENGTHS).numpy(),
        batch_size=7,
        window_size=128,
        negative_share=0.3,
        negative_candidates=1,
        augmentation=Augmentation(0.0, 0.5, 0.0, 0.0),
        seed=3,
    )
    sizes = set()
    with joined_processes(torch.device("cpu")) as processes:
        for variant, weight, match in (
            ("ci-mha", 1.0, False),
            ("ci-mha", 1.0, True),
            ("ci-mha-no-ms", 0.5, False),
            ("mha", 0.0, False),
        ):
            retrieval = RetrievalSettings(weight=weight)
            torch.manual_seed(0)
            config = GroundingConfig(
                video_dim=dataset.dim, vocabulary_size=len(words), dim=16, word_dim=8,
                retrieval_dim=8, dropout=0.0, variant=variant, detach_retrieval=False,
                match=match, match_apart=match,
            )  # fmt: skip
            network = GroundingNetwork(config).double()
            shared = DistributedDataParallel(
                SharedLosses(network, retrieval, processes),
                find_unused_parameters=True,
            )
            whole = [b for e in range(2) for b in batches.epoch(e)]
            for batch in [*whole, first_pair(whole[0])]:
                sizes.add(len(batch.qids))
                one = step(network, partial(losses, network, retrieval=retrieval), batch, 1)
                one = one[0], {name: value.clone() for name, value in one[1].items()}
                two = step(network, shared, batch, processes.world)
                torch.testing.assert_close(processes.summed(two[0]), one[0], rtol=1e-5, atol=1e-6)
                assert set(two[1]) == set(one[1])
                for name, value in one[1].items():
                    torch.testing.assert_close(two[1][name], value, rtol=1e-4, atol=1e-6)
                assert max(float(g.abs().max()) for g in one[1].values()) > 1e-3
    assert min(sizes) == 1 and max(sizes) == 7


def first_pair(batch: Batch) -> Batch:
    """A batch of one pair, fewer than there are processes."""
    cut = {name: value[:1] for name, value in vars(batch).items() if torch.is_tensor(value)}
    cut["positive"], cut["ignore"] = cut["positive"][:, :1], cut["ignore"][:, :1]
    targets = Targets(*(value[:1] for value in vars(batch.targets).values()))
    return replace(batch, **cut, targets=targets, n_matched=1, qids=batch.qids[:1])


if __name__ == "__main__":
    main(*sys.argv[1:])
