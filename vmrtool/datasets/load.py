"""Data sets as the command line names them: annotation files, each with its features."""

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

from vmrtool.config import CATALOG_VARIABLE, find_catalog
from vmrtool.datasets.dataset import Dataset, join
from vmrtool.datasets.files import open_store
from vmrtool.datasets.jsonl import read_jsonl
from vmrtool.datasets.named import NAMED, read_named
from vmrtool.datasets.pulled import pulled_annotations, pulled_features
from vmrtool.datasets.samples import Annotations
from vmrtool.errors import DataError, UsageError
from vmrtool.search.windows import WINDOW_SIZE

Use = Literal["train", "validation", "test"]


def chosen_split(dataset: str, split: str | None, use: Use) -> str | None:
    """The split that is read: the one asked for, else the data set's own for this use.

    Raises:
        UsageError: a split is asked of a JSONL file, which has none.
    """
    if dataset in NAMED:
        if split is None and use not in NAMED[dataset].split_for:
            raise UsageError(
                f"{dataset} has no split for {use}",
                remedy="leave it out, and a share of the training videos is set aside",
            )
        return split or NAMED[dataset].split_for[use]
    if split is not None:
        raise UsageError(f"--split {split}: {dataset} is a file and has no splits")
    return None


def read_annotations(
    dataset: str, *, annotations: Path | None = None, split: str | None = None, use: Use
) -> Annotations:
    """Reads a data set by name, from the folder `annotations`, or a JSONL file by path.

    A named data set without a folder is read from where `vmrtool data pull` puts it.

    Raises:
        UsageError: no folder for a named data set that has not been pulled, or no such split.
        DataError: the files are not as expected.
    """
    wanted = chosen_split(dataset, split, use)
    if wanted is not None:
        return read_named(dataset, annotations or pulled_annotations(dataset), wanted)
    if not Path(dataset).is_file():
        raise DataError(
            f"no such data set file: {dataset}", remedy=f"give {', '.join(NAMED)} or a JSONL file"
        )
    return read_jsonl(Path(dataset))


def default_stores(datasets: Sequence[str]) -> list[Path]:
    """The feature store of each data set where none is named.

    It is the catalog that $VMRTOOL_CATALOG names, else the features that were pulled with a data
    set, else the nearest catalog.

    Raises:
        MissingError: there is none of these.
    """
    stores = []
    for dataset in datasets:
        pulled = None if os.environ.get(CATALOG_VARIABLE) else pulled_features(dataset)
        stores.append(pulled or find_catalog())
    return stores


def all_queries(dataset: str, *, annotations: Path | None = None) -> list[str]:
    """The sentences of every split of a named data set, or of a JSONL file, whose words to know.

    A split whose files are not there, or not as expected, is left out: it is told when it is used.

    Raises:
        UsageError: no folder for a named data set that has not been pulled.
        DataError: the JSONL file is not as expected.
    """
    if dataset not in NAMED:
        return [sample.query for sample in read_jsonl(Path(dataset)).samples]
    queries: list[str] = []
    for split in NAMED[dataset].splits:
        with suppress(DataError):
            read = read_named(dataset, annotations or pulled_annotations(dataset), split)
            queries += [sample.query for sample in read.samples]
    return queries


def load_parts(
    datasets: Sequence[str],
    features: Sequence[Path],
    *,
    use: Use,
    annotations: Path | None = None,
    split: str | None = None,
    strict: bool = False,
) -> list[Dataset]:
    """Reads annotations with the features of their videos, each as a data set of its own.

    Args:
        datasets: names or JSONL files.
        features: a feature store for each of them, in the same order, or one for all.
        use: which split of a named data set is read where none is asked for.
        annotations: folder of the named data sets' annotation files.
        split: split of the named data sets.
        strict: refuse videos without features instead of leaving them out.

    Raises:
        UsageError: neither one store nor one for each data set; see `read_annotations`.
        DataError: see `read_annotations`, `open_store` and `join`.
    """
    if len(features) not in (1, len(datasets)):
        raise UsageError(
            f"{len(datasets)} data sets, but features given {len(features)} times",
            remedy="give --features once for all, or once for each --dataset, in the same order",
        )
    stores = list(features) * len(datasets) if len(features) == 1 else features
    parts = []
    for dataset, path in zip(datasets, stores, strict=True):
        read = read_annotations(dataset, annotations=annotations, split=split, use=use)
        # The paper's data sets are resampled as in the paper; others keep every snippet.
        resample = WINDOW_SIZE if dataset in NAMED else None
        with closing(open_store(path)) as store:
            parts.append(join(read, store, strict=strict, resample=resample))
    return parts
