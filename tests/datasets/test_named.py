"""The paper's data sets: the counts of the real annotation files, and files that are wrong."""

import json
from pathlib import Path

import pytest

from vmrtool.datasets.load import chosen_split, read_annotations
from vmrtool.datasets.named import read_named
from vmrtool.errors import DataError, UsageError

PAST = "moments that end past the video's length"


def test_charades_counts(real_data: Path) -> None:
    folder = real_data / "charades-sta"
    train, test = (read_named("charades", folder, split) for split in ("train", "test"))
    assert (len(train.samples), len(train.vids)) == (12408, 5338)
    assert (len(test.samples), len(test.vids)) == (3720, 1334)
    assert set(train.vids).isdisjoint(test.vids)
    assert train.fixes == {PAST: 1802, "moments with start after end, swapped": 4}
    assert test.fixes == {PAST: 562}
    first = test.samples[0]
    assert (first.qid, first.vid, first.query) == (0, "3MSZA", "person turn a light on.")
    assert first.windows == ((24.3, 30.4),)
    assert first.duration == 30.96
    assert test.samples[-1].qid == 3719
    assert all(start < end for s in train.samples for start, end in s.windows)


def test_activitynet_counts(real_data: Path) -> None:
    folder = real_data / "activitynet-captions"
    found = {s: read_named("activitynet", folder, s) for s in ("train", "val_1", "val_2")}
    assert {s: (len(a.samples), len(a.vids)) for s, a in found.items()} == {
        "train": (37417, 10009),
        "val_1": (17505, 4917),
        "val_2": (17031, 4885),
    }
    assert found["train"].fixes["moments that end before they start, dropped"] == 4
    # A qid counts every pair of the file, those that were dropped too.
    assert found["train"].samples[-1].qid == 37420


def write_charades(folder: Path, *lines: str, lengths: str = "id,length\nA,10\n") -> Path:
    (folder / "charades_sta_test.txt").write_text("".join(line + "\n" for line in lines))
    (folder / "Charades_v1_test.csv").write_text(lengths)
    return folder


def test_charades_reads_a_line(tmp_path: Path) -> None:
    write_charades(
        tmp_path, "A 1.5 4.0##a dog ## runs. ", "A 6 2##turned round", "A 8 12##too long"
    )
    annotations = read_named("charades", tmp_path, "test")
    assert [(s.qid, s.query, s.windows) for s in annotations.samples] == [
        (0, "a dog ## runs.", ((1.5, 4.0),)),
        (1, "turned round", ((2.0, 6.0),)),
        (2, "too long", ((8.0, 12.0),)),
    ]
    assert annotations.fixes == {PAST: 1, "moments with start after end, swapped": 1}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("A 1 2 a dog", "cannot be read"),
        ("A 1 2##", "cannot be read"),
        ("A one 2##a dog", "not two numbers"),
        ("A 1 nan##a dog", "not two numbers"),
        ("B 1 2##a dog", "'B' is not in Charades_v1_test.csv"),
    ],
)
def test_a_wrong_charades_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    write_charades(tmp_path, "A 1 2##a dog", line)
    with pytest.raises(DataError, match=f"line 2: .*{why}") as error:
        read_named("charades", tmp_path, "test")
    assert "VIDEO start end##sentence" in (error.value.remedy or "")


@pytest.mark.parametrize(
    ("lengths", "why"),
    [("name,length\nA,10\n", "no columns"), ("id,length\nA,\n", "line 2: length is ''")],
)
def test_wrong_lengths(tmp_path: Path, lengths: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        read_named("charades", write_charades(tmp_path, "A 1 2##x", lengths=lengths), "test")


@pytest.mark.parametrize(
    "video",
    [
        [],
        {"duration": 9, "timestamps": [[1, 2]], "sentences": []},
        {"duration": None, "timestamps": [[1, 2]], "sentences": ["x"]},
        {"duration": 0, "timestamps": [[1, 2]], "sentences": ["x"]},
        {"duration": 9, "timestamps": [[1]], "sentences": ["x"]},
        {"duration": 9, "timestamps": [[1, "b"]], "sentences": ["x"]},
        {"duration": 9, "timestamps": [[1, 2]], "sentences": [3]},
    ],
)
def test_a_wrong_activitynet_video_is_named(tmp_path: Path, video: object) -> None:
    good = {"duration": 9, "timestamps": [[1, 2]], "sentences": [" x "]}
    (tmp_path / "val_1.json").write_text(json.dumps({"v_good": good, "v_bad": video}))
    with pytest.raises(DataError, match="'v_bad' is not as expected"):
        read_named("activitynet", tmp_path, "val_1")


def test_files_that_are_not_there_or_no_annotations(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no annotation file .*Charades_v1_train.csv"):
        read_named("charades", tmp_path, "train")
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_named("activitynet", tmp_path, "train")
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(DataError, match="no query"):
        read_named("activitynet", tmp_path, "train")
    with pytest.raises(UsageError, match="has no split 'val'"):
        read_named("charades", tmp_path, "val")
    with pytest.raises(UsageError, match="annotation files"):
        read_named("charades", None, "train")


def test_the_split_for_each_use() -> None:
    assert chosen_split("charades", None, "train") == "train"
    assert chosen_split("charades", None, "test") == "test"
    assert chosen_split("activitynet", None, "validation") == "val_1"
    assert chosen_split("activitynet", None, "test") == "val_2"
    assert chosen_split("activitynet", "val_1", "test") == "val_1"
    assert chosen_split("mine.jsonl", None, "test") is None
    with pytest.raises(UsageError, match="has no splits"):
        chosen_split("mine.jsonl", "test", "test")
    with pytest.raises(UsageError, match="no split for validation"):
        chosen_split("charades", None, "validation")
    with pytest.raises(DataError, match="no such data set file"):
        read_annotations("mine.jsonl", use="test")
