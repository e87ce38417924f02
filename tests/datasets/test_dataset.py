import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from synthetic import SECONDS, write_archive

from vmrtool.catalog import Catalog
from vmrtool.datasets.dataset import join, merge, resample_video, split_by_video
from vmrtool.datasets.jsonl import read_jsonl
from vmrtool.datasets.labels import even_cells
from vmrtool.datasets.load import load_parts
from vmrtool.datasets.samples import Annotations, Sample
from vmrtool.datasets.stores import CatalogStore, StoredVideo
from vmrtool.errors import DataError, UsageError


class Memory:
    """A store of features in memory."""

    source = "memory"
    extractor = None

    def __init__(self, **videos: np.ndarray) -> None:
        self._videos = videos

    def get(self, sample: Sample) -> StoredVideo | None:
        features = self._videos.get(sample.vid)
        if features is None:
            return None
        return StoredVideo(features.astype(np.float16), even_cells(len(features), sample.duration))

    def close(self) -> None:
        pass


def annotations(*vids: str) -> Annotations:
    samples = tuple(Sample(k, vid, f"query {k}", ((1.0, 2.0),), 10.0) for k, vid in enumerate(vids))
    return Annotations("test", samples)


def test_a_catalog_gives_features_by_path_then_by_name(tmp_path: Path) -> None:
    queries, catalog = write_archive(tmp_path / "here", videos=3, seed=0)
    elsewhere = tmp_path / "moved" / "queries.jsonl"
    elsewhere.parent.mkdir()
    elsewhere.write_text(queries.read_text())
    with closing(CatalogStore(catalog)) as store:
        by_path = join(read_jsonl(queries), store)
        by_name = join(read_jsonl(elsewhere), store)
    assert len(by_path.videos) == len(by_name.videos) == 3
    assert len(by_path) == 9
    for one, other in zip(by_path.videos, by_name.videos, strict=True):
        assert np.array_equal(one.features, other.features)
    assert by_path.extractor == {
        "backbone": "synthetic", "weights_sha256": "0" * 64, "settings": {"stride": 16},
    }  # fmt: skip
    first = by_path.videos[0]
    assert first.duration == pytest.approx(first.n_snippets * SECONDS)


def test_two_videos_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    queries, path = write_archive(tmp_path / "a", videos=1, seed=0)
    _, other = write_archive(tmp_path / "b", videos=1, seed=0)
    with Catalog.open(other) as source, Catalog.create_or_open(path) as catalog:
        from vmrtool.catalog.rows import FoundFile

        row = source.videos()[0]
        extractor = catalog.extractor
        stored = source.features(row.content_hash, 1)
        twin = FoundFile(row.path, row.root, row.size, row.mtime_ns)
        catalog.save_video(twin, "another content", row.facts, extractor.id, stored)
    with closing(CatalogStore(path)) as store:
        assert len(join(read_jsonl(queries), store).videos) == 1  # the path tells
        lines = [json.loads(line) for line in queries.read_text().splitlines()]
        for line in lines:
            del line["video"]
        queries.write_text("".join(json.dumps(line) + "\n" for line in lines))
        with pytest.raises(DataError, match="2 different videos are called"):
            join(read_jsonl(queries), store)


def test_an_empty_catalog_is_refused(tmp_path: Path) -> None:
    Catalog.create_or_open(tmp_path / "empty.db").close()
    with pytest.raises(DataError, match="no features"):
        CatalogStore(tmp_path / "empty.db")


def test_videos_without_features_are_left_out_or_refused() -> None:
    store = Memory(a=np.ones((3, 2)))
    dataset = join(annotations("a", "b", "a", "c"), store)
    assert [sample.qid for sample in dataset.samples] == [0, 2]
    assert dataset.missing == ("b", "c")
    with pytest.raises(DataError, match="2 of the 3 videos"):
        join(annotations("a", "b", "c"), store, strict=True)
    with pytest.raises(DataError, match="none of the 1 video "):
        join(annotations("b"), store)


def test_features_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(DataError, match="'b' hold values that are not finite"):
        join(annotations("a", "b"), Memory(a=np.ones((3, 2)), b=np.full((3, 2), np.nan)))
    with pytest.raises(DataError, match="'b' are 3 wide, those of 'a' 2"):
        join(annotations("a", "b"), Memory(a=np.ones((3, 2)), b=np.ones((3, 3))))


