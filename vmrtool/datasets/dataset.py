"""Annotations joined with features: what training and evaluation work on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.samples import Annotations, Sample, fix_lines
from vmrtool.datasets.stores import FeatureStore, StoredVideo
from vmrtool.errors import DataError


@dataclass(frozen=True)
class Video:
    """A video of a data set: its features (N, dim) float16 and cells (N, 2) float64 seconds.

    `file` is the video itself, where data set or store know it.
    """

    vid: str
    features: NDArray[np.float16]
    cells: NDArray[np.float64]
    file: Path | None = None

    @property
    def n_snippets(self) -> int:
        """How many snippets the video has."""
        return len(self.features)

    @property
    def duration(self) -> float:
        """Where the last cell ends, in seconds."""
        return float(self.cells[-1, 1])


@dataclass(frozen=True)
class Dataset:
    """Samples and their videos; `video_of[i]` is the index of sample i's video in `videos`.

    `missing` are the vids left out because the store has no features of them.
    """

    name: str
    samples: tuple[Sample, ...]
    videos: tuple[Video, ...]
    video_of: tuple[int, ...]
    extractor: dict[str, Any] | None
    missing: tuple[str, ...] = ()
    fixes: dict[str, int] = field(default_factory=dict)

    def mended(self) -> list[str]:
        """What was left out and what was mended, a line each."""
        lines = []
        if count := len(self.missing):
            lines.append(f"left out, without features: {count} video{'s' * (count != 1)}")
        return lines + fix_lines(self.fixes)

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    @property
    def dim(self) -> int:
        """Width of the features."""
        return int(self.videos[0].features.shape[1])

    def video(self, index: int) -> Video:
        """The video of sample `index`."""
        return self.videos[self.video_of[index]]

    def select(self, keep: Sequence[int], name: str | None = None) -> "Dataset":
        """The data set of the given samples only, with the videos they need."""
        needed = sorted({self.video_of[index] for index in keep})
        position = {video: new for new, video in enumerate(needed)}
        return replace(
            self,
            name=name or self.name,
            samples=tuple(self.samples[index] for index in keep),
            videos=tuple(self.videos[index] for index in needed),
            video_of=tuple(position[self.video_of[index]] for index in keep),
        )

    def blind(self) -> "Dataset":
        """The same data set with every feature zero: what can be told without seeing."""
        zeroed = (replace(v, features=np.zeros_like(v.features)) for v in self.videos)
        return replace(self, videos=tuple(zeroed))

    def shuffled(self, seed: int = 0) -> "Dataset":
        """The same data set with each video's features in a random order of time.

        The order follows from the seed and the video's name alone, whatever else is there.
        """

        def mixed(video: Video) -> Video:
            rng = np.random.default_rng([seed, *os.fsencode(video.vid)])
            return replace(video, features=rng.permutation(video.features))

        return replace(self, videos=tuple(map(mixed, self.videos)))


def join(
    annotations: Annotations,
    store: FeatureStore,
    *,
    strict: bool = False,
    resample: int | None = None,
) -> Dataset:
    """Reads the features of every annotated video.

    Args:
        annotations: the samples.
        store: where the features are.
        strict: refuse a video without features instead of leaving its samples out.
        resample: longest video in snippets; longer ones are averaged down to it. None keeps
            every snippet (training and search then tile long videos into windows).

    Raises:
        DataError: no video has features, some have none and `strict` is set, the widths
            differ, or features are not finite; names the video.
    """
    index: dict[str, int] = {}
    videos: list[Video] = []
    kept: list[Sample] = []
    video_of: list[int] = []
    missing: dict[str, None] = {}
    for sample in annotations.samples:
        if sample.vid in missing:
            continue
        if sample.vid not in index:
            stored = store.get(sample)
            if stored is None:
                missing[sample.vid] = None
                continue
            index[sample.vid] = len(videos)
            video = _checked(sample.vid, stored, store.source, resample)
            videos.append(video if video.file else replace(video, file=sample.video))
        kept.append(sample)
        video_of.append(index[sample.vid])
    if not videos:
        raise DataError(
            f"none of the {_videos(len(missing))} of {annotations.name} has features in "
            f"{store.source}",
            remedy="index the data set's videos, or give what holds them under names such as "
            f"{annotations.samples[0].vid}",
        )
    if missing and strict:
        raise DataError(
            f"{len(missing)} of the {_videos(len(missing) + len(videos))} of {annotations.name} "
            f"without features in {store.source}: {', '.join(list(missing)[:5])}"
            + (" …" if len(missing) > 5 else ""),
            remedy="index them, or leave --strict out to go on without them",
        )
    for video in videos:
        if video.features.shape[1] != videos[0].features.shape[1]:
            raise DataError(
                f"{store.source}: features of {video.vid!r} are {video.features.shape[1]} wide, "
                f"those of {videos[0].vid!r} {videos[0].features.shape[1]}",
                remedy="extract all videos' features with one backbone and one set of settings",
            )
    return Dataset(
        name=annotations.name,
        samples=tuple(kept),
        videos=tuple(videos),
        video_of=tuple(video_of),
        extractor=store.extractor,
        missing=tuple(missing),
        fixes=annotations.fixes,
    )


def _checked(vid: str, stored: StoredVideo, source: str, resample: int | None) -> Video:
    """The stored video, finite and at most `resample` snippets long."""
    if not np.isfinite(stored.features).all():
        raise DataError(
            f"{source}: features of {vid!r} hold values that are not finite",
            remedy="extract this video's features again",
        )
    if resample is not None and len(stored.features) > resample:
        stored = resample_video(stored, resample)
    return Video(vid, stored.features, stored.cells, stored.file)


def resample_video(stored: StoredVideo, size: int) -> StoredVideo:
    """Averages a long video down to `size` snippets; each new cell covers the cells it averages.

    New snippet k is the mean over rows [floor(k N / size), ceil((k + 1) N / size)), so that
    every row counts and neighbours share a row where `size` does not divide N.
    """
    n = len(stored.features)
    edges = np.arange(size + 1) * n / size
    first = np.floor(edges[:-1]).astype(int)
    last = np.ceil(edges[1:]).astype(int)
    sums = np.concatenate(
        [np.zeros((1, stored.features.shape[1])), np.cumsum(stored.features, 0, dtype=np.float64)]
    )
    features = (sums[last] - sums[first]) / (last - first)[:, None]
    # Cells must go on tiling the video, so they are cut at the exact, fractional edges.
    bounds = np.append(stored.cells[:, 0], stored.cells[-1, 1])
    times = np.interp(edges, np.arange(n + 1), bounds)
    cells = np.stack([times[:-1], times[1:]], axis=1)
    return StoredVideo(features.astype(np.float16), cells, stored.file)


def merge(datasets: Sequence[Dataset]) -> Dataset:
    """Several data sets as one; equal vids of different data sets stay different videos.

    Raises:
        DataError: their features differ in width or in how they were extracted.
    """
    first = datasets[0]
    if len(datasets) == 1:
        return first
    samples: list[Sample] = []
    videos: list[Video] = []
    video_of: list[int] = []
    fixes: dict[str, int] = {}
    for dataset in datasets:
        check_alike(first, dataset)
        video_of += [index + len(videos) for index in dataset.video_of]
        videos += dataset.videos
        samples += dataset.samples
        for kind, count in dataset.fixes.items():
            fixes[kind] = fixes.get(kind, 0) + count
    return Dataset(
        name=" + ".join(dataset.name for dataset in datasets),
        samples=tuple(samples),
        videos=tuple(videos),
        video_of=tuple(video_of),
        extractor=next((d.extractor for d in datasets if d.extractor is not None), None),
        missing=tuple(vid for dataset in datasets for vid in dataset.missing),
        fixes=fixes,
    )


def check_alike(one: Dataset, other: Dataset) -> None:
    """Raises DataError where features differ in width or, as far as is known, in what made them."""
    known = one.extractor is not None and other.extractor is not None
    if one.dim != other.dim or (known and one.extractor != other.extractor):
        raise DataError(
            f"{other.name} and {one.name} have different features: {_told(other)} and {_told(one)}",
            remedy="give both features by the same backbone, weights and settings",
        )


def _videos(count: int) -> str:
    return f"{count:,} video" + ("" if count == 1 else "s")


def _told(dataset: Dataset) -> str:
    """The data set's features in words, for a message."""
    made_by = dataset.extractor["backbone"] if dataset.extractor else "a backbone not named"
    return f"{dataset.dim} wide by {made_by}"


