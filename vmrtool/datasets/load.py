"""Data sets as the command line names them: annotation files, each with its features."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from vmrtool.datasets.dataset import Dataset, join, merge
from vmrtool.datasets.jsonl import read_jsonl
from vmrtool.datasets.stores import CatalogStore
from vmrtool.errors import UsageError


def load_parts(
    datasets: Sequence[str], features: Sequence[Path], *, strict: bool = False
) -> list[Dataset]:
    """Reads annotation files with the features of their videos, each as a data set of its own.

    Args:
        datasets: JSONL files.
        features: a catalog for each of them, in the same order, or one for all.
        strict: refuse videos without features instead of leaving them out.

    Raises:
        UsageError: neither one catalog nor one for each data set.
        DataError: see `read_jsonl` and `join`.
    """
    if len(features) not in (1, len(datasets)):
        raise UsageError(
            f"{len(datasets)} data sets, but features given {len(features)} times",
            remedy="give --features once for all, or once for each --dataset, in the same order",
        )
    stores = list(features) * len(datasets) if len(features) == 1 else features
    parts = []
    for annotations, path in zip(datasets, stores, strict=True):
        with closing(CatalogStore(path)) as store:
            parts.append(join(read_jsonl(Path(annotations)), store, strict=strict))
    return parts


def load_datasets(
    datasets: Sequence[str], features: Sequence[Path], *, strict: bool = False
) -> Dataset:
    """What `load_parts` reads, as one data set."""
    parts = load_parts(datasets, features, strict=strict)
    return parts[0] if len(parts) == 1 else merge(parts)
