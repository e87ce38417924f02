"""The runs of an experiment: seeds, and in a grid variants, readings and a blind twin."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmrtool.errors import UsageError
from vmrtool.grounding.config import READINGS, VARIANTS, GroundingConfig
from vmrtool.training.settings import RunSettings

ALL = "all"
BLIND = "blind"


@dataclass(frozen=True)
class Cell:
    """One run of an experiment: its settings and seed, and its folder below the experiment's."""

    folder: Path
    settings: RunSettings
    seed: int
    blind: bool


def plan_runs(
    settings: RunSettings,
    seeds: Sequence[int],
    *,
    variant: str | None = None,
    reading: str | None = None,
    blind: bool = False,
) -> list[Cell]:
    """The runs that are asked for, all methods of one seed before the next seed.

    With "all" for variant or reading it is a grid of METHOD/seed-S folders. A method is a variant,
    with its reading appended where that is not the settings' own, so that grids of one experiment
    share what they have in common. `blind` then adds one method, the blind twin of the settings'
    own network. Without a grid the folders are seed-S, or the experiment's own for a single seed.

    Raises:
        UsageError: no such variant or reading.
    """
    own_reading = _own(settings, "reading")
    variants = _chosen("--variant", variant, VARIANTS, _own(settings, "variant"))
    readings = _chosen("--reading", reading, READINGS, own_reading)
    one = {"variant": variant, "reading": reading}
    only = _with(settings, {name: value for name, value in one.items() if value not in (None, ALL)})
    if ALL not in one.values():
        single = len(seeds) == 1
        return [
            Cell(Path() if single else Path(f"seed-{seed}"), only, seed, blind) for seed in seeds
        ]
    methods = [
        (
            name if read == own_reading else f"{name}-{read}",
            _with(settings, {"variant": name, "reading": read}),
            False,
        )
        for name in variants
        for read in readings
    ]
    methods += [(BLIND, only, True)] if blind else []
    return [
        Cell(Path(name, f"seed-{seed}"), changed, seed, dark)
        for seed in seeds
        for name, changed, dark in methods
    ]


def _own(settings: RunSettings, name: str) -> str:
    """What the settings say of the network, else its default."""
    return str(settings.network.get(name, getattr(GroundingConfig, name)))


def _chosen(option: str, asked: str | None, known: Sequence[str], own: str) -> Sequence[str]:
    if asked == ALL:
        return known
    if asked is not None and asked not in known:
        raise UsageError(f"{option} {asked}: it can be {', '.join(known)}, or {ALL}")
    return [asked or own]


def _with(settings: RunSettings, changed: dict[str, Any]) -> RunSettings:
    return replace(settings, network={**settings.network, **changed})
