"""How a video is cut into windows does not show, and its length costs no memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_catalog import BACKBONE, SETTINGS, SHA256, WORDS, write_catalog
from search_oracle import marked_video, oracle_model

import vmrtool
from vmrtool.catalog import Catalog
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, save_model
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.search.grounding import ground
from vmrtool.text.vocabulary import Vocabulary


@st.composite
def occurrences(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]]]:
    """Length of a video, where it is cut off at its beginning, and events behind that."""
    cut = draw(st.integers(0, 130))
    at, moments = cut, []
    for _ in range(draw(st.integers(1, 3))):
        first = at + draw(st.integers(0, 150))
        last = first + draw(st.integers(1, 64)) - 1
        moments.append((first, last))
        at = last + 1
    return at + draw(st.integers(0, 150)), cut, moments


@settings(deadline=None, max_examples=40)
@given(occurrences())
def test_moments_of_up_to_half_a_window_are_the_same_however_windows_lie(
    case: tuple[int, int, list[tuple[int, int]]],
) -> None:
    """The tolerance is no snippet at all: each is found whole in one window."""
    n, cut, moments = case
    features, cells = marked_video(n, *((k, *moment) for k, moment in enumerate(moments)))
    model = oracle_model()
    for k, moment in enumerate(moments):
        (whole,) = ground(model, features, cells, f"e{k}", top=1)
        (shorter,) = ground(model, features[cut:], cells[cut:], f"e{k}", top=1)
        assert (whole.first, whole.last) == moment
        assert (shorter.first + cut, shorter.last + cut) == moment
        assert (shorter.start, shorter.end) == (whole.start, whole.end)


@settings(deadline=None, max_examples=40)
@given(st.integers(65, 400), st.integers(0, 130), st.integers(0, 130), st.integers(0, 130))
def test_longer_moments_are_put_together_the_same(
    length: int, before: int, after: int, cut: int
) -> None:
    features, cells = marked_video(before + length + after, (1, before, before + length - 1))
    cut = min(cut, before)
    model = oracle_model()
    (whole,) = ground(model, features, cells, "e1", top=1)
    (shorter,) = ground(model, features[cut:], cells[cut:], "e1", top=1)
    assert (whole.first, whole.last) == (before, before + length - 1)
    assert (shorter.start, shorter.end) == (whole.start, whole.end)


def test_ten_hours_are_searched_in_the_memory_of_ten_minutes(tmp_path: Path) -> None:
    """But for the rows of its vectors, which are held; features would be six times as much."""
    torch.manual_seed(0)
    words = Vocabulary(WORDS)
    config = GroundingConfig(
        video_dim=256,
        vocabulary_size=len(words),
        dim=16,
        word_dim=8,
        video_width=16,
        retrieval_dim=8,
    )
    spec = ExtractorSpec(BACKBONE, SHA256, dict(SETTINGS))
    run = tmp_path / "model.safetensors"
    save_model(run, GroundingModel(GroundingNetwork(config), words, spec))
    peaks, rows, moments = [], [], []
    for minutes in (10, 600):
        n = minutes * 90  # at stride 16 and 24 frames a second
        edges = np.arange(n + 1) * (16 / 24)
        cells = np.stack([edges[:-1], edges[1:]], axis=1)
        features = np.random.default_rng(0).standard_normal((n, 256), np.float32)
        db = write_catalog(
            tmp_path / f"{minutes}.db", {"long.mp4": (features.astype(np.float16), cells)}
        )
        stored = n * 256 * 2
        del features
        with vmrtool.open(db, run) as archive:  # makes the vectors
            archive.search("a person opens the door")
        tracemalloc.start()
        try:
            with vmrtool.open(db, run) as archive:
                moments.append(len(archive.search("a person opens the door").moments))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        with Catalog.open(db) as catalog, catalog.reading() as inside:
            query = "SELECT sum(length(data) + length(spans)) FROM vectors"
            rows.append(inside.execute(query).fetchone()[0])
    assert moments == [3, 3]
    # At the most the rows as they are stored, those that are searched, and once more in between.
    assert peaks[1] < peaks[0] + 3 * rows[1]
    assert 3 * rows[1] < stored / 2
