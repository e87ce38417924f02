import numpy as np

from vmrtool.datasets.dataset import Dataset, Video
from vmrtool.datasets.labels import even_cells
from vmrtool.datasets.relations import Occurrences, Relations, event_kind, sentence_key
from vmrtool.datasets.samples import Sample, Window


def sample(video: int, query: str, event: str | None, *windows: Window) -> Sample:
    return Sample(0, f"v{video}", query, windows or ((0.0, 1.0),), 10.0, event)


def dataset(*samples: Sample) -> Dataset:
    videos = tuple(
        Video(f"v{k}", np.zeros((10, 2), np.float16), even_cells(10, 10.0)) for k in range(5)
    )
    return Dataset("test", samples, videos, tuple(int(s.vid[1:]) for s in samples), None)


def test_kinds_of_events() -> None:
    assert event_kind("red circle moves-left") == "moves-left"
    assert event_kind("blue square + red circle meet") == "meet"
    assert event_kind("red circle spins after green star vanishes") == "temporal"
    assert event_kind("red circle spins before green star vanishes") == "temporal"


def test_sentences_are_equal_but_for_case_and_punctuation() -> None:
    assert sentence_key(" Person opens the door. ") == sentence_key("person opens the  door")
    assert sentence_key("person opens a door") != sentence_key("person opens the door")


def test_occurrences_join_event_and_sentence_over_videos() -> None:
    asked = sample(0, "the red one spins", "red spins", (1.0, 2.0))
    relations = Relations(
        dataset(
            asked,
            sample(0, "red turns", "red spins", (1.0, 2.0), (5.0, 6.0)),
            sample(1, "red rotates", "red spins", (3.0, 4.0)),
            sample(2, "The red one spins!", None, (7.0, 8.0)),
            sample(3, "blue spins", "blue spins", (0.0, 1.0)),
        )
    )
    found = relations.occurrences(asked)
    assert {video: where.sure for video, where in found.items()} == {
        0: ((1.0, 2.0), (5.0, 6.0)),
        1: ((3.0, 4.0),),
        2: ((7.0, 8.0),),
    }
    assert relations.mismatched_videos(asked).tolist() == [3, 4]


def test_an_event_under_another_condition_is_neither_hit_nor_miss() -> None:
    after = sample(0, "red spins after blue", "red spins after blue grows", (5.0, 6.0))
    plain = sample(1, "red spins", "red spins", (1.0, 2.0))
    condition = sample(1, "blue grows", "blue grows", (3.0, 4.0))
    other = sample(2, "blue grows", "blue grows", (1.0, 2.0))
    relations = Relations(dataset(after, plain, condition, other))
    assert relations.occurrences(after)[1] == Occurrences(sure=(), possible=((1.0, 2.0),))
    assert relations.occurrences(plain)[0] == Occurrences(sure=(), possible=((5.0, 6.0),))
    assert relations.mismatched_videos(after).tolist() == [2, 3, 4]


def test_where_the_condition_never_happens_the_event_misses() -> None:
    after = sample(0, "red spins after blue", "red spins after blue grows", (5.0, 6.0))
    plain = sample(1, "red spins", "red spins", (1.0, 2.0))
    relations = Relations(dataset(after, plain))
    assert 1 not in relations.occurrences(after)
    assert relations.mismatched_videos(after).tolist() == [1, 2, 3, 4]


def test_the_other_times_in_a_condition_s_own_video_miss() -> None:
    after = sample(0, "red spins after blue", "red spins after blue grows", (5.0, 6.0))
    plain = sample(0, "red spins", "red spins", (1.0, 2.0), (5.0, 6.0))
    condition = sample(0, "blue grows", "blue grows", (3.0, 4.0))
    relations = Relations(dataset(after, plain, condition))
    assert relations.occurrences(after)[0] == Occurrences(sure=((5.0, 6.0),), possible=())
    assert relations.occurrences(plain)[0].sure == ((1.0, 2.0), (5.0, 6.0))


def test_alike_videos_share_rare_words() -> None:
    asked = sample(0, "the red circle spins", "a")
    others = [
        sample(1, "the blue square grows", "b"),
        sample(2, "the red square grows", "c"),
        sample(3, "the circle spins", "d"),
    ]
    relations = Relations(dataset(asked, *others))
    alike = relations.likeness(asked, np.array([1, 2, 3, 4]))
    assert alike.argsort().tolist() == [3, 0, 1, 2]
    assert alike[3] == 0
