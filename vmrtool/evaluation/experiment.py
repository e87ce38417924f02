"""A folder of runs as an experiment: which methods it holds, and what they were trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vmrtool.datasets.named import NAMED
from vmrtool.errors import MissingError, UsageError
from vmrtool.evaluation.evaluate import Contestant
from vmrtool.grounding.checkpoint import load_model
from vmrtool.grounding.config import VARIANTS
from vmrtool.training.folder import RunFolder
from vmrtool.training.grid import BLIND


@dataclass(frozen=True)
class Method:
    """A method of an experiment, with its finished runs, one a seed."""

    name: str
    runs: tuple[RunFolder, ...]


@dataclass(frozen=True)
class Experiment:
    """The methods of a folder of runs, and how many of its runs are not finished."""

    methods: tuple[Method, ...]
    unfinished: int

    def data(
        self,
        datasets: Sequence[str] | None,
        annotations: Path | None,
        features: Sequence[Path] | None,
    ) -> tuple[list[str], Path | None, list[Path]]:
        """Data sets, annotation folder and features to score on: as given, else as trained on.

        Raises:
            UsageError: no data set is given, and the runs were trained on a file, which has no
                test split.
        """
        source = self.methods[0].runs[0].read_config().get("source", {})
        chosen = list(datasets or source.get("dataset", []))
        if not datasets and not all(name in NAMED for name in chosen):
            raise UsageError(
                "the runs were trained on a file, which says nothing of what to test on",
                remedy="name the test queries: --dataset FILE --features PATH",
            )
        if annotations is None and source.get("annotations"):
            annotations = Path(source["annotations"])
        stores = list(features or map(Path, source.get("features", [])))
        return chosen, annotations, stores

    def load(self, device: torch.device) -> list[Contestant]:
        """Every method with its models."""
        return [
            Contestant(method.name, tuple(load_model(run.best, device) for run in method.runs))
            for method in self.methods
        ]


def find_experiment(folder: Path) -> Experiment:
    """The runs below a folder: METHOD/seed-S as a grid writes them, seed-S, or the folder itself.

    A method is named after the folder that holds its seeds. The blind twin comes first, then the
    variants as the paper's table has them, the full network last.

    Raises:
        MissingError: there is no finished run.
    """
    places = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
    methods, unfinished = [], 0
    for place in places:
        if place != folder and place.name.startswith("seed-"):
            continue  # a run of the folder itself
        runs = [RunFolder(path) for path in (place, *sorted(place.glob("seed-*"), key=_number))]
        started = [run for run in runs if run.config.is_file()]
        finished = tuple(run for run in started if run.result.is_file())
        unfinished += len(started) - len(finished)
        if finished:
            methods.append(Method(place.resolve().name, finished))
    if not methods:
        why = f"{unfinished} runs, none of them finished" if unfinished else "no run in it"
        raise MissingError(
            f"{folder}: {why}", remedy="train some first: vmrtool train … --variant all --out DIR"
        )
    return Experiment(tuple(sorted(methods, key=_place_in_table)), unfinished)


def _number(seed_folder: Path) -> tuple[int, str]:
    number = seed_folder.name.removeprefix("seed-")
    return (int(number) if number.isdecimal() else -1, number)


def _place_in_table(method: Method) -> tuple[int, str]:
    """The blind twin, the variants from the least to the whole network, then the rest by name."""
    order = (BLIND, "mha", "mha-ms", "ci-mha-no-ms", "ci-mha")
    # The longest variant that the name begins with: "ci-mha-no-ms-skip" is no "ci-mha".
    names = [name for name in (BLIND, *VARIANTS) if f"{method.name}-".startswith(f"{name}-")]
    if not names:
        return len(order), method.name
    return order.index(max(names, key=len)), method.name
