"""The run folder: a trained model with everything needed to use it, judge it and go on with it.

model.safetensors  the best epoch's model: the folder can be given wherever a model is asked for
last.safetensors   the last epoch's model
config.json        effective settings, data, seed, versions
metrics.jsonl      one line an epoch: losses, learning rate, validation figures, seconds
tensorboard/       the same as TensorBoard events
result.json        written last: the best epoch, its figures, epochs trained
state.pt           weights, optimiser and random state, for --resume
"""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch

from vmrtool.errors import DataError, UsageError
from vmrtool.files import whole
from vmrtool.grounding.config import GroundingConfig
from vmrtool.training.settings import RetrievalSettings, TrainingSettings

SCHEMA = "vmrtool.run/1"


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Names the files; nothing is touched yet."""
        self.path = Path(path)
        self.best = self.path / "model.safetensors"
        self.last = self.path / "last.safetensors"
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.jsonl"
        self.events = self.path / "tensorboard"
        self.result = self.path / "result.json"
        self.state = self.path / "state.pt"

    def prepare(self, config: dict[str, Any], *, resume: bool) -> None:
        """Makes the folder and writes config.json, or checks that a resumed run has the same one.

        What config.json says under "source", where the data lay, may change between the two.

        Raises:
            UsageError: the folder holds a run and `resume` is not set, or the run's settings
                differ from those given.
        """
        config = {"schema": SCHEMA, **config}
        if self.config.exists():
            if not resume:
                raise UsageError(
                    f"{self.path} already holds a run",
                    remedy="go on with it by --resume, or give another --out",
                )
            old, new = _complete(self.read_config()), json.loads(json.dumps(config))
            differing = _differences(old | {"source": None}, new | {"source": None})
            if differing:
                raise UsageError(
                    f"{self.path}: the run was started with other settings: {'; '.join(differing)}",
                    remedy="resume with the settings of its config.json, or give another --out",
                )
            return
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--out {self.path} is not a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        _write_json(self.config, config)

    def read_config(self) -> dict[str, Any]:
        """What config.json holds.

        Raises:
            DataError: it is missing or damaged.
        """
        return _read_json(self.config)

    def write_result(self, result: dict[str, Any]) -> None:
        """Marks the run as finished, with what came of it."""
        _write_json(self.result, result)

    def read_result(self) -> dict[str, Any] | None:
        """What came of the run; None where it is not finished."""
        return _read_json(self.result) if self.result.exists() else None

    def epochs(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that was cut off is left out."""
        if not self.metrics.exists():
            return []
        records = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def write_epochs(self, records: list[dict[str, Any]]) -> None:
        """Replaces metrics.jsonl."""
        lines = [json.dumps(record) + "\n" for record in records]
        _write(self.metrics, "".join(lines).encode())

    def save_state(self, state: dict[str, Any]) -> None:
        """Replaces state.pt, whole or not at all."""
        with whole(self.state) as place:
            torch.save(state, place)

    def load_state(self) -> dict[str, Any] | None:
        """What `save_state` wrote, or None where there is nothing to go on from.

        Raises:
            DataError: the file is damaged.
        """
        if not self.state.exists():
            return None
        try:
            # Tensors go to where they were made for; the random state must stay on the CPU.
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for a damaged file
            raise DataError(
                f"{self.state}: damaged, or not written by vmrtool ({type(error).__name__})",
                remedy="train again into another --out",
            ) from error
        return state


def _write(path: Path, data: bytes) -> None:
    """Writes a small file, whole or not at all."""
    with whole(path) as place:
        place.write_bytes(data)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    _write(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error})", remedy="train into another --out"
        ) from error
    return document


def _complete(config: dict[str, Any]) -> dict[str, Any]:
    """A config.json with the settings that were added since it was written, at their defaults,
    which are what was done before.
    """
    settings = config.get("settings")
    if not isinstance(settings, dict):
        return config
    kinds = (
        ("network", GroundingConfig),
        ("training", TrainingSettings),
        ("retrieval", RetrievalSettings),
    )
    for section, kind in kinds:
        known = settings.get(section)
        if isinstance(known, dict):
            defaults = {f.name: f.default for f in fields(kind) if f.default is not MISSING}
            settings = settings | {section: defaults | known}
    completed: dict[str, Any] = json.loads(json.dumps(config | {"settings": settings}))
    return completed


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, as "network.dim 128, now 256"."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted(old.keys() | new.keys()):
            inner = f"{name}.{key}" if name else key
            found += _differences(old.get(key), new.get(key), inner)
        return found
    return [] if old == new else [f"{name} {old}, now {new}"]
