"""The searcher over a catalog: what it answers, what it keeps, what it refuses."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_catalog import SETTINGS, WORDS, random_videos, write_catalog, write_model

import vmrtool
from vmrtool.catalog import Catalog
from vmrtool.catalog.verification import repair, verify
from vmrtool.errors import CatalogError, MissingError, ModelError, UsageError
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.search import pooling
from vmrtool.search.engine import Searcher
from vmrtool.search.index import Part
from vmrtool.search.result import SearchResult
from vmrtool.search.shards import open_archive

QUERY = "a person opens the door"
VIDEOS = random_videos(6)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_model(tmp_path / "run")


@pytest.fixture
def db(tmp_path: Path, run: Path) -> Path:
    return write_catalog(tmp_path / "vmrtool.db", VIDEOS, model=str(run))


def timeless(result: SearchResult) -> SearchResult:
    return replace(result, elapsed_ms=0.0)


def test_an_answer_has_the_documented_fields_and_is_ranked(db: Path) -> None:
    with vmrtool.open(db) as archive:
        result = archive.search(QUERY, top=8)
    answer = json.loads(json.dumps(result.to_dict()))
    assert list(answer) == [
        "schema",
        "query",
        "model",
        "catalog",
        "videos_searched",
        "shortlisted",
        "windows_grounded",
        "elapsed_ms",
        "moments",
    ]
    assert answer["schema"] == "vmrtool.search/1"
    assert (answer["query"], answer["model"], answer["catalog"]) == (QUERY, "run", str(db))
    assert answer["videos_searched"] == answer["shortlisted"] == 6
    assert answer["windows_grounded"] == sum(1 if len(f) <= 128 else 2 for f, _ in VIDEOS.values())
    assert answer["elapsed_ms"] > 0
    moments = answer["moments"]
    assert [moment["rank"] for moment in moments] == list(range(1, 9))
    for moment in moments:
        assert list(moment) == [
            "rank",
            "video",
            "start",
            "end",
            "score",
            "similarity",
            "grounding",
        ]
        path = Path(moment["video"])
        assert path.parent == db.parent
        assert 0.0 <= moment["start"] < moment["end"] <= VIDEOS[path.name][1][-1, 1]
        assert 0.0 <= moment["score"] <= 1.0
        assert -1.0 <= moment["similarity"] <= 1.0
        assert 0.0 <= moment["grounding"] <= 1.0
    scores = [moment["score"] for moment in moments]
    assert scores == sorted(scores, reverse=True)
    names = [moment["video"] for moment in moments]
    assert max(map(names.count, names)) <= 3


def test_no_two_moments_of_a_video_are_nearly_the_same(db: Path) -> None:
    with open_archive(db) as archive:
        moments = archive.search(QUERY, top=100, per_video=5).moments
    assert len(moments) > 12
    for a in moments:
        for b in moments:
            if a.video == b.video and a.rank < b.rank:
                shared = max(0.0, min(a.end, b.end) - max(a.start, b.start))
                assert shared <= 0.1 * (b.end - b.start + a.end - a.start - shared) + 1e-9


def test_options_bound_what_is_looked_at_and_shown(db: Path) -> None:
    with open_archive(db) as archive:
        result = archive.search(QUERY, top=3, shortlist=2, windows_per_video=1, per_video=1)
        assert (result.shortlisted, result.windows_grounded, len(result.moments)) == (2, 2, 2)
        for option in ("top", "shortlist", "windows_per_video", "per_video"):
            with pytest.raises(UsageError, match=f"{option} is 0"):
                archive.search(QUERY, **{option: 0})


def test_the_order_of_indexing_does_not_show(db: Path, run: Path, tmp_path: Path) -> None:
    with open_archive(db) as archive:
        expected = archive.search(QUERY)
    db.rename(tmp_path / "first.db")
    write_catalog(db, dict(reversed(VIDEOS.items())), model=str(run))
    with open_archive(db) as archive:
        assert timeless(archive.search(QUERY)) == timeless(expected)


def test_vectors_are_made_once_and_for_new_videos_only(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    def on_vectors(done: int, total: int) -> None:
        told.append((done, total))

    with open_archive(db, on_vectors=on_vectors) as archive:
        expected = archive.search(QUERY)
    assert told[0] == (0, 6) and told[-1] == (6, 6)
    told.clear()
    with open_archive(db, on_vectors=on_vectors) as archive:
        assert timeless(archive.search(QUERY)) == timeless(expected)
    assert told == []
    write_catalog(db, {"new.mp4": random_videos(1, seed=9)["clip0.mp4"]})
    with open_archive(db, on_vectors=on_vectors) as archive:
        assert archive.search(QUERY).videos_searched == 7
    assert told == [(0, 1), (1, 1)]


def test_another_model_has_vectors_of_its_own(db: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    with open_archive(db) as archive:
        first = archive.search(QUERY)
    with open_archive(db, other) as archive:
        second = archive.search(QUERY)
    assert second.model == "other"
    assert {m.similarity for m in first.moments}.isdisjoint(m.similarity for m in second.moments)
    with open_archive(db) as archive:
        assert timeless(archive.search(QUERY)) == timeless(first)


def test_a_catalog_that_cannot_be_written_is_searched_all_the_same(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_archive(db) as archive:
        expected = archive.search(QUERY)
        assert archive.notes == ()
    with Catalog.open(db, readonly=False) as catalog, catalog.transaction() as inside:
        inside.execute("DELETE FROM windows")

    def refuse(*arguments: object) -> None:
        raise CatalogError("the catalog cannot be written")

    monkeypatch.setattr(Catalog, "save_vectors", refuse)
    with open_archive(db) as archive:
        assert timeless(archive.search(QUERY)) == timeless(expected)
        (note,) = archive.notes
    assert "cannot be written" in note and "every search" in note


def test_copies_each_have_their_moments_ordered_by_path(db: Path) -> None:
    with open_archive(db) as archive:
        best = archive.search(QUERY, top=1).moments[0]
    name = best.path.name
    write_catalog(db, {"a copy.mp4": VIDEOS[name], "z copy.mp4": VIDEOS[name]})
    with open_archive(db) as archive:
        result = archive.search(QUERY, top=3)
    assert [moment.path.name for moment in result.moments] == ["a copy.mp4", name, "z copy.mp4"]
    assert {(m.start, m.end, m.score) for m in result.moments} == {
        (best.start, best.end, best.score)
    }
    assert result.videos_searched == result.shortlisted == 8


def test_a_filter_goes_by_name_or_path(db: Path) -> None:
    with open_archive(db) as archive:
        result = archive.search(QUERY, video="clip[12].mp4", shortlist=1, top=50)
        assert result.videos_searched == 2 and result.shortlisted == 1
        assert {moment.path.name for moment in result.moments} <= {"clip1.mp4", "clip2.mp4"}
        nothing = archive.search(QUERY, video="*.avi")
        assert nothing.moments == () and nothing.videos_searched == 0
        assert nothing.notes == ("No video fits '*.avi'.",)


def test_a_name_that_is_not_utf8_is_given_in_base64(db: Path, run: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd" / "vmrtool.db"
    odd.parent.mkdir()
    write_catalog(odd, {b"caf\xe9.mp4": VIDEOS["clip0.mp4"]}, model=str(run))
    with open_archive(odd) as archive:
        moment = archive.search(QUERY, top=1).moments[0]
    assert moment.to_dict()["video"].endswith("caf\ufffd.mp4")
    assert bytes(moment.path) == bytes(odd.parent) + b"/caf\xe9.mp4"
    json.dumps(moment.to_dict()).encode()


def test_videos_whose_files_are_gone_are_not_searched(db: Path) -> None:
    with Catalog.open(db, readonly=False) as catalog:
        catalog.mark_missing([row for row in catalog.videos() if row.path.name == "clip3.mp4"])
    with open_archive(db) as archive:
        result = archive.search(QUERY, top=100)
    assert result.videos_searched == 5
    assert "clip3.mp4" not in {moment.path.name for moment in result.moments}


def test_refresh_sees_what_was_indexed_since(db: Path) -> None:
    with open_archive(db) as archive:
        assert archive.search(QUERY).videos_searched == 6
        write_catalog(db, {"new.mp4": random_videos(1, seed=9)["clip0.mp4"]})
        assert archive.search(QUERY).videos_searched == 6
        archive.refresh()
        assert archive.search(QUERY).videos_searched == 7


def test_unknown_words_are_told(db: Path) -> None:
    with open_archive(db) as archive:
        assert archive.search(QUERY).unknown_words == ()
        assert archive.search("A Person yodels").unknown_words == ("yodels",)
        assert archive.search("zxcv qwer").unknown_words == ("zxcv", "qwer")
        long = archive.search("door " * 30)
    assert long.notes == ("Only the first 25 words of the query count.",)


@pytest.mark.parametrize("query", ["", "  \n", "?!", "…"])
def test_a_query_needs_a_word(db: Path, query: str) -> None:
    with open_archive(db) as archive, pytest.raises(UsageError):
        archive.search(query)


def test_an_empty_catalog_answers_with_nothing_and_needs_no_model(tmp_path: Path) -> None:
    db = write_catalog(tmp_path / "empty.db", {})
    with open_archive(db) as archive:
        result = archive.search(QUERY)
        assert "no videos" in archive.notes[0]
    assert (result.moments, result.videos_searched, result.windows_grounded) == ((), 0, 0)
    with pytest.raises(MissingError, match="nosuch"):
        open_archive(db, "nosuch")


def test_a_model_for_other_features_is_refused_with_both_sides_named(
    db: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "dense", settings={**SETTINGS, "stride": 4})
    with pytest.raises(ModelError, match=r"dense' does not fit .*stride 4, not 16") as refused:
        open_archive(db, other)
    assert refused.value.exit_code == 3
    assert f"vmrtool index DIR --model {other}" in str(refused.value.remedy)


def test_features_of_an_earlier_extractor_are_found(db: Path, run: Path) -> None:
    with open_archive(db, run) as archive:
        expected = archive.search(QUERY)
    some = {"clip0.mp4": VIDEOS["clip0.mp4"]}
    write_catalog(db, some, settings={**SETTINGS, "stride": 4})
    with open_archive(db, run) as archive:
        assert archive.notes == ()
        assert timeless(archive.search(QUERY)) == timeless(expected)


def test_videos_without_features_for_the_model_are_told_of(db: Path, tmp_path: Path) -> None:
    dense = {**SETTINGS, "stride": 4}
    write_catalog(db, {"clip0.mp4": VIDEOS["clip0.mp4"]}, settings=dense)
    other = write_model(tmp_path / "dense", settings=dense)
    with open_archive(db, other) as archive:
        assert archive.search(QUERY).videos_searched == 1
        assert archive.notes[0].startswith("5 of 6 videos are not searched")


def test_without_a_model_the_ways_on_are_named(tmp_path: Path) -> None:
    db = write_catalog(tmp_path / "vmrtool.db", VIDEOS)
    with pytest.raises(MissingError) as missing:
        open_archive(db)
    assert "stand-in" in str(missing.value)
    remedy = str(missing.value.remedy)
    assert "vmrtool train" in remedy and "--model" in remedy and "blocks" in remedy


def test_a_long_video_is_pooled_a_few_windows_at_a_time(
    db: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_db = tmp_path / "copy.db"
    shutil.copy(db, expected_db)
    with open_archive(expected_db) as archive:
        expected = archive.search(QUERY)
    most = 0

    def counted(model, windows):
        nonlocal most
        most = max(most, len(windows))
        return real(model, windows)

    real = pooling.pool_windows
    monkeypatch.setattr(pooling, "pool_windows", counted)
    monkeypatch.setattr(pooling, "_AT_ONCE", 3)
    with open_archive(db) as archive:
        result = archive.search(QUERY)
    assert most == 3
    assert result.moments == expected.moments


def test_filters_by_age_and_length_act_before_the_shortlist(db: Path) -> None:
    from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets

    features, cells = VIDEOS["clip0.mp4"]
    with Catalog.open(db, readonly=False) as catalog:
        extractor = catalog.extractor
        assert extractor is not None
        late = FoundFile(db.parent / "late.mp4", db.parent, size=2, mtime_ns=4_000_000_000 * 10**9)
        stored = StoredSnippets(features[::-1].copy(), cells, cells)
        catalog.save_video(late, "late", FileFacts(duration_s=42.0), extractor.id, stored)

    def names(archive, **asked: str) -> set[str]:
        found = archive.search(QUERY, shortlist=1, **asked)
        assert found.videos_searched == found.shortlisted == bool(found.moments)
        return {moment.path.name for moment in found.moments}

    with vmrtool.open(db) as archive:
        assert names(archive, since="2026-11-24") == names(archive, since="7d") == {"late.mp4"}
        assert names(archive, duration="42-42") == names(archive, duration="40-") == {"late.mp4"}
        assert names(archive, duration="-41.9") == set()
        assert archive.search(QUERY, duration="-41.9").notes == (
            "No video fits --duration 0-41.9.",
        )
        assert archive.search(QUERY).videos_searched == len(VIDEOS) + 1


@pytest.mark.parametrize(
    "words",
    [
        {"since": "soon"},
        {"duration": "long"},
        {"duration": "9-3"},
        {"duration": "-"},
        {"duration": "5"},
    ],
)
def test_filters_that_cannot_be_read_are_refused(db: Path, words: dict[str, str]) -> None:
    with vmrtool.open(db) as archive, pytest.raises(UsageError, match="is no "):
        archive.search(QUERY, **words)


# Many queries ----------------------------------------------------------------------------------

SENTENCES = st.lists(
    st.lists(st.sampled_from([*WORDS, "yodels"]), min_size=1, max_size=30).map(" ".join),
    min_size=1,
    max_size=26,  # FAISS multiplies matrices from 20 queries on
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    """More videos than a shortlist, so that FAISS decides, and some of several windows."""
    folder = tmp_path_factory.mktemp("many")
    run = write_model(folder / "run")
    with open_archive(write_catalog(folder / "v.db", random_videos(12)), run) as archive:
        yield archive


@settings(deadline=None, max_examples=10)
@given(queries=SENTENCES, shortlist=st.integers(1, 5), windows=st.integers(1, 2))
def test_an_answer_does_not_depend_on_what_else_is_asked(
    many: Searcher, queries: list[str], shortlist: int, windows: int
) -> None:
    options = {"shortlist": shortlist, "windows_per_video": windows}
    together = many.search_many(queries, **options)
    assert [result.query for result in together] == queries
    for query, result in zip(queries, together, strict=True):
        assert timeless(many.search(query, **options)) == timeless(result)


def test_a_window_that_several_queries_look_into_is_read_and_encoded_once(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, encoded, asked = [], [], []
    features, encode = Catalog.features, GroundingNetwork.encode_video
    find = Part.search
    with open_archive(db) as archive:
        monkeypatch.setattr(
            Catalog, "features", lambda *key: (read.append(key[1:]), features(*key))[1]
        )
        monkeypatch.setattr(
            GroundingNetwork, "encode_video",
            lambda network, *shown: (encoded.append(len(shown[0])), encode(network, *shown))[1],
        )  # fmt: skip
        monkeypatch.setattr(
            Part, "search",
            lambda part, *x, **y: (asked.append(len(x[0])), find(part, *x, **y))[1],
        )  # fmt: skip
        results = archive.search_many([QUERY, "the door", "a window"], shortlist=5)
        assert asked == [3]
        assert len(read) == len(set(read)) < sum(r.windows_grounded for r in results)
        once = sum(encoded)
        read.clear(), encoded.clear()
        for query in (QUERY, "the door", "a window"):
            archive.search(query, shortlist=5)
        assert once < sum(encoded)
        assert archive.search_many([]) == []
        with pytest.raises(UsageError):
            archive.search_many([QUERY, "?"])


# Windows kept encoded --------------------------------------------------------------------------


def kept_rows(db: Path) -> int:
    with Catalog.open(db) as catalog, catalog.reading() as inside:
        return int(inside.execute("SELECT count(*) FROM encodings").fetchone()[0])


def windows(db: Path) -> int:
    with Catalog.open(db) as catalog, catalog.reading() as inside:
        return int(inside.execute("SELECT count(*) FROM windows").fetchone()[0])


def test_windows_kept_encoded_answer_the_same_to_the_last_bit(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vmrtool.open(db) as archive:
        expected = archive.search(QUERY, top=50)
    assert kept_rows(db) == 0
    with vmrtool.open(db, keep_encoded=True) as archive:
        assert timeless(archive.search(QUERY, top=50)) == timeless(expected)
    assert kept_rows(db) == windows(db) > len(VIDEOS)
    # From now on no features are read and nothing is encoded, whoever asks.
    monkeypatch.setattr(Catalog, "features", lambda *_: pytest.fail("features were read"))
    monkeypatch.setattr(
        "vmrtool.grounding.network.GroundingNetwork.encode_video",
        lambda *_: pytest.fail("a window was encoded"),
    )
    with vmrtool.open(db) as archive:
        assert archive.notes == ()
        assert timeless(archive.search(QUERY, top=50)) == timeless(expected)


def test_the_catalog_remembers_that_windows_are_kept_encoded(db: Path) -> None:
    vmrtool.open(db, keep_encoded=True).close()
    write_catalog(db, {"new.mp4": random_videos(1, seed=9)["clip0.mp4"]})
    vmrtool.open(db).close()
    assert kept_rows(db) == windows(db)
    with Catalog.open(db) as catalog:
        assert catalog.setting("keep_encoded") is True
    vmrtool.open(db, keep_encoded=False).close()
    write_catalog(db, {"newer.mp4": random_videos(1, seed=10)["clip0.mp4"]})
    with vmrtool.open(db) as archive:
        assert archive.search(QUERY).videos_searched == len(VIDEOS) + 2
    assert kept_rows(db) == 0
    with Catalog.open(db) as catalog:
        assert catalog.setting("keep_encoded") is None


def test_encodings_go_with_their_video_and_their_model(db: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    vmrtool.open(db, keep_encoded=True).close()
    each = windows(db)
    with vmrtool.open(db, other) as archive:
        second = archive.search(QUERY)
    assert kept_rows(db) == windows(db) == 2 * each
    with vmrtool.open(db, other, keep_encoded=False) as archive:
        assert timeless(archive.search(QUERY)) == timeless(second)
    vmrtool.open(db, keep_encoded=True).close()
    with Catalog.open(db, readonly=False) as catalog:
        gone = next(row for row in catalog.videos() if row.path.name == "clip1.mp4")
        with catalog.transaction() as inside:
            inside.execute("DELETE FROM videos WHERE id = ?", (gone.id,))
        catalog.collect_garbage()
        assert verify(catalog).faults == ()
    left = sum(1 if len(f) <= 128 else 2 for name, (f, _) in VIDEOS.items() if name != "clip1.mp4")
    assert kept_rows(db) == left  # only the first model's were made again


def test_encodings_that_cannot_be_kept_are_done_without(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vmrtool.open(db) as archive:
        expected = archive.search(QUERY)
    with Catalog.open(db, readonly=False) as catalog:
        catalog.remember(keep_encoded=True)

    def refuse(*arguments: object) -> None:
        raise CatalogError("the catalog cannot be written")

    monkeypatch.setattr(Catalog, "save_vectors", refuse)
    with vmrtool.open(db) as archive:
        assert timeless(archive.search(QUERY)) == timeless(expected)
        (note,) = archive.notes
    assert "encodings of 6 videos" in note


def test_a_wrong_encoding_is_told_and_mended(db: Path) -> None:
    with vmrtool.open(db, keep_encoded=True) as archive:
        expected = archive.search(QUERY)
    for column, value in (("dim", 8), ("data", b"\xff" * 10), ("n", 0)):
        with Catalog.open(db, readonly=False) as catalog, catalog.transaction() as inside:
            first = "(SELECT min(window_id) FROM encodings)"
            inside.execute(f"UPDATE encodings SET {column} = ? WHERE window_id = {first}", (value,))
        with vmrtool.open(db) as archive, pytest.raises(CatalogError, match="catalog"):
            archive.search(QUERY)
        with Catalog.open(db, readonly=False) as catalog:
            (fault,) = verify(catalog).faults
            assert fault.table == "encodings"
            repair(catalog, (fault,))
            assert verify(catalog).faults == ()
        with vmrtool.open(db) as archive:
            assert timeless(archive.search(QUERY)) == timeless(expected)
