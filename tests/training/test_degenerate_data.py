"""Training and evaluation on data sets of next to nothing: nothing may trip over an empty list."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vmrtool.datasets.dataset import Dataset, Video
from vmrtool.datasets.labels import even_cells
from vmrtool.datasets.samples import Sample
from vmrtool.evaluation.corpus import score_corpus
from vmrtool.evaluation.within import measure
from vmrtool.training.settings import make_settings
from vmrtool.training.start import train

TINY = (
    "network.dim=8", "network.word_dim=4", "network.retrieval_dim=4", "network.max_snippets=16",
    "training.epochs=1", "training.batch_size=3", "training.negative_share=0.4",
)  # fmt: skip
Moment = tuple[int, str, str | None, float, float]  # video, query, event, start, end


def make_dataset(lengths: Sequence[int], moments: Sequence[Moment]) -> Dataset:
    """Videos of one-second snippets of noise."""
    rng = np.random.default_rng(0)
    videos = tuple(
        Video(f"v{k}", rng.standard_normal((n, 6)).astype(np.float16), even_cells(n, float(n)))
        for k, n in enumerate(lengths)
    )
    samples = tuple(
        Sample(k, f"v{v}", query, ((start, end),), float(lengths[v]), event)
        for k, (v, query, event, start, end) in enumerate(moments)
    )
    return Dataset("tiny", samples, videos, tuple(m[0] for m in moments), None)


@pytest.mark.parametrize("variant", ["ci-mha", "mha"])
@pytest.mark.parametrize(
    ("lengths", "moments"),
    [
        ([1], [(0, "a dog", None, 0.0, 1.0)]),
        ([20, 3], [(0, "?!", None, 2.0, 9.0), (1, "...", None, 0.0, 3.0)]),
        # Past the end of every video, so that no prior and no right answer exist.
        ([5, 40], [(0, "a dog", None, 7.0, 9.0), (1, "a cat", None, 50.0, 60.0)]),
        # Everywhere, so that no video mismatches it.
        ([8, 8], [(0, "x", "x", 1.0, 4.0), (1, "x", "x", 2.0, 5.0)]),
        # Under a condition only: every answer is left out when the score is fitted.
        ([30], [(0, "x after y", "x after y", 3.0, 9.0), (0, "x", "x", 0.0, 30.0)]),
    ],
)
def test_it_trains_and_is_evaluated(
    lengths: list[int], moments: list[Moment], variant: str, tmp_path: Path
) -> None:
    dataset = make_dataset(lengths, moments)
    settings = make_settings({}, [*TINY, f"network.variant={variant}"])
    result = train(dataset, None, settings, tmp_path / "run", measure=measure)
    within, corpus = measure(result.model, dataset), score_corpus(result.model, dataset)
    assert all(0 <= value <= 100 for value in within.values())
    assert len(corpus["video_R@1"]) == len(dataset)
    assert corpus["video_R@100"].all()
