"""A whole evaluation: models, other systems' predictions and baselines on one data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vmrtool.assets import ModelRef, find_model
from vmrtool.catalog import Catalog
from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.prior import PriorSpan
from vmrtool.errors import CatalogError, ModelError
from vmrtool.evaluation.baselines import PROTOCOLS, RANDOM, prior_spans, whole_video
from vmrtool.evaluation.calibration import calibration
from vmrtool.evaluation.corpus import Answers, hit_kind, score_corpus
from vmrtool.evaluation.groups import BREAKDOWNS
from vmrtool.evaluation.metrics import Prediction, score_each, truths_of
from vmrtool.evaluation.printed import PrintedTable
from vmrtool.evaluation.rows import Figures, Row, breakdown, joined
from vmrtool.evaluation.within import predict
from vmrtool.grounding.checkpoint import ExtractorSpec, load_model
from vmrtool.search.label_model import open_labels
from vmrtool.search.labels import LabelModel, Model

SCHEMA = "vmrtool.eval/1"
RANDOM_DRAWS = 10


@dataclass(frozen=True)
class Contestant:
    """A trained method: one model a seed. `blind` models are tested on zeros, as trained."""

    name: str
    models: tuple[Model, ...]

    @property
    def blind(self) -> bool:
        """Whether it was trained on zeroed features."""
        return bool(self.models[0].training.get("blind"))

    @property
    def prior(self) -> list[PriorSpan] | None:
        """The prior of the training moments, as the model remembers it."""
        spans = self.models[0].training.get("prior")
        return [tuple(span) for span in spans] if spans else None

    def shown(self, dataset: Dataset, *, zeroed: bool, shuffled: bool) -> Dataset:
        """The data set as these models are shown it: blind ones see zeros in any case."""
        if zeroed or self.blind:
            return dataset.blind()
        return dataset.shuffled() if shuffled else dataset


def load_contestant(
    ref: str,
    device: torch.device,
    variant: str | None = None,
    stores: Callable[[], Sequence[Path]] = tuple,
) -> Contestant:
    """A model by zoo name, run folder or file; a folder of runs with several seeds is one method.

    Args:
        ref: what names it.
        device: where its networks go.
        variant: refuse models of another one.
        stores: asked where the features lie, for a model that depends on them.

    Raises:
        MissingError, ModelError: there is no such model, it cannot be used, or is of another
            variant.
    """
    folder = Path(ref).expanduser()
    seeds = sorted(folder.glob("seed-*/model.safetensors")) if folder.is_dir() else []
    if seeds and not (folder / "model.safetensors").exists():
        return Contestant(
            folder.resolve().name, tuple(load_model(p, device, variant=variant) for p in seeds)
        )
    found = find_model(ref)
    if found.zero_shot:
        return Contestant(found.name, (_zero_shot(found, stores(), variant),))
    return Contestant(
        found.name, (load_model(found.require_checkpoint(), device, variant=variant),)
    )


def _zero_shot(ref: ModelRef, stores: Sequence[Path], variant: str | None) -> LabelModel:
    """The model labels for the features of a catalog, the first of several."""
    if variant is not None:
        raise ModelError(f"model '{ref.name}' is zero-shot and of no variant, not {variant}")
    if not stores:
        raise ModelError(
            f"model '{ref.name}' needs to know the features", remedy="Name a catalog: --catalog DB"
        )
    try:
        catalog = Catalog.open(stores[0])
    except CatalogError as error:
        raise ModelError(
            f"model '{ref.name}' reads the features of a catalog: {error}",
            remedy="Index the videos, and give the catalog: --catalog DB",
        ) from error
    with catalog:
        return open_labels(ref, catalog)


@dataclass(frozen=True)
class Evaluation:
    """The rows of an evaluation, and what the first of them answered to every query.

    `answers` are, of the models and then of others, the first run's, in the order of the rows.
    `calibrations` are, where archives were searched, of the models' scores: row and figures.
    """

    rows: tuple[Row, ...]
    answers: tuple[tuple[Prediction, ...], ...]
    calibrations: tuple[tuple[str, dict[str, Any]], ...] = ()

    def to_json(
        self,
        parts: Sequence[Dataset],
        *,
        truth: str,
        corpus: bool,
        by: str | None = None,
        split: str | None = None,
        printed: PrintedTable | None = None,
        notes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The document `vmrtool.eval/1`.

        Args:
            parts: the data sets that were evaluated.
            truth: what they were scored against.
            corpus: whether the archives were searched; says then what counted as a hit.
            by: a way of `BREAKDOWNS` to divide the queries; adds each group's figures.
            split: the split of a named data set.
            printed: the paper's table to stand beside.
            notes: what else a reader must know to judge the figures.
        """
        samples = [sample for part in parts for sample in part.samples]
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "dataset": " + ".join(part.name for part in parts),
            "split": split,
            "truth": truth,
            "pairs": len(samples),
            "rows": [row.to_json() for row in self.rows],
            "baselines": {
                row.method: PROTOCOLS[row.method] for row in self.rows if row.method in PROTOCOLS
            },
            "notes": list(notes),
        }
        if printed is not None:
            document["printed"] = printed.to_json()
        if corpus:
            document["hit"] = hit_kind(samples)
            document["calibration"] = [
                {"method": method, **found} for method, found in self.calibrations
            ]
        if by is not None:
            groups = breakdown(self.rows, [BREAKDOWNS[by](sample) for sample in samples])
            document["breakdown"] = {"by": by, "rows": groups}
        return document


