import numpy as np
import pytest
import torch

from vmrtool.datasets.batches import Batch, BatchMaker
from vmrtool.datasets.crops import Augmentation
from vmrtool.datasets.dataset import Dataset, Video
from vmrtool.datasets.labels import even_cells
from vmrtool.datasets.samples import Sample
from vmrtool.grounding.pooling import stretches


def make_dataset(lengths: list[int], moments: list[tuple[int, float, float, str]]) -> Dataset:
    """Videos of one-second snippets; snippet k of video v has the features (v, k)."""
    videos = []
    for v, n in enumerate(lengths):
        features = np.stack([np.full(n, v), np.arange(n)], axis=1).astype(np.float16)
        videos.append(Video(f"v{v}", features, even_cells(n, float(n))))
    samples = tuple(
        Sample(k, f"v{v}", f"query {k}", ((start, end),), float(lengths[v]), event)
        for k, (v, start, end, event) in enumerate(moments)
    )
    return Dataset("test", samples, tuple(videos), tuple(m[0] for m in moments), None)


def make_batches(dataset: Dataset, **changes) -> BatchMaker:
    settings = {
        "batch_size": 4,
        "window_size": 16,
        "negative_share": 0.0,
        "negative_candidates": 1,
        "augmentation": Augmentation(),
        "seed": 0,
    }
    return BatchMaker(
        dataset,
        lambda query: np.array([int(query.split()[1]) + 2, 1]),
        lambda n: stretches(n, (4, 8)).numpy(),
        **{**settings, **changes},
    )


def test_labels_follow_the_moment_into_the_window() -> None:
    dataset = make_dataset([40], [(0, 20.0, 25.0, "a")])
    for epoch in range(20):
        (batch,) = make_batches(dataset).epoch(epoch)
        shown = batch.features[0, :, 1].long()  # the snippets of the video
        assert len(shown) == 16
        first, last = batch.targets.moments[0, 0].tolist()
        assert (int(shown[first]), int(shown[last])) == (20, 24)
        assert shown[batch.targets.segment[0] > 0].tolist() == [20, 21, 22, 23, 24]
        assert batch.words[0].tolist() == [2, 1]


def test_a_query_with_a_condition_sees_as_much_as_can_be() -> None:
    moments = [(0, 4.0, 6.0, "red spins"), (1, 4.0, 6.0, "red spins after blue grows")]
    maker = make_batches(
        make_dataset([16, 16], moments), augmentation=Augmentation(crop=1.0, crop_shortest=0.2)
    )
    shown: dict[int, list[int]] = {0: [], 1: []}
    for epoch in range(10):
        (batch,) = maker.epoch(epoch)
        for qid, mask in zip(batch.qids, batch.video_mask, strict=True):
            shown[qid].append(int(mask.sum()))
    assert shown[1] == [16] * 10
    assert min(shown[0]) < 10


def test_every_sample_once_an_epoch_and_padding_is_masked() -> None:
    lengths = [5, 9, 13, 16, 8, 6]
    dataset = make_dataset(lengths, [(v, 1.0, 3.0, f"e{v}") for v in range(6)])
    batches = list(make_batches(dataset).epoch(3))
    assert len(batches) == make_batches(dataset).n_batches == 2
    assert sorted(q for batch in batches for q in batch.qids) == list(range(6))
    for batch in batches:
        for row, qid in enumerate(batch.qids):
            n = lengths[qid]
            assert batch.video_mask[row].sum() == n
            assert not batch.features[row, n:].any()
            assert not batch.stretch_mask[row, len(stretches(n, (4, 8))) :].any()


def test_batches_are_of_like_length() -> None:
    rng = np.random.default_rng(0)
    lengths = [int(n) for n in rng.integers(4, 100, size=64)]
    dataset = make_dataset(lengths, [(v, 1.0, 3.0, f"e{v}") for v in range(64)])
    padded = sum(
        batch.video_mask.numel() for batch in make_batches(dataset, window_size=128).epoch(0)
    )
    assert padded < 1.15 * sum(lengths)


