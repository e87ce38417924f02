"""Data sets as the command line names them: annotation files, each with its features."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from vmrtool.datasets.dataset import Dataset, join, merge
from vmrtool.datasets.jsonl import read_jsonl
from vmrtool.datasets.stores import CatalogStore
from vmrtool.errors import UsageError


def load_datasets(
    datasets: Sequence[str | Path], features: Sequence[Path], *, strict: bool = False
) -> Dataset:
    """Reads annotation files with the features of their videos, as one data set.

    Args:
        datasets: JSONL files.
        features: a catalog for each of them, in the same order, or one for all.
        strict: refuse videos without features instead of leaving them out.

    Raises:
        UsageError: as many data sets as features are wanted.
        DataError: see `read_jsonl` and `join`.
    """
    if not datasets:
        raise UsageError("no data set given", remedy="name one: --dataset FILE.jsonl")
    if len(features) not in (1, len(datasets)):
        raise UsageError(
            f"{len(datasets)} data sets, but features given {len(features)} times",
            remedy="give --features once for all, or once for each --dataset, in the same order",
        )
    stores = list(features) * len(datasets) if len(features) == 1 else list(features)
    loaded = []
    for annotation, path in zip(datasets, stores, strict=True):
        with closing(CatalogStore(path)) as store:
            loaded.append(join(read_jsonl(Path(annotation)), store, strict=strict))
    return loaded[0] if len(loaded) == 1 else merge(loaded)