def evaluate(
    parts: Sequence[Dataset],
    contestants: Sequence[Contestant],
    *,
    others: Sequence[tuple[str, list[Prediction]]] = (),
    prior: Sequence[PriorSpan] | None = None,
    truth: str = "raw",
    zeroed: bool = False,
    shuffled: bool = False,
    corpus: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Scores models, other predictions and baselines on the same queries.

    Args:
        parts: the data sets, each an archive of its own, with features where there are
            contestants. Figures are over the queries of all.
        contestants: the models.
        others: named predictions of other systems, one for each query.
        prior: the training moments' prior; None leaves its row out.
        truth: "raw" or "clipped", see `truths_of`.
        zeroed: shows every model zeros instead of features. Blind ones see zeros in any case.
        shuffled: shows every model each video's snippets in a random order.
        corpus: also searches each archive as a whole for each of its queries.
        progress: is told how many more queries are answered.

    Raises:
        ModelError: a model was trained on other features than the data set's.
    """
    samples = [sample for part in parts for sample in part.samples]
    truths = truths_of(samples, truth)
    rows: list[Row] = []
    answers: list[tuple[Prediction, ...]] = []
    calibrations: list[tuple[str, dict[str, Any]]] = []
    for contestant in contestants:
        runs = []
        answered: list[tuple[Prediction, ...]] = []
        scored: Answers = []
        for model in contestant.models:
            found: list[Prediction] = []
            archives: list[Figures] = []
            for part in parts:
                check_fit(model, part)
                shown = contestant.shown(part, zeroed=zeroed, shuffled=shuffled)
                found += predict(model, shown, progress=progress)
                if corpus:
                    archives.append(score_corpus(model, shown, progress=progress, answers=scored))
            runs.append(score_each(found, truths) | joined(archives))
            answered.append(tuple(found))
        answers.append(answered[0])
        told = contestant.name == "blind"
        label = (
            ("" if told else " (blind)") if contestant.blind else " (shown zeros)" if zeroed else ""
        )
        label += " (shuffled)" if shuffled and not (zeroed or contestant.blind) else ""
        rows.append(Row(contestant.name + label, tuple(runs)))
        if scored:
            calibrations.append((contestant.name + label, calibration(scored)))
    for name, found in others:
        rows.append(Row(name, (score_each(found, truths),)))
        answers.append(tuple(found))
    if prior:
        rows.append(Row("prior", (score_each(prior_spans(samples, prior), truths),)))
    for name, draw in RANDOM.items():
        draws = (draw(samples, seed) for seed in range(RANDOM_DRAWS))
        rows.append(Row(name, tuple(score_each(found, truths) for found in draws)))
    rows.append(Row("whole-video", (score_each(whole_video(samples), truths),)))
    return Evaluation(tuple(rows), tuple(answers), tuple(calibrations))


def check_fit(model: Model, dataset: Dataset) -> None:
    """Raises ModelError where the data set's features are not those the model was trained on."""
    differences = []
    if dataset.extractor is not None:
        differences = model.extractor.differences(ExtractorSpec(**dataset.extractor))
    if model.config.video_dim != dataset.dim:
        differences.append(f"features {model.config.video_dim} wide, not {dataset.dim}")
    if differences:
        raise ModelError(
            f"model {model.name!r} does not fit the features of {dataset.name}: "
            + "; ".join(differences),
            remedy="index the videos for this model: vmrtool index DIR --model "
            f"{model.name}; or give a model trained on these features",
        )
