"""`merge_catalogs`: parts of an archive joined, and what it does not join."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from vmrtool.catalog import Catalog
from vmrtool.catalog.merge import Merged, merge_catalogs
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets, StoredWindow
from vmrtool.errors import CatalogError, UsageError

ROOT = Path("/archive")


def write(
    path: Path,
    videos: dict[str, str],
    *,
    stride: int = 16,
    mtime_ns: int = 1,
    root: Path = ROOT,
    failing: tuple[str, ...] = (),
    model: str | None = None,
) -> Path:
    """A catalog of videos by name, each with features and vectors that follow from its content."""
    with Catalog.create_or_open(path) as catalog:
        # An extractor of old comes first, so that ids differ between catalogs.
        if stride != 16 or failing:
            catalog.extractor_id("i3d", "ab", {"stride": 1})
        extractor = catalog.extractor_id("i3d", "ab", {"stride": stride})
        catalog.use_extractor(extractor)
        catalog.remember(backbone="i3d", model=model)
        for name, content in videos.items():
            file = FoundFile(root / name, root, 7, mtime_ns)
            rng = np.random.default_rng(sum(content.encode()))
            spans = rng.standard_normal((3, 2))
            stored = StoredSnippets(rng.standard_normal((3, 4)).astype(np.float16), spans, spans)
            facts = FileFacts(duration_s=1.5, codec="h264")
            catalog.save_video(file, content, facts, extractor, stored)
            vectors = rng.standard_normal((2, 5)).astype(np.float32)
            two = np.array([[0, 0], [1, 2]], np.int32)
            window = StoredWindow(content, 0, 3, vectors, two)
            catalog.save_vectors("model", extractor, [window])
        for name in failing:
            file = FoundFile(root / name, root, 7, mtime_ns)
            catalog.set_failure(
                *(file, None, FileFacts(), extractor), stage="open", error="no video"
            )
    return path


def everything(path: Path) -> dict[str, list[tuple]]:
    """All that a catalog says, without the numbers that rows happen to have."""
    queries = {
        "videos": "SELECT r.path_bytes, v.path_bytes, v.path, size, mtime_ns, content_hash, "
        "duration_s, codec, state FROM videos AS v JOIN roots AS r ON r.id = root_id",
        "features": "SELECT content_hash, backbone, settings, chunk, n, dim, data, seen, cells "
        "FROM features JOIN extractors AS e ON e.id = extractor_id",
        "windows": "SELECT model, settings, content_hash, first, w.n, v.n, dim, data, spans "
        "FROM windows AS w JOIN vectors AS v ON window_id = w.id "
        "JOIN extractors AS e ON e.id = extractor_id",
        "failures": "SELECT v.path, settings, f.path, stage, error, attempts FROM failures AS f "
        "JOIN videos AS v ON v.id = video_id JOIN extractors AS e ON e.id = extractor_id",
        "settings": "SELECT key, value FROM settings WHERE key NOT IN ('catalog', 'extractor')",
    }
    db = sqlite3.connect(path)
    try:
        return {name: sorted(db.execute(sql).fetchall()) for name, sql in queries.items()}
    finally:
        db.close()


def test_two_parts_are_what_one_run_would_have_made(tmp_path: Path) -> None:
    one = write(tmp_path / "one.db", {"a.mp4": "A", "b.mp4": "B", "c.mp4": "C"}, failing=("x.mp4",))
    a = write(tmp_path / "a.db", {"a.mp4": "A", "c.mp4": "C"})
    b = write(tmp_path / "b.db", {"b.mp4": "B"}, failing=("x.mp4",))
    before = a.read_bytes(), b.read_bytes()
    told: list[tuple[int, int]] = []
    out = tmp_path / "out.db"
    merged = merge_catalogs([a, b], out, lambda *where: told.append(where))
    assert merged == Merged(out, (a, b), videos=4, contents=3, duplicates=0)
    assert everything(out) == everything(one)
    assert told[-1] == (3, 3)
    assert (a.read_bytes(), b.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "b.db", "one.db", "out.db"]
    with Catalog.open(out) as catalog, Catalog.open(a) as part:
        assert catalog.extractor.settings == {"stride": 16}
        assert catalog.id != part.id


def test_a_content_in_two_parts_is_kept_once_and_both_names_stay(tmp_path: Path) -> None:
    a = write(tmp_path / "a.db", {"a.mp4": "A"})
    b = write(tmp_path / "b.db", {"copy.mp4": "A", "b.mp4": "B"}, root=Path("/elsewhere"))
    merged = merge_catalogs([a, b], tmp_path / "out.db")
    assert (merged.videos, merged.contents, merged.duplicates) == (3, 2, 1)
    with Catalog.open(tmp_path / "out.db") as catalog:
        names = [(row.path.as_posix(), row.state) for row in catalog.videos()]
        assert names == [
            ("/archive/a.mp4", "indexed"),
            ("/elsewhere/b.mp4", "indexed"),
            ("/elsewhere/copy.mp4", "indexed"),
        ]
        assert len(catalog.load_vectors("model", catalog.extractor.id)) == 2


def test_a_file_known_twice_is_as_it_was_seen_last(tmp_path: Path) -> None:
    old = write(tmp_path / "old.db", {"a.mp4": "before"})
    new = write(tmp_path / "new.db", {"a.mp4": "after"}, mtime_ns=2)
    # The same file below another of the folders it lies in.
    nested = write(tmp_path / "nested.db", {"y.mp4": "Y"}, root=ROOT / "sub")
    above = write(tmp_path / "above.db", {}, failing=("sub/y.mp4",))
    merge_catalogs([old, new, above, nested], tmp_path / "out.db")
    with Catalog.open(tmp_path / "out.db") as catalog:
        rows = {row.path.name: row for row in catalog.videos()}
        assert set(rows) == {"a.mp4", "y.mp4"}
        assert rows["a.mp4"].content_hash == "after" and rows["a.mp4"].mtime_ns == 2
        assert rows["y.mp4"].state == "indexed"
        assert catalog.failures() == []
        assert not catalog.has_features("before", catalog.extractor.id)


def test_what_the_parts_remember_is_the_first_ones(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.db"
    Catalog.create_or_open(nothing).close()
    a = write(tmp_path / "a.db", {"a.mp4": "A"})
    b = write(tmp_path / "b.db", {"b.mp4": "B"}, model="kitchen")
    c = write(tmp_path / "c.db", {"c.mp4": "C"}, model="garden")
    merge_catalogs([nothing, a, b, c], tmp_path / "out.db")
    with Catalog.open(tmp_path / "out.db") as catalog:
        assert catalog.model == "kitchen" and catalog.setting("backbone") == "i3d"


def test_other_extractors_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    a = write(tmp_path / "a.db", {"a.mp4": "A"})
    b = write(tmp_path / "b.db", {"b.mp4": "B"}, stride=8)
    with pytest.raises(CatalogError, match=r"a\.db and .*b\.db.*stride 16 and 8") as caught:
        merge_catalogs([a, b], tmp_path / "out.db")
    assert caught.value.exit_code == 3
    (tmp_path / "text.db").write_text("text")
    with pytest.raises(CatalogError, match="not a catalog"):
        merge_catalogs([a, tmp_path / "text.db"], tmp_path / "out.db")
    with pytest.raises(UsageError, match="named twice"):
        merge_catalogs([a, a], tmp_path / "out.db")
    with pytest.raises(UsageError, match="already"):
        merge_catalogs([a, b], b)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.db", "b.db", "text.db"]


def test_a_merge_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    a = write(tmp_path / "a.db", {"a.mp4": "A"})
    b = write(tmp_path / "b.db", {"b.mp4": "B"})

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_catalogs([a, b], tmp_path / "out.db", stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "b.db"]
