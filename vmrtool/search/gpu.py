"""Vector indexes on a GPU, where FAISS sees one that it can hold them on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import faiss

from vmrtool.search.index import Part


def on_gpu(parts: Sequence[Part], device: int) -> tuple[list[Part], str]:
    """The parts, each with a copy of its index on a GPU, and where they are searched, in words.

    Where FAISS cannot have one there, the parts are as they were, and the words say why.
    """
    if device >= count():
        return list(parts), "on the processor: FAISS sees no such GPU"
    copied = []
    for part in parts:
        try:
            copied.append(replace(part, on_gpu=copy(part.index, device, part.probes)))
        except RuntimeError as error:
            return list(parts), f"on the processor: the GPU takes no such index ({_reason(error)})"
    return copied, f"on GPU {device}"


def count() -> int:
    """How many GPUs FAISS sees; none where it was built without them."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def copy(index: faiss.Index, device: int, probes: int | None) -> Any:
    """A copy of an index on a GPU, which looks into so many of its inverted lists.

    Raises:
        RuntimeError: it is of a kind that cannot be there, or too large.
    """
    resources = faiss.StandardGpuResources()
    copied: Any = faiss.index_cpu_to_gpu(resources, device, index)
    copied.kept_alive = resources  # the copy uses it and does not own it
    if probes is not None:
        copied.nprobe = probes
    return copied


def _reason(error: RuntimeError) -> str:
    """The last of FAISS's lines, without where in its sources it stands."""
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2]
