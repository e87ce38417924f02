"""The shortlist is exact, the ranking finds what is there, and seams do not show."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from search_oracle import marked_video, oracle_model, seconds

from vmrtool.search.archive import Archive
from vmrtool.search.grounding import WindowFeatures
from vmrtool.search.index import Part, VectorIndex
from vmrtool.search.pooling import pool_contents

MODEL = oracle_model()


def unit_vectors(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 15), st.booleans())
def test_the_shortlist_is_that_of_brute_force(
    seed: int, videos: int, wanted: int, filtered: bool
) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 40, size=videos)
    video_of = np.repeat(np.arange(videos), counts)
    window_of = np.concatenate([np.sort(rng.integers(0, 3, size=n)) for n in counts])
    vectors, query = unit_vectors(rng, len(video_of)), unit_vectors(rng, 1)[0]
    allowed = rng.random(videos) < 0.5 if filtered else None
    bounds = np.concatenate([[0], np.cumsum(counts)])
    index = VectorIndex([Part.exact(vectors)], bounds, window_of)

    cosines = vectors @ query
    best = {v: cosines[video_of == v].max() for v in range(videos)}
    expected = [v for v in sorted(best, key=lambda v: -best[v]) if allowed is None or allowed[v]][
        :wanted
    ]
    assert index.shortlist(query, wanted, allowed) == expected

    for v in range(videos):
        rows = video_of == v
        windows = sorted(
            set(window_of[rows]), key=lambda w: -cosines[rows & (window_of == w)].max()
        )
        assert index.best_windows(query, v, 2) == sorted(windows[:2])


def test_a_video_with_thousands_of_good_stretches_does_not_fill_the_shortlist() -> None:
    rng = np.random.default_rng(3)
    query = unit_vectors(rng, 1)[0]
    crowd = np.repeat(query[None], 5000, axis=0)
    others = unit_vectors(rng, 30)
    bounds = np.concatenate([[0], np.arange(5000, 5031)])
    vectors = np.concatenate([crowd, others])
    index = VectorIndex([Part.exact(vectors)], bounds, np.zeros(len(vectors), np.int32))
    assert len(index.shortlist(query, 20)) == 20


def test_the_right_video_and_moment_come_first() -> None:
    archive = Archive.in_memory(
        MODEL,
        {
            "a": marked_video(90, (0, 10, 20), (1, 50, 60)),
            "b": marked_video(40, (1, 3, 12)),
            "c": marked_video(300, (2, 200, 215), (0, 31, 36)),
        },
    )
    found = archive.find(MODEL, "e2")
    assert next(iter(found.moments)) == "c"
    assert (found.moments["c"][0].first, found.moments["c"][0].last) == (200, 215)
    ranked = sorted(
        ((m.score, c, m.first) for c, ms in archive.find(MODEL, "e0").moments.items() for m in ms),
        reverse=True,
    )
    assert {(c, first) for _, c, first in ranked[:2]} == {("a", 10), ("c", 31)}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 420), st.data())
def test_a_moment_is_found_whole_and_once_wherever_the_seams_lie(
    n: int, data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, min(n, 64)))
    first = data.draw(st.integers(0, n - length))
    archive = Archive.in_memory(MODEL, {"v": marked_video(n, (0, first, first + length - 1))})
    best, *others = archive.find(MODEL, "e0", per_video=5).moments["v"]
    assert (best.first, best.last) == (first, first + length - 1)
    # Nothing else that looks like the moment is a span of its own right.
    assert all(other.grounding < 0.01 for other in others)


def test_a_moment_longer_than_a_window_is_found_whole() -> None:
    archive = Archive.in_memory(MODEL, {"v": marked_video(400, (0, 90, 290))})
    best = archive.find(MODEL, "e0", windows_per_video=7).moments["v"][0]
    assert (best.first, best.last) == (90, 290)


def test_the_order_of_videos_changes_nothing_and_one_less_takes_only_its_own() -> None:
    rng = np.random.default_rng(5)
    videos = {}
    for name in "abcdef":
        n = int(rng.integers(20, 300))
        first = int(rng.integers(0, n - 10))
        videos[name] = marked_video(n, (int(rng.integers(0, 3)), first, first + 9))
    forward = Archive.in_memory(MODEL, videos).find(MODEL, "e1").moments
    backward = Archive.in_memory(MODEL, dict(reversed(videos.items()))).find(MODEL, "e1").moments
    assert forward == backward and list(forward) == list(backward)
    del videos["c"]
    fewer = Archive.in_memory(MODEL, videos).find(MODEL, "e1").moments
    assert fewer == {name: found for name, found in forward.items() if name != "c"}


def test_windows_encoded_once_are_searched_as_their_features_are() -> None:
    videos = {str(k): marked_video(100 + 60 * k, (0, 20 * k, 20 * k + 9)) for k in range(4)}

    def load(content: str, first: int, n: int) -> WindowFeatures:
        features, cells = videos[content]
        return WindowFeatures(features[first : first + n], cells[first : first + n], first)

    counts = [(name, len(features)) for name, (features, _) in videos.items()]
    windows = [w for of_video in pool_contents(MODEL, counts, load) for w in of_video]
    anew = Archive.of_windows(windows, load).find(MODEL, "e0")
    assert Archive.in_memory(MODEL, videos).find(MODEL, "e0") == anew


def test_limits_are_kept() -> None:
    videos = {str(k): marked_video(300 + k, (0, 20 * k, 20 * k + 9)) for k in range(8)}
    archive = Archive.in_memory(MODEL, videos)
    found = archive.find(MODEL, "e0", shortlist=3, windows_per_video=2, per_video=1)
    assert len(found.moments) == 3
    assert found.windows_grounded == 6
    assert all(len(moments) == 1 for moments in found.moments.values())


def test_a_filter_acts_before_the_shortlist() -> None:
    videos = {"like": marked_video(60, (0, 5, 20)), "unlike": marked_video(60, (1, 5, 20))}
    archive = Archive.in_memory(MODEL, videos)
    assert list(archive.find(MODEL, "e0", shortlist=1).moments) == ["like"]
    assert list(archive.find(MODEL, "e0", shortlist=1, only={"unlike"}).moments) == ["unlike"]
    assert archive.find(MODEL, "e0", only=set()).moments == {}


def test_similarity_alone_answers_with_stretches_of_the_right_video() -> None:
    videos = {
        "a": marked_video(300, (0, 200, 207)),
        "b": marked_video(60, (1, 5, 20)),
    }
    found = Archive.in_memory(MODEL, videos).alike(MODEL, "e0", shortlist=1)
    best, *others = found.moments["a"]
    assert list(found.moments) == ["a"] and found.windows_grounded == 0
    assert best.first >= 200 and best.last <= 207
    assert (best.start, best.end) == seconds(best.first, best.last)
    assert 0.5 < best.score <= 1.0 and len(others) == 2


def test_an_archive_of_nothing_has_nothing() -> None:
    found = Archive.in_memory(MODEL, {}).find(MODEL, "e0")
    assert found.moments == {} and found.windows_grounded == 0
