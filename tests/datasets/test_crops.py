import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmrtool.datasets.crops import Augmentation, choose_window, spans_within, vary_features


@given(st.integers(1, 300), st.integers(1, 128), st.floats(0, 0.99), st.integers(0, 99), st.data())
def test_a_window_holds_a_whole_moment(
    n: int, size: int, crop: float, seed: int, data: st.DataObject
) -> None:
    low = data.draw(st.integers(0, n - 1))
    high = data.draw(st.integers(low, n - 1))
    rng = np.random.default_rng(seed)
    first, count = choose_window(n, [(low, high)], size, Augmentation(crop=crop), rng)
    assert 0 <= first < first + count <= n
    assert count <= size
    whole = first <= low and high < first + count
    filled = low <= first and first + count - 1 <= high
    assert whole if high - low < min(size, n) else filled
    spans, inside = spans_within([(low, high)], first, count)
    assert len(spans) == 1
    assert inside.sum() == spans[0][1] - spans[0][0] + 1


def test_without_cropping_the_window_is_as_long_as_can_be() -> None:
    rng = np.random.default_rng(0)
    assert choose_window(90, [(3, 5)], 128, Augmentation(), rng) == (0, 90)
    starts = {choose_window(300, [(150, 160)], 128, Augmentation(), rng)[0] for _ in range(300)}
    assert min(starts) >= 160 - 127
    assert max(starts) <= 150
    assert len(starts) > 80


def test_a_cut_moment_is_inside_but_is_no_span_to_find() -> None:
    spans, inside = spans_within([(2, 5), (8, 20)], first=4, n=6)  # snippets 4 to 9
    assert spans == []
    assert inside.tolist() == [True, True, False, False, True, True]
    spans, inside = spans_within([(2, 5), (6, 7)], first=4, n=6)
    assert spans == [(2, 3)]
    assert inside.tolist() == [True, True, True, True, False, False]


def test_features_vary_only_as_asked() -> None:
    features = np.random.default_rng(1).standard_normal((200, 4)).astype(np.float32)
    same = vary_features(features, Augmentation(), np.random.default_rng(0))
    assert np.array_equal(same, features)
    dropped = vary_features(features, Augmentation(snippet_dropout=0.5), np.random.default_rng(0))
    is_mean = np.isclose(dropped, features.mean(axis=0)).all(axis=1)
    assert 0.4 < is_mean.mean() < 0.6
    assert np.array_equal(dropped[~is_mean], features[~is_mean])
    noisy = vary_features(features, Augmentation(noise=0.2), np.random.default_rng(0))
    assert abs((noisy - features).std() / features.std() - 0.2) < 0.02
