"""Predictions within the given video: each query is asked of its own video alone."""

from collections.abc import Callable

from vmrtool.datasets.dataset import Dataset
from vmrtool.evaluation.metrics import Prediction, score, truths_of
from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.search.grounding import ground_videos
from vmrtool.search.labels import Model
from vmrtool.search.merging import Order

_GROUP = 256  # pairs between two reports of progress


def predict(
    model: Model,
    dataset: Dataset,
    *,
    top: int = 5,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Prediction]:
    """The `top` best moments of each sample's own video: (start, end, score), best first.

    A video that fits into one window is answered as in the paper, by P_start P_end. Of a longer
    one every window is asked, and the answers are compared by the score that also ranks a search.
    So are all answers to queries that name their event, unless the model decodes by expected fit:
    the event may happen several times, and the likeliest start and the likeliest end then belong to
    different occurrences, which the expected fit tells apart by itself.

    Args:
        model: in evaluation mode.
        dataset: the queries and their videos.
        top: most moments a query.
        progress: is told how many more queries are answered.
    """
    predictions: list[Prediction] = [()] * len(dataset)
    longest = model.config.max_snippets
    orders: dict[Order, list[int]] = {"grounding": [], "score": []}
    expected = isinstance(model, GroundingModel) and model.config.decoding == "expected"
    for index in range(len(dataset)):
        once = expected or dataset.samples[index].event is None
        fits = dataset.video(index).n_snippets <= longest
        orders["grounding" if once and fits else "score"].append(index)
    for order, members in orders.items():
        for low in range(0, len(members), _GROUP):
            group = dataset.select(members[low : low + _GROUP])
            answers = ground_videos(
                model,
                [(video.features, video.cells) for video in group.videos],
                [sample.query for sample in group.samples],
                [(video, query) for query, video in enumerate(group.video_of)],
                top=top,
                order=order,
            )
            for index, moments in zip(members[low : low + _GROUP], answers, strict=True):
                predictions[index] = [
                    (moment.start, moment.end, getattr(moment, order)) for moment in moments
                ]
            progress(len(answers))
    return predictions


def measure(model: Model, dataset: Dataset) -> dict[str, float]:
    """R@{1,5} at IoU {0.3, 0.5, 0.7} and mIoU of a model, against the truth as published."""
    return score(predict(model, dataset), truths_of(dataset.samples, "raw"))