def without_features(annotations: Annotations) -> Dataset:
    """The queries alone, for what needs no features: predictions of others and baselines."""
    return Dataset(
        name=annotations.name,
        samples=annotations.samples,
        videos=(),
        video_of=(),
        extractor=None,
        fixes=annotations.fixes,
    )


def split_by_video(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Sets the samples of `share` of the videos aside, chosen by the seed; (rest, set aside).

    Whole videos go to one side or the other, so that nothing validated on has been trained on.
    What is missing and what was mended is told of the rest, once.

    Raises:
        DataError: there are too few videos for both sides to have one.
    """
    count = round(share * len(dataset.videos))
    if not 0 < count < len(dataset.videos):
        raise DataError(
            f"{dataset.name}: {len(dataset.videos)} videos cannot be split with "
            f"{share:.0%} of them set aside for validation",
            remedy="add videos, give --validation FILE, or --set training.validation_share=0",
        )
    order = np.random.default_rng([seed, 0x5EED]).permutation(len(dataset.videos))
    aside = {int(index) for index in order[:count]}
    rest = [i for i, video in enumerate(dataset.video_of) if video not in aside]
    held = [i for i, video in enumerate(dataset.video_of) if video in aside]
    validation = dataset.select(held, name=f"{dataset.name} (validation)")
    return dataset.select(rest), replace(validation, missing=(), fixes={})
