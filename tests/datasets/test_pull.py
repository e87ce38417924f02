"""Pulling data sets from a loopback copy of what is public: annotations, Zenodo records, GloVe."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from loopback import Loopback
from typer.testing import CliRunner

from vmrtool.assets import registry, zenodo
from vmrtool.assets.cache import cached
from vmrtool.assets.registry import ASSETS, Source, annotation_files
from vmrtool.cli import app
from vmrtool.datasets.files import open_store
from vmrtool.datasets.load import default_stores, load_parts, read_annotations
from vmrtool.datasets.pull import (
    MORE_WORDS,
    pull_annotations,
    pull_features,
    pull_vectors,
    words_of_file,
)
from vmrtool.datasets.pulled import data_folder, pulled_features
from vmrtool.errors import AssetError, DataError, MissingError, UsageError
from vmrtool.text.compact import pulled_vectors
from vmrtool.text.given import read_given_vectors
from vmrtool.text.vectors import load_word_vectors
from vmrtool.training.settings import TrainingSettings

RECORD = 3590426
CHARADES = {
    "charades_sta_train.txt": b"A 0.0 4.0##a person opens the door.\nB 3 1##person sits.\n",
    "charades_sta_test.txt": b"C 1.0 12.0##a person eats.\n",
    "Charades_v1_train.csv": b"id,length\nA,10\nB,8\n",
    "Charades_v1_test.csv": b"id,length\nC,9.5\n",
}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def array(vid: str, snippets: int = 6) -> bytes:
    rng = np.random.default_rng(sum(vid.encode()))
    buffer = io.BytesIO()
    np.save(buffer, rng.standard_normal((snippets, 8)).astype(np.float32))
    return buffer.getvalue()


class Public:
    """What others publish, on the loopback server, and the registry that points there."""

    def __init__(self, loopback: Loopback, patch: pytest.MonkeyPatch) -> None:
        self.loopback = loopback
        patch.setattr(zenodo, "ZENODO", loopback.base)
        csv = {name: body for name, body in CHARADES.items() if name.endswith("csv")}
        archive = loopback.add("/Charades.zip", zipped({f"Charades/{n}": csv[n] for n in csv}))
        changed = []
        for known in registry._ALL:
            if known.folder == "charades":
                body = CHARADES[known.file]
                if known.file.endswith("csv"):
                    source = Source(archive, member=known.file)
                else:
                    source = Source(loopback.add(f"/{known.file}", body))
                checksum = "sha256:" + hashlib.sha256(body).hexdigest()
                known = replace(known, sources=(source,), checksum=checksum, size=len(body))
                patch.setitem(ASSETS, known.name, known)
            changed.append(known)
        patch.setattr(registry, "_ALL", tuple(changed))

    def record(self, **files: bytes) -> None:
        """Zenodo's answer for the record of Charades-STA, in its own shape."""
        rows = []
        for key, body in files.items():
            key = key.replace("__", ".")
            path = f"/api/records/{RECORD}/files/{key}/content"
            self.loopback.add(path, body)
            rows.append(
                {
                    "id": "0", "key": key, "size": len(body),
                    "checksum": "md5:" + hashlib.md5(body).hexdigest(),
                    "links": {"self": self.loopback.base + path},
                }
            )  # fmt: skip
        answer = {"id": RECORD, "metadata": {"license": {"id": "cc-by-4.0"}}, "files": rows}
        self.loopback.add(f"/api/records/{RECORD}", json.dumps(answer).encode())

    def glove(self, lines: str, patch: pytest.MonkeyPatch) -> None:
        body = zipped({"glove.840B.300d.txt": lines.encode()})
        source = Source(self.loopback.add("/glove.840B.300d.zip", body))
        checksum = "sha256:" + hashlib.sha256(body).hexdigest()
        known = replace(ASSETS["glove"], sources=(source,), checksum=checksum, size=len(body))
        patch.setitem(ASSETS, "glove", known)


