"""An exported catalog: others can read it, and it stands for the catalog wherever one is asked."""

import json
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic import write_archive
from typer.testing import CliRunner

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets
from vmrtool.cli import app
from vmrtool.datasets.dataset import join
from vmrtool.datasets.export import export_features
from vmrtool.datasets.files import open_store
from vmrtool.datasets.jsonl import read_jsonl
from vmrtool.datasets.samples import Sample
from vmrtool.errors import DataError, UsageError

TINY = [
    word
    for setting in ("dim=8", "word_dim=4", "retrieval_dim=4")
    for word in ("--set", f"network.{setting}")
]


def invoke(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def write_catalog(path: Path, *names: str, equal: bool = False, n: int = 5) -> Path:
    """A catalog of videos that need not exist, all with the same features or each with its own."""
    rng = np.random.default_rng(0)
    with Catalog.create_or_open(path) as catalog:
        extractor = catalog.extractor_id("synthetic", "0" * 64, {"stride": 16})
        catalog.use_extractor(extractor)
        for number, name in enumerate(names):
            if number == 0 or not equal:
                edges = np.sort(rng.random(n + 1)) * 9
                cells = np.stack([edges[:-1], edges[1:]], axis=1)
                features = rng.standard_normal((n, 3)).astype(np.float16)
            file = FoundFile(path.parent / name, path.parent, number + 1, 1)
            content = "same" if equal else f"content-{number}"
            stored = StoredSnippets(features, cells - 0.25, cells)
            catalog.save_video(file, content, FileFacts(duration_s=9.0), extractor, stored)
    return path


def export(path: Path, out: Path, **options: str):
    with Catalog.open(path) as catalog:
        return export_features(catalog, out, **options)


def test_others_find_an_array_a_video(tmp_path: Path) -> None:
    path = write_catalog(tmp_path / "v.db", "one.mp4", "deep/two.mkv")
    done = export(path, tmp_path / "new" / "f.h5")
    assert (done.videos, done.contents, done.snippets, done.dim) == (2, 2, 10, 3)
    with Catalog.open(path) as catalog, h5py.File(tmp_path / "new" / "f.h5") as file:
        assert sorted(file) == ["one", "two"]
        stored = catalog.features("content-1", 1)
        assert file["two"].dtype == np.float16
        assert np.array_equal(file["two"], stored.features)
        assert np.array_equal(file["two"].attrs["cells"], stored.cells)
        assert np.array_equal(file["two"].attrs["seen"], stored.seen)
        assert file["two"].attrs["content_hash"] == "content-1"
        assert file["two"].attrs["duration_s"] == 9.0
        assert json.loads(file["two"].attrs["videos"]) == [str(tmp_path / "deep" / "two.mkv")]
        assert (file.attrs["schema"], file.attrs["backbone"]) == ("vmrtool.features/1", "synthetic")
        assert json.loads(file.attrs["settings"]) == {"stride": 16}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["f.h5"]


def test_it_reads_back_as_its_catalog(tmp_path: Path) -> None:
    queries, path = write_archive(tmp_path, videos=4, seed=2)
    export(path, tmp_path / "f.h5")
    annotations = read_jsonl(queries)
    with closing(open_store(path)) as one, closing(open_store(tmp_path / "f.h5")) as other:
        first, second = join(annotations, one, strict=True), join(annotations, other, strict=True)
    assert first.extractor == second.extractor
    assert first.video_of == second.video_of
    for a, b in zip(first.videos, second.videos, strict=True):
        assert np.array_equal(a.features, b.features) and a.features.dtype == b.features.dtype
        assert np.array_equal(a.cells, b.cells)
        assert (a.vid, a.file) == (b.vid, b.file)


def test_training_and_evaluation_on_it_are_those_on_the_catalog(tmp_path: Path) -> None:
    queries, path = write_archive(tmp_path, videos=6, seed=2, shortest=16, longest=24)
    exported = invoke("catalog", "export-features", tmp_path / "f.h5", "--catalog", path, "--json")
    assert exported.exit_code == 0, exported.output
    told = json.loads(exported.stdout)
    assert (told["schema"], told["videos"], told["dim"]) == ("vmrtool.export/1", 6, 24)
    assert told["bytes"] == (tmp_path / "f.h5").stat().st_size
    documents, models = [], []
    for name in ("vmrtool.db", "f.h5"):
        source, run = ["--features", tmp_path / name], tmp_path / f"run-{name}" / "run"
        done = invoke("train", "--dataset", queries, *source, "--out", run, "--epochs", 2, *TINY)
        assert done.exit_code == 0, done.output
        models.append((run / "model.safetensors").read_bytes())
        done = invoke("eval", "--dataset", queries, *source, "--model", run, "--corpus", "--json")
        assert done.exit_code == 0, done.output
        documents.append(json.loads(done.stdout))
    assert models[0] == models[1]
    assert documents[0] == documents[1]


def test_copies_share_an_array_under_all_their_names(tmp_path: Path) -> None:
    path = write_catalog(tmp_path / "v.db", "a.mp4", "b.mp4", "deep/a.mkv", equal=True, n=3)
    done = export(path, tmp_path / "f.h5")
    assert (done.videos, done.contents, done.snippets) == (2, 1, 3)
    with h5py.File(tmp_path / "f.h5") as file:
        assert sorted(file) == ["a", "b"]
        assert file["a"] == file["b"]
        assert len(json.loads(file["a"].attrs["videos"])) == 3


def test_different_videos_of_one_name(tmp_path: Path) -> None:
    path = write_catalog(tmp_path / "v.db", "a.mp4", "deep/a.mp4")
    with pytest.raises(DataError, match="two different videos would be called 'a'") as error:
        export(path, tmp_path / "f.h5")
    assert "--names path" in error.value.remedy
    assert not (tmp_path / "f.h5").exists()
    export(path, tmp_path / "f.h5", names="path")
    with h5py.File(tmp_path / "f.h5") as file:
        assert file["a.mp4"].shape == file["deep/a.mp4"].shape
    with closing(open_store(tmp_path / "f.h5")) as store, Catalog.open(path) as catalog:
        # Found by their paths, as in the catalog, or by these names.
        for number, name in enumerate(("a.mp4", "deep/a.mp4")):
            expected = catalog.features(f"content-{number}", 1).features
            asked = Sample(0, "a", "q", ((0.0, 1.0),), 9.0, video=tmp_path / name)
            assert np.array_equal(store.get(asked).features, expected)
            assert np.array_equal(
                store.get(Sample(0, name, "q", ((0.0, 1.0),), 9.0)).features, expected
            )


def test_a_folder_of_a_videos_name(tmp_path: Path) -> None:
    path = write_catalog(tmp_path / "v.db", "a.mp4", "a.mp4.d/b.mp4", "c.mp4")
    export(path, tmp_path / "fine.h5", names="path")
    path = write_catalog(tmp_path / "odd.db", "a.mp4", "a.mp4/b.mp4")
    with pytest.raises(DataError, match="name of a folder"):
        export(path, tmp_path / "f.h5", names="path")


def test_long_videos_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = write_catalog(tmp_path / "v.db", "\udcff.mp4", "день 日.mp4", n=20_000)
    export(path, tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file, Catalog.open(path) as catalog:
        assert sorted(file) == ["день 日", "\ufffd"]
        cells = catalog.features("content-1", 1).cells
        assert np.array_equal(file["день 日"].attrs["cells"], cells)
    with closing(open_store(tmp_path / "f.h5")) as store:
        odd = tmp_path / "\udcff.mp4"
        found = store.get(Sample(0, "none", "q", ((0.0, 1.0),), 9.0, video=odd))
        assert (len(found.features), found.file) == (20_000, odd)


def test_nothing_is_overwritten_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_catalog(tmp_path / "v.db", "a.mp4", "b.mp4")
    (tmp_path / "mine.h5").write_text("precious")
    done = invoke("catalog", "export-features", tmp_path / "mine.h5", "--catalog", path)
    assert done.exit_code == 2
    assert "there already" in done.stderr
    assert (tmp_path / "mine.h5").read_text() == "precious"

    def broken(self: Catalog, *_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "features", broken)
        done = invoke("catalog", "export-features", tmp_path / "f.h5", "--catalog", path)
    assert done.exit_code == 3
    assert not list(tmp_path.glob("f.h5*"))


def test_bad_input(tmp_path: Path) -> None:
    Catalog.create_or_open(tmp_path / "empty.db").close()
    done = invoke(
        "catalog", "export-features", tmp_path / "f.h5", "--catalog", tmp_path / "empty.db"
    )
    assert done.exit_code == 3
    assert "no features yet" in done.stderr and "vmrtool index" in done.stderr
    path = write_catalog(tmp_path / "v.db", "a.mp4")
    with pytest.raises(UsageError, match="stem or path"):
        export(path, tmp_path / "f.h5", names="hash")
    done = invoke(
        "catalog", "export-features", tmp_path / "f.h5", "--catalog", tmp_path / "none.db"
    )
    assert done.exit_code == 3
    assert not (tmp_path / "f.h5").exists()


def test_a_description_that_is_damaged(tmp_path: Path) -> None:
    path = write_catalog(tmp_path / "v.db", "a.mp4")
    export(path, tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5", "a") as file:
        file["a"].attrs["cells"] = np.zeros((2, 2))
    with (
        closing(open_store(tmp_path / "f.h5")) as store,
        pytest.raises(DataError, match="cells of 'a' are not 5 pairs"),
    ):
        store.get(Sample(0, "a", "q", ((0.0, 1.0),), 9.0))
    with h5py.File(tmp_path / "f.h5", "a") as file:
        file.attrs["settings"] = "{"
    with pytest.raises(DataError, match=r"f.h5: cannot be read as HDF5"):
        open_store(tmp_path / "f.h5")
