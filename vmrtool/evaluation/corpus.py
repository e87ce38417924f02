"""Recall over a whole archive: is the moment found when the video is not given?"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.labels import span_iou
from vmrtool.datasets.relations import Relations
from vmrtool.datasets.samples import Sample, Window
from vmrtool.evaluation.metrics import SLACK, THRESHOLDS
from vmrtool.evaluation.rows import Figures
from vmrtool.search.archive import Archive, Findings
from vmrtool.search.labels import Model

VIDEO_RANKS = (1, 10, 100)
RANKS = (1, 5, 10, 100)
RIGHT = 0.5  # least IoU of a right answer, for which a score is a probability
PER_VIDEO = 3  # moments of one video in a ranking
_SHORTLIST = max(VIDEO_RANKS)  # videos looked into: enough to tell if the right one is among 100

Answers = list[tuple[float, bool]]
"""The score of every moment found, and whether it is right: a true moment at an IoU of 0.5."""


def hit_kind(samples: Sequence[Sample]) -> str:
    """What counts as a hit: "event", any occurrence of the event; else "annotated" moments."""
    return "event" if any(sample.event is not None for sample in samples) else "annotated"


def score_corpus(
    model: Model,
    dataset: Dataset,
    *,
    progress: Callable[[int], None] = lambda _: None,
    answers: Answers | None = None,
) -> Figures:
    """video_R@k and corpus_R@k_IoUm of every query, in percent, with the data set as the archive.

    video_R@k: a right video is among the first k distinct videos of the ranking. corpus_R@k_IoUm:
    one of the first k moments lies in a right video and overlaps a true moment by an IoU of m. A
    right video is one in which the query's event is known to happen, where the data set names
    events; otherwise it is the query's own. `answers`, if given, gets every moment that was found.
    """
    archive = archive_of(model, dataset)
    found = (
        archive.find(model, sample.query, shortlist=_SHORTLIST, per_video=PER_VIDEO)
        for sample in dataset.samples
    )
    everywhere = truths_everywhere(dataset)
    return score_rankings(found, everywhere, progress=progress, answers=answers)


def archive_of(model: Model, dataset: Dataset) -> Archive:
    """The data set's videos as an archive, called by their numbers."""
    return Archive.in_memory(
        model, {str(v): (video.features, video.cells) for v, video in enumerate(dataset.videos)}
    )


def score_rankings(
    found: Iterable[Findings],
    truths: Sequence[dict[int, tuple[Window, ...]]],
    *,
    progress: Callable[[int], None] = lambda _: None,
    answers: Answers | None = None,
) -> Figures:
    """The figures of `score_corpus` of what was found for each query, whose truths are given."""
    count = len(truths)
    figures = {f"video_R@{k}": np.zeros(count) for k in VIDEO_RANKS}
    figures |= {f"corpus_R@{k}_IoU{m}": np.zeros(count) for k in RANKS for m in THRESHOLDS}
    for q, (findings, truth) in enumerate(zip(found, truths, strict=True)):
        ranking = sorted(
            (
                (int(name), moment)
                for name, moments in findings.moments.items()
                for moment in moments
            ),
            key=lambda entry: -entry[1].score,
        )
        distinct = list(dict.fromkeys(video for video, _ in ranking))
        ious = [
            _best_iou((moment.start, moment.end), truth.get(video, ())) for video, moment in ranking
        ]
        for k in VIDEO_RANKS:
            figures[f"video_R@{k}"][q] = 100.0 * any(video in truth for video in distinct[:k])
        for k in RANKS:
            best = max(ious[:k], default=0.0)
            for m in THRESHOLDS:
                figures[f"corpus_R@{k}_IoU{m}"][q] = 100.0 * (best >= m - SLACK)
        if answers is not None:
            answers += [
                (moment.score, iou >= RIGHT - SLACK)
                for (_, moment), iou in zip(ranking, ious, strict=True)
            ]
        progress(1)
    return figures


def truths_everywhere(dataset: Dataset) -> list[dict[int, tuple[Window, ...]]]:
    """For each query: video index -> the moments that are hits there."""
    if hit_kind(dataset.samples) == "annotated":
        return [
            {video: sample.windows}
            for sample, video in zip(dataset.samples, dataset.video_of, strict=True)
        ]
    relations = Relations(dataset)
    return [
        {video: where.sure for video, where in relations.occurrences(sample).items() if where.sure}
        for sample in dataset.samples
    ]


def _best_iou(span: Window, moments: Sequence[Window]) -> float:
    if not moments:
        return 0.0
    return float(span_iou(np.array([span]), np.array(moments, dtype=np.float64)).max())