def test_a_mismatched_pair_shows_a_video_without_the_event() -> None:
    moments = [(v, 1.0, 3.0, "common" if v < 4 else f"e{v}") for v in range(8)]
    dataset = make_dataset([10] * 8, moments)
    seen = 0
    for epoch in range(10):
        for batch in make_batches(dataset, batch_size=8, negative_share=0.25).epoch(epoch):
            assert batch.n_matched == 6 or len(batch.qids) < 8
            rows = range(batch.n_matched, len(batch.qids))
            for row in rows:
                seen += 1
                qid, video = int(batch.qids[row]), int(batch.features[row, 0, 0])
                assert video != qid
                assert not (qid < 4 and video < 4)
            assert not batch.targets.moment_mask[batch.n_matched :].any()
            assert not batch.targets.segment[batch.n_matched :].any()
            assert batch.targets.moment_mask[: batch.n_matched].any(dim=1).all()
    assert seen > 10


def test_an_event_that_happens_everywhere_has_no_mismatch() -> None:
    dataset = make_dataset([10] * 4, [(v, 1.0, 3.0, "common") for v in range(4)])
    (batch,) = make_batches(dataset, batch_size=6, negative_share=0.34).epoch(0)
    assert len(batch.qids) == batch.n_matched == 4


def test_right_wrong_and_undecided_stretches() -> None:
    # Video 0: the event at 2..6. Video 1: the same at 8..12. Video 2: another event at 2..6.
    dataset = make_dataset([16] * 3, [(0, 2.0, 6.0, "x"), (1, 8.0, 12.0, "x"), (2, 2.0, 6.0, "y")])
    (batch,) = make_batches(dataset, batch_size=3).epoch(0)
    row_of = {int(batch.features[row, 0, 0]): row for row in range(3)}
    spans = batch.stretches[0].tolist()

    def stretch(query: int, video: int, first: int, last: int) -> str:
        q, b, p = row_of[query], row_of[video], spans.index([first, last])
        if batch.positive[q, b, p]:
            assert not batch.ignore[q, b, p]
            return "right"
        return "undecided" if batch.ignore[q, b, p] else "wrong"

    assert stretch(0, 0, 2, 5) == "right"
    assert stretch(0, 0, 0, 3) == "undecided"
    assert stretch(0, 0, 0, 15) == "undecided"  # the whole window shows it, among much else
    assert stretch(0, 0, 8, 11) == "wrong"  # the same video, elsewhere
    assert stretch(0, 1, 8, 11) == "right"  # the same event in another video
    assert stretch(0, 1, 2, 5) == "wrong"
    assert stretch(0, 2, 2, 5) == "wrong"
    assert stretch(2, 0, 2, 5) == "wrong"
    assert batch.positive[row_of[2]].sum() == 1


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_batch_depends_on_seed_epoch_and_number_alone(start: int) -> None:
    dataset = make_dataset([40, 50, 60] * 4, [(v, 5.0, 9.0, f"e{v}") for v in range(12)])
    varied = {"negative_share": 0.25, "augmentation": Augmentation(0.5, 0.5, 0.1, 0.1)}
    whole = list(make_batches(dataset, **varied).epoch(1))
    late = list(make_batches(dataset, **varied).epoch(1, start=start))
    assert [batch.index for batch in late] == list(range(start, len(whole)))
    for one, other in zip(whole[start:], late, strict=True):
        assert_equal(one, other)
    other_seed = next(make_batches(dataset, **varied, seed=1).epoch(1))
    assert not torch.equal(whole[0].features, other_seed.features)


def assert_equal(one: Batch, other: Batch) -> None:
    assert one.qids == other.qids
    assert torch.equal(one.features, other.features)
    assert torch.equal(one.targets.segment, other.targets.segment)
    assert torch.equal(one.positive, other.positive)
