"""What a data set holds, what is amiss in it, and whether its features fit."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from vmrtool.datasets.files import open_store
from vmrtool.datasets.jsonl import read_jsonl
from vmrtool.datasets.named import NAMED, read_named
from vmrtool.datasets.pulled import pulled_annotations, pulled_features
from vmrtool.datasets.samples import DROPPED, EMPTY, LEFT_OUT, PAST_END, SWAPPED, Annotations
from vmrtool.datasets.stores import FeatureStore


def check(
    dataset: str,
    *,
    annotations: Path | None = None,
    features: Path | None = None,
    on_video: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Counts a data set's queries, videos and oddities, split by split, as JSON values.

    Args:
        dataset: a name or a JSONL file.
        annotations: folder of a named data set's files; None for those that were pulled.
        features: the feature store to look the videos up in; None for the pulled one, if any.
        on_video: told how many of how many videos of a split have been looked up.

    Raises:
        UsageError: a named data set that has not been pulled, and no folder.
        DataError: files that are not as expected.
    """
    parts: list[tuple[str | None, Annotations]]
    if dataset in NAMED:
        folder = annotations or pulled_annotations(dataset)
        features = features or pulled_features(dataset)
        parts = [(split, read_named(dataset, folder, split)) for split in NAMED[dataset].splits]
        source = None if folder is None else str(folder.absolute())
    else:
        parts = [(None, read_jsonl(Path(dataset)))]
        source = str(Path(dataset).absolute())
    rows = [_counts(split, part) for split, part in parts]
    if features is not None:
        with closing(open_store(features)) as store:
            for row, (_, part) in zip(rows, parts, strict=True):
                row["features"] = _looked_up(part, store, on_video)
    return {
        "schema": "vmrtool.data/1",
        "dataset": dataset,
        "annotations": source,
        "features": None if features is None else str(features.absolute()),
        "splits": rows,
    }


def _counts(split: str | None, part: Annotations) -> dict[str, Any]:
    fixes = part.fixes
    return {
        "split": split,
        "queries": len(part.samples),
        "videos": len(part.vids),
        "moments": sum(len(sample.windows) for sample in part.samples),
        "reversed": fixes.get(SWAPPED, 0),
        "overlong": fixes.get(PAST_END, 0),
        "dropped": fixes.get(DROPPED, 0) + fixes.get(EMPTY, 0),
        "left_out": fixes.get(LEFT_OUT, 0),
        "fixes": fixes,
        "features": None,
    }


def _looked_up(
    part: Annotations, store: FeatureStore, on_video: Callable[[int, int], None]
) -> dict[str, Any]:
    """What the store has of a split's videos."""
    first = {sample.vid: sample for sample in reversed(part.samples)}
    missing, dims, snippets = [], set(), 0
    for number, vid in enumerate(part.vids, start=1):
        stored = store.get(first[vid])
        if stored is None:
            missing.append(vid)
        else:
            dims.add(int(stored.features.shape[1]))
            snippets += len(stored.features)
        on_video(number, len(part.vids))
    return {
        "videos": len(part.vids) - len(missing),
        "snippets": snippets,
        "dims": sorted(dims),
        "missing": missing,
    }
