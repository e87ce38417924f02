import numpy as np
import pytest

from vmrtool.datasets.samples import Sample
from vmrtool.evaluation.metrics import metric_names, score, score_each, truths_of


def test_hand_computed_figures() -> None:
    truths = [[(2.0, 6.0)], [(0.0, 10.0)], [(4.0, 8.0), (20.0, 22.0)], [(1.0, 2.0)]]
    predictions = [
        [(2.0, 6.0, 0.9), (0.0, 1.0, 0.1)],  # IoU 1
        [(0.0, 3.0, 0.9), (0.0, 5.0, 0.5), (0.0, 7.0, 0.3)],  # 0.3; 0.5; 0.7
        [(19.0, 23.0, 0.7), (4.0, 6.0, 0.2)],  # 0.5 with the second truth; 0.5 with the first
        [],  # nothing predicted: a miss
    ]
    figures = score(predictions, truths)
    assert figures == pytest.approx(
        {
            "R@1_IoU0.3": 75.0,
            "R@1_IoU0.5": 50.0,
            "R@1_IoU0.7": 25.0,
            "R@5_IoU0.3": 75.0,
            "R@5_IoU0.5": 75.0,
            "R@5_IoU0.7": 50.0,
            "mIoU": 100 * (1 + 0.3 + 0.5 + 0) / 4,
        }
    )
    assert list(figures) == metric_names()


def test_an_iou_at_the_threshold_but_for_rounding_counts() -> None:
    # 0.1 + 0.2 > 0.3 in floating point: the IoU of 0.7 comes out a little below 0.7.
    truth, prediction = [(0.0, 0.1 + 0.2)], [(0.3 - 0.3 * 0.7, 0.3, 1.0)]
    figures = score_each([prediction], [truth])
    assert figures["mIoU"][0] < 70.0
    assert figures["R@1_IoU0.7"][0] == 100.0


def test_only_the_first_five_count() -> None:
    wrong = [(50.0 + k, 51.0 + k, 1.0) for k in range(5)]
    right = (0.0, 1.0, 0.5)
    assert score([[*wrong[:4], right]], [[(0.0, 1.0)]])["R@5_IoU0.7"] == 100.0
    assert score([[*wrong, right]], [[(0.0, 1.0)]])["R@5_IoU0.7"] == 0.0


def test_a_prediction_turned_round_or_of_no_length_is_a_miss() -> None:
    figures = score([[(6.0, 2.0, 1.0)], [(3.0, 3.0, 1.0)]], [[(2.0, 6.0)], [(3.0, 3.5)]])
    assert figures["mIoU"] == 0.0


def test_every_query_needs_a_prediction_list() -> None:
    with pytest.raises(ValueError, match="1 predictions for 2 queries"):
        score_each([[]], [[(0.0, 1.0)], [(0.0, 1.0)]])
    with pytest.raises(ValueError, match="no query"):
        score([], [])


def test_raw_and_clipped_truth() -> None:
    samples = [
        Sample(0, "a", "one", ((2.0, 12.0), (-1.0, 1.0)), 10.0),
        Sample(1, "b", "two", ((30.0, 35.0),), 20.0),
    ]
    assert truths_of(samples, "raw") == [((2.0, 12.0), (-1.0, 1.0)), ((30.0, 35.0),)]
    assert truths_of(samples, "clipped") == [((2.0, 10.0), (0.0, 1.0)), ((30.0, 35.0),)]


def test_each_query_has_its_own_figures() -> None:
    each = score_each([[(0.0, 1.0, 1.0)], [(5.0, 6.0, 1.0)]], [[(0.0, 1.0)], [(0.0, 1.0)]])
    assert np.array_equal(each["R@1_IoU0.5"], [100.0, 0.0])