@pytest.fixture
def public(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[Public]:
    yield Public(loopback, monkeypatch)


def run(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["data", *words])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout else done.stderr


# Annotations -----------------------------------------------------------------------------------


def test_annotations_are_found_by_name_afterwards(public: Public) -> None:
    with pytest.raises(UsageError, match="annotation files") as caught:
        read_annotations("charades", use="train")
    assert "vmrtool data pull charades" in caught.value.remedy
    pull_annotations("charades")
    assert [s.vid for s in read_annotations("charades", use="train").samples] == ["A", "B"]
    assert [s.vid for s in read_annotations("charades", use="test").samples] == ["C"]
    asked = len(public.loopback.requests)
    assert asked == 3  # two text files and one archive with two
    pull_annotations("charades")
    assert len(public.loopback.requests) == asked


def test_annotations_into_a_folder(public: Public, tmp_path: Path) -> None:
    files = pull_annotations("charades", tmp_path / "mine")
    assert {path.name: path.read_bytes() for _, path in files} == CHARADES
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(CHARADES)
    pull_annotations("charades", tmp_path / "mine")
    (tmp_path / "mine" / "charades_sta_test.txt").write_bytes(b"A 1 2##my own version\n")
    with pytest.raises(AssetError, match="there is another file of this name"):
        pull_annotations("charades", tmp_path / "mine")
    assert b"my own" in (tmp_path / "mine" / "charades_sta_test.txt").read_bytes()


def test_annotations_from_a_named_folder(
    public: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMRTOOL_ASSETS", str(tmp_path))
    for name, body in CHARADES.items():
        (tmp_path / name).write_bytes(body)
    pull_annotations("charades")
    assert public.loopback.requests == []
    assert (data_folder("charades") / "charades_sta_test.txt").is_file()


# Features --------------------------------------------------------------------------------------


def test_features_are_found_by_name_afterwards(public: Public) -> None:
    public.record(
        i3d_charades_sta__zip=zipped({f"i3d/{v}.npy": array(v) for v in "ABC"}),
        model_charades_sta=b"weights of another network",
    )
    done = pull_features("charades")
    assert (done.record, done.licence, done.videos) == (RECORD, "cc-by-4.0", 3)
    assert done.left_out == ("model_charades_sta",)
    assert done.path == pulled_features("charades") == data_folder("charades") / "features"
    pull_annotations("charades")
    [part] = load_parts(["charades"], default_stores(["charades"]), use="train")
    assert [v.vid for v in part.videos] == ["A", "B"] and part.dim == 8
    np.testing.assert_allclose(
        part.videos[0].features, np.load(io.BytesIO(array("A"))), rtol=1e-2, atol=1e-3
    )
    # The archive is gone, and nothing is fetched again.
    assert not list(cached(ASSETS["i3d"]).parent.parent.rglob("*.zip.part"))
    assert not (data_folder("zenodo") / str(RECORD) / "i3d_charades_sta.zip").exists()
    pull_features("charades")
    archive = f"/api/records/{RECORD}/files/i3d_charades_sta.zip/content"
    assert public.loopback.gets(archive) == [None]


def test_features_in_several_archives_go_on_after_a_failure(public: Public) -> None:
    public.record(one__zip=zipped({"A.npy": array("A")}), two__zip=zipped({"../B.npy": array("B")}))
    with pytest.raises(AssetError, match="leads out of the archive"):
        pull_features("charades", keep=True)
    assert pulled_features("charades") is None
    with pytest.raises(MissingError):
        default_stores(["charades"])
    public.record(one__zip=zipped({"A.npy": array("A")}), two__zip=zipped({"B.npy": array("B")}))
    assert pull_features("charades", keep=True).videos == 2
    first = f"/api/records/{RECORD}/files/one.zip/content"
    assert public.loopback.gets(first) == [None]
    assert (data_folder("zenodo") / str(RECORD) / "two.zip").is_file()


def test_features_in_one_hdf5_file(public: Public, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["A"] = np.ones((4, 8), np.float32)
    public.record(features__h5=(tmp_path / "f.h5").read_bytes(), readme__txt=b"")
    done = pull_features("charades", tmp_path / "mine")
    assert done.path == tmp_path / "mine" / "features" / "features.h5"
    open_store(done.path).close()
    assert pulled_features("charades") is None  # only where it was asked for


def test_a_file_of_another_md5_is_refused(public: Public) -> None:
    public.record(one__zip=zipped({"A.npy": array("A")}))
    public.loopback.add(f"/api/records/{RECORD}/files/one.zip/content", b"damaged")
    with pytest.raises(AssetError, match=r"one\.zip cannot be had: .*its checksum is md5:"):
        pull_features("charades")
    assert pulled_features("charades") is None


def listing(key: str, checksum: str) -> bytes:
    row = {"key": key, "size": 1, "checksum": checksum, "links": {"self": ""}}
    return json.dumps({"files": [row]}).encode()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"<html>", "not a record of Zenodo"),
        (b"[]", "not a record of Zenodo"),
        (b'{"files": [{"key": "a.zip"}]}', "not a record of Zenodo"),
        (listing("../a.zip", "md5:0"), r"a file called '\.\./a\.zip'"),
        (listing("a.zip", "crc:0"), "has the checksum 'crc:0'"),
        (b'{"files": []}', "there are no features among its files"),
    ],
)
def test_records_that_are_not_as_expected(public: Public, answer: bytes, why: str) -> None:
    public.loopback.add(f"/api/records/{RECORD}", answer)
    with pytest.raises(AssetError, match=why):
        pull_features("charades")