def test_resampling_averages_and_keeps_the_cells_tiling() -> None:
    stored = StoredVideo(np.arange(5.0)[:, None].astype(np.float16), even_cells(5, 10.0))
    small = resample_video(stored, 2)
    # Rows 0, 1, 2 and rows 2, 3, 4: the row in the middle counts on both sides.
    assert small.features[:, 0].tolist() == [1.0, 3.0]
    assert small.cells.tolist() == [[0.0, 5.0], [5.0, 10.0]]
    dataset = join(annotations("a"), Memory(a=np.ones((300, 2))), resample=128)
    assert dataset.videos[0].n_snippets == 128
    assert np.array_equal(dataset.videos[0].cells[1:, 0], dataset.videos[0].cells[:-1, 1])


def test_merging_keeps_equal_names_apart() -> None:
    one = join(annotations("a", "b"), Memory(a=np.zeros((3, 2)), b=np.zeros((4, 2))))
    two = join(annotations("a"), Memory(a=np.ones((5, 2))))
    both = merge([one, two])
    assert [both.video(i).n_snippets for i in range(3)] == [3, 4, 5]
    assert both.name == "test + test"
    with pytest.raises(DataError, match="different features"):
        merge([one, join(annotations("a"), Memory(a=np.ones((5, 3))))])


def test_features_are_given_once_or_once_for_each_data_set(tmp_path: Path) -> None:
    a = write_archive(tmp_path / "a", videos=2, seed=0)
    b = write_archive(tmp_path / "b", videos=2, seed=1)
    both = merge(load_parts([str(a[0]), str(b[0])], [a[1], b[1]], use="train"))
    assert len(both.videos) == 4
    with pytest.raises(UsageError, match="2 data sets, but features given 3 times"):
        load_parts([str(a[0]), str(b[0])], [a[1], b[1], b[1]], use="test")
    with pytest.raises(DataError, match="none of the 2 videos"):
        load_parts([str(a[0]), str(b[0])], [a[1]], use="test")


def test_a_split_never_divides_a_video() -> None:
    vids = [f"v{k % 20}" for k in range(60)]
    whole = join(annotations(*vids), Memory(**{vid: np.ones((3, 2)) for vid in vids}))
    rest, aside = split_by_video(whole, 0.2, seed=3)
    assert {v.vid for v in rest.videos}.isdisjoint({v.vid for v in aside.videos})
    assert (len(rest.videos), len(aside.videos)) == (16, 4)
    assert len(rest) + len(aside) == 60
    assert all(part.video(i).vid == part.samples[i].vid for part in (rest, aside) for i in range(4))
    again = split_by_video(whole, 0.2, seed=3)[1]
    assert [s.qid for s in again.samples] == [s.qid for s in aside.samples]
    with pytest.raises(DataError, match="cannot be split"):
        split_by_video(whole, 0.01, seed=0)


def test_a_blind_data_set_keeps_times_and_loses_sight() -> None:
    dataset = join(annotations("a"), Memory(a=np.ones((3, 2))))
    blind = dataset.blind()
    assert not blind.videos[0].features.any()
    assert np.array_equal(blind.videos[0].cells, dataset.videos[0].cells)
    assert dataset.videos[0].features.all()


def test_shuffling_moves_features_and_nothing_else() -> None:
    rows = np.arange(40.0).reshape(20, 2)
    dataset = join(annotations("a", "b"), Memory(a=rows, b=rows))
    mixed = dataset.shuffled()
    for before, after in zip(dataset.videos, mixed.videos, strict=True):
        assert not np.array_equal(before.features, after.features)
        assert np.array_equal(np.sort(after.features, axis=0), before.features)
        assert np.array_equal(before.cells, after.cells)
    assert not np.array_equal(mixed.videos[0].features, mixed.videos[1].features)
    assert not np.array_equal(mixed.videos[0].features, dataset.shuffled(1).videos[0].features)
    # A part of the data set is shuffled as the whole is.
    alone = dataset.select([1]).shuffled()
    assert np.array_equal(alone.videos[0].features, mixed.videos[1].features)


def test_a_blind_data_set_has_no_features_left() -> None:
    dataset = join(annotations("a"), Memory(a=np.ones((3, 2)))).blind()
    assert not dataset.videos[0].features.any()
    assert dataset.videos[0].n_snippets == 3
