"""The processes of a run that torchrun has started: who is who, and what they tell each other."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

_PATIENCE = timedelta(hours=2)  # while one process validates, the others wait for it


@dataclass(frozen=True)
class Processes:
    """This process's number `rank` among `world`; alone, nothing is ever sent or waited for."""

    rank: int = 0
    world: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is one process only."""
        return self.world == 1

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes files and talks to the user."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns once all have come here."""
        if not self.alone:
            dist.barrier()

    def told(self, value: Any) -> Any:
        """What the first process's `value` is; it must be one that can be pickled."""
        if self.alone:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def everyones(self, value: Any) -> list[Any]:
        """The `value` of every process, in order."""
        if self.alone:
            return [value]
        values = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def summed(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sums over all processes of the values of each name."""
        if self.alone:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(sums)
        return dict(zip(values, sums.tolist(), strict=True))

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows (m, …) of all processes, (m * world, …): everyone's first, everyone's second, …

        Only one's own carry gradients.
        """
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        dist.all_gather(parts, rows.detach().contiguous())
        parts[self.rank] = rows
        return torch.stack(parts, dim=1).flatten(0, 1)


def number_of_process() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun says; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def device_of_process(requested: str) -> str:
    """The device that `requested` means in this process: under torchrun each has its own GPU."""
    number = os.environ.get("LOCAL_RANK")
    if number is None or requested not in ("auto", "cuda") or not torch.cuda.is_available():
        return requested
    return f"cuda:{int(number) % torch.cuda.device_count()}"


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun has started with this one; this one alone without torchrun."""
    _, world = number_of_process()
    if world == 1:
        yield Processes()
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    # Small things go between processors even where gradients go between GPUs.
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