def test_a_record_that_is_gone(public: Public) -> None:
    with pytest.raises(AssetError, match="answers 404") as caught:
        pull_features("charades")
    assert str(RECORD) in (caught.value.remedy or "")


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_mirror_of_the_record(
    public: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    archive = zipped({"A.npy": array("A")})
    public.record(one__zip=archive)
    answer = public.loopback.files.pop(f"/api/records/{RECORD}").body
    public.loopback.files.pop(f"/api/records/{RECORD}/files/one.zip/content")
    if kind == "url":
        public.loopback.add(f"/mirror/api/records/{RECORD}", answer)
        public.loopback.add("/mirror/one.zip", archive)
        monkeypatch.setenv("VMRTOOL_ASSETS", public.loopback.base + "/mirror")
    else:
        monkeypatch.setenv("VMRTOOL_ASSETS", str(tmp_path))
        (tmp_path / "api" / "records").mkdir(parents=True)
        (tmp_path / "api" / "records" / str(RECORD)).write_bytes(answer)
        (tmp_path / "one.zip").write_bytes(archive)
        monkeypatch.setenv("VMRTOOL_OFFLINE", "1")
    assert pull_features("charades").videos == 1
    assert kind == "url" or (tmp_path / "one.zip").is_file()


# Word vectors ----------------------------------------------------------------------------------


def glove_lines(*words: str) -> str:
    return "".join(f"{w} " + " ".join([f"{len(w)}.5"] * 300) + "\n" for w in words)


def test_vectors_of_the_words_of_what_was_pulled(
    public: Public, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    public.glove(glove_lines("the", "a", "person", "door", "cat", ". . .", "dog"), monkeypatch)
    assert "no words" in run("pull", "glove", "--more", "0", code=2)
    run("pull", "charades")
    told = run("pull", "glove", "--more", "0")
    # opens, sits and eats are in the sentences, but have no vector.
    assert told["vectors"] == {"path": str(pulled_vectors()), "words": 4, "absent": 3}
    found = load_word_vectors(pulled_vectors() or Path())
    assert list(found) == ["the", "a", "person", "door"]  # in the file's order
    np.testing.assert_array_equal(found["door"], np.full(300, 4.5, np.float32))
    # The archive of 2 GB is gone; nothing is fetched again before a new word is asked for.
    assert not cached(ASSETS["glove"]).exists()
    run("pull", "glove", "--more", "0")
    assert len(public.loopback.gets("/glove.840B.300d.zip")) == 1
    (tmp_path / "words.txt").write_text("A cat, a Zebra!")
    words = ("--words", str(tmp_path / "words.txt"), "--keep", "--more", "0")
    told = run("pull", "glove", *words)
    assert (told["vectors"]["words"], told["vectors"]["absent"]) == (5, 4)
    assert len(public.loopback.gets("/glove.840B.300d.zip")) == 2
    assert cached(ASSETS["glove"]).is_file()


def test_frequent_words_come_along(public: Public, monkeypatch: pytest.MonkeyPatch) -> None:
    """What training takes out of the compact file is what it takes out of the whole one."""
    assert TrainingSettings.more_words == MORE_WORDS
    lines = glove_lines("the", "The", "cat", "...", "dog", "door", "bird", "fish", "person")
    public.glove(lines, monkeypatch)
    run("pull", "charades")
    assert run("pull", "glove", "--more", "2", "--keep")["vectors"]["words"] == 5
    path = pulled_vectors() or Path()
    assert list(load_word_vectors(path)) == ["the", "cat", "dog", "door", "person"]
    for more in (0, 1, 2):
        for sentence in ("a person opens the door", "a person", "the door"):
            taken = read_given_vectors(path, [sentence], 300, more=more).vectors
            whole = read_given_vectors(cached(ASSETS["glove"]), [sentence], 300, more=more).vectors
            assert list(taken) == list(whole)
    # More of them are fetched, and no fewer kept.
    assert run("pull", "glove", "--more", "3", "--keep")["vectors"]["words"] == 6
    assert run("pull", "glove", "--more", "0")["vectors"]["words"] == 6


def test_vectors_that_cannot_be_made(
    public: Public, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    public.glove("cat 1 2 3\n", monkeypatch)
    with pytest.raises(DataError, match=r"glove\.840B\.300d\.txt, line 1: .* 3 numbers, expected"):
        pull_vectors({"cat"}, more=0)
    public.glove(glove_lines("cat"), monkeypatch)
    with pytest.raises(AssetError):  # the first archive is kept, and not the published one now
        monkeypatch.setenv("VMRTOOL_OFFLINE", "1")
        pull_vectors({"cat"}, more=0)
    monkeypatch.delenv("VMRTOOL_OFFLINE")
    with pytest.raises(DataError, match="a vector of none of the 1 words"):
        pull_vectors({"zebra"}, more=0)
    assert pulled_vectors() is None
    with pytest.raises(DataError, match="cannot be read"):
        words_of_file(tmp_path / "none.txt")


def test_damaged_vectors_are_made_anew(public: Public, monkeypatch: pytest.MonkeyPatch) -> None:
    public.glove(glove_lines("cat"), monkeypatch)
    path = pull_vectors({"cat"}).path
    path.write_bytes(path.read_bytes()[:100])
    assert pull_vectors({"cat"}).words == 1
    assert list(load_word_vectors(path)) == ["cat"]


def test_words_of_a_jsonl_data_set(
    public: Public, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    public.glove(glove_lines("cat", "dog"), monkeypatch)
    row = {"vid": "A", "query": "The cat!", "relevant_windows": [[0, 1]], "duration": 2}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    words = ("--words", str(tmp_path / "mine.jsonl"), "--dir", str(tmp_path), "--more", "0")
    told = run("pull", "glove", *words)
    assert (told["vectors"]["words"], told["vectors"]["absent"]) == (1, 1)
    assert list(load_word_vectors(Path(told["vectors"]["path"]))) == ["cat"]


# The command -----------------------------------------------------------------------------------


def test_the_command_tells_the_terms_and_where_things_are(
    public: Public, monkeypatch: pytest.MonkeyPatch
) -> None:
    public.glove(glove_lines("person"), monkeypatch)
    public.record(i3d__zip=zipped({f"{v}.npy": array(v) for v in "ABC"}))
    done = CliRunner().invoke(app, ["data", "pull", "charades", "--features"])
    assert done.exit_code == 0, done.output
    assert "non-commercial use only" in done.stderr
    told = json.loads(done.stdout)
    assert told["non_commercial"] is True and told["dataset"] == "charades"
    assert [Path(row["path"]).name for row in told["files"]] == [
        known.file for known in annotation_files("charades")
    ]
    assert told["features"] == {
        "path": str(data_folder("charades") / "features"), "record": RECORD,
        "licence": "cc-by-4.0", "videos": 3, "left_out": [],
    }  # fmt: skip
    assert told["vectors"] == {"path": str(pulled_vectors()), "words": 1, "absent": 6}


def test_wrong_usage(public: Public) -> None:
    assert "no data set 'tacos'" in run("pull", "tacos", code=2)
    assert "glove has none" in run("pull", "glove", "--features", code=2)
    assert "pulled whole" in run("pull", "charades", "--words", "x.txt", code=2)


def test_train_and_eval_need_no_further_options(
    public: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    public.glove(glove_lines("person"), monkeypatch)
    public.record(i3d__zip=zipped({f"{v}.npy": array(v) for v in "ABC"}))
    run("pull", "charades", "--features")
    small = ("dim=8", "retrieval_dim=4")
    words = ["train", "--dataset", "charades", "--epochs", "1", "--device", "cpu"]
    words += [word for name in small for word in ("--set", f"network.{name}")]
    words += ["--set", "training.validation_share=0"]
    trained = CliRunner().invoke(app, words)
    assert trained.exit_code == 0, trained.output
    assert "run folder runs/charades: --out names another" in trained.stderr
    assert json.loads(trained.stdout)["out"] == str(tmp_path / "runs" / "charades")
    assert "1 with vectors of glove.840B.300d.safetensors" in trained.stderr
    scored = CliRunner().invoke(
        app, ["eval", "--dataset", "charades", "--model", "runs/charades", "--device", "cpu"]
    )
    assert scored.exit_code == 0, scored.output
    told = json.loads(scored.stdout)
    assert (told["dataset"], told["pairs"]) == ("charades test", 1)
