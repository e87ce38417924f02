"""Files that carry code: every reader of weights, models, states and features refuses to run it."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vmrtool.datasets.files import open_store
from vmrtool.datasets.samples import Sample
from vmrtool.errors import VmrtoolError
from vmrtool.features.weights import read_weights
from vmrtool.grounding.checkpoint import load_model
from vmrtool.training.folder import RunFolder


class Harm:
    """Unpickled, it makes the folder `victim`."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.victim,)


def features(path: Path) -> None:
    store = open_store(path.parent)
    store.get(Sample(qid=0, vid=path.stem, query="q", windows=((0.0, 1.0),), duration=3.0))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("weights.pt", read_weights),
        ("weights.pth", read_weights),
        ("weights.safetensors", read_weights),
        ("model.safetensors", load_model),
        ("model.pt", load_model),
        ("state.pt", lambda path: RunFolder(path.parent).load_state()),
        ("clip.pt", features),
        ("clip.npy", features),
        ("clip.npz", features),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_runs(
    tmp_path: Path, name: str, read: Callable[[Path], object], wrapped: bool
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "files" / name
    path.parent.mkdir()
    harm = {"state_dict": {"a": torch.ones(2), "b": Harm(victim)}}
    if wrapped and path.suffix == ".npy":
        np.save(path, np.array([Harm(victim)], dtype=object), allow_pickle=True)
    elif wrapped and path.suffix == ".npz":
        np.savez(path, a=np.array([Harm(victim)], dtype=object))
    elif wrapped:
        torch.save(harm, path)
    else:
        path.write_bytes(pickle.dumps(harm))
    with pytest.raises(VmrtoolError) as caught:
        read(path)
    assert name in str(caught.value)
    assert not victim.exists()


def test_the_harm_is_real(tmp_path: Path) -> None:
    torch.save(Harm(tmp_path / "victim"), tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "victim").is_dir()
