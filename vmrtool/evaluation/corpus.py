"""Recall over a whole archive: is the moment found when the video is not given?"""

from collections.abc import Callable, Sequence

import numpy as np

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.labels import span_iou
from vmrtool.datasets.relations import Relations
from vmrtool.datasets.samples import Sample, Window
from vmrtool.evaluation.metrics import SLACK, THRESHOLDS
from vmrtool.evaluation.rows import Figures
from vmrtool.search.archive import Archive
from vmrtool.search.labels import Model

RANKS = (1, 10, 100)
_PER_VIDEO = 3  # moments of one video in a ranking
_SHORTLIST = max(RANKS)  # videos looked into: enough to tell whether the right one is among 100


def hit_kind(samples: Sequence[Sample]) -> str:
    """What counts as a hit: "event", any occurrence of the event; else "annotated" moments."""
    return "event" if any(sample.event is not None for sample in samples) else "annotated"


def score_corpus(
    model: Model, dataset: Dataset, *, progress: Callable[[int], None] = lambda _: None
) -> Figures:
    """video_R@k and corpus_R@k_IoUm of every query, in percent, with the data set as the archive.

    video_R@k: a right video is among the first k distinct videos of the ranking. corpus_R@k_IoUm:
    one of the first k moments lies in a right video and overlaps a true moment by an IoU of m. A
    right video is one in which the query's event is known to happen, where the data set names
    events; otherwise it is the query's own.
    """
    truths = _truths(dataset)
    archive = Archive.in_memory(
        model, {str(v): (video.features, video.cells) for v, video in enumerate(dataset.videos)}
    )
    figures = {f"video_R@{k}": np.zeros(len(dataset)) for k in RANKS}
    figures |= {f"corpus_R@{k}_IoU{m}": np.zeros(len(dataset)) for k in RANKS for m in THRESHOLDS}
    for q, sample in enumerate(dataset.samples):
        found = archive.find(model, sample.query, shortlist=_SHORTLIST, per_video=_PER_VIDEO)
        ranking = sorted(
            ((int(name), moment) for name, moments in found.moments.items() for moment in moments),
            key=lambda entry: -entry[1].score,
        )
        distinct = list(dict.fromkeys(video for video, _ in ranking))
        ious = [
            _best_iou((moment.start, moment.end), truths[q].get(video, ()))
            for video, moment in ranking[: max(RANKS)]
        ]
        for k in RANKS:
            figures[f"video_R@{k}"][q] = 100.0 * any(video in truths[q] for video in distinct[:k])
            best = max(ious[:k], default=0.0)
            for m in THRESHOLDS:
                figures[f"corpus_R@{k}_IoU{m}"][q] = 100.0 * (best >= m - SLACK)
        progress(1)
    return figures


def _truths(dataset: Dataset) -> list[dict[int, tuple[Window, ...]]]:
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
