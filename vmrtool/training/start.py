"""From data sets and settings to a trained model in a run folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool import __version__
from vmrtool.datasets.batches import BatchMaker
from vmrtool.datasets.crops import Augmentation
from vmrtool.datasets.dataset import Dataset, check_alike
from vmrtool.datasets.prior import fit_prior
from vmrtool.errors import DataError, MissingError, UsageError
from vmrtool.features.published import BACKBONES
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, load_model, save_model
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.grounding.pooling import stretches
from vmrtool.text.given import GivenVectors
from vmrtool.text.states import state_width
from vmrtool.text.vectors import word_matrix
from vmrtool.text.vocabulary import Vocabulary, build_vocabulary
from vmrtool.training.folder import RunFolder
from vmrtool.training.loop import ALONE, Figures, Report, StartReport, TrainingRun
from vmrtool.training.processes import Processes
from vmrtool.training.ranking import fit_ranking_weights
from vmrtool.training.settings import RunSettings

Measure = Callable[[GroundingModel, Dataset], Figures]


@dataclass(frozen=True)
class TrainingResult:
    """A finished run: its folder, the best model, its epoch and figures, and the epochs trained."""

    folder: Path
    model: GroundingModel
    best_epoch: int
    epochs: int
    figures: Figures


def train(
    dataset: Dataset,
    validation: Dataset | None,
    settings: RunSettings,
    out: Path,
    *,
    measure: Measure,
    given: GivenVectors | None = None,
    seed: int = 0,
    blind: bool = False,
    device: torch.device | str = "cpu",
    resume: bool = False,
    source: Mapping[str, Any] | None = None,
    report: Report = lambda _: None,
    processes: Processes = ALONE,
) -> TrainingResult:
    """Trains a grounding model and writes its run folder.

    On a CPU the result is a pure function of the arguments and the number of threads: a run that
    was killed and resumed ends with the weights of an unbroken one, bit for bit.

    Args:
        dataset: what to train on.
        validation: what the best epoch is chosen by and the final score's weights are fitted on;
            None keeps the last epoch and fits on the training part.
        settings: all settings of the run.
        out: the run folder.
        measure: gives the figures of a model on a data set.
        given: the word vectors to start from, where network.query_encoder is "glove". Their words
            join the vocabulary, those of no training sentence too: what is told of them by their
            vectors alone is still more than nothing.
        seed: decides initial weights, order, mismatched pairs, augmentation and dropout.
        blind: replaces every feature by zero, in training as in validation.
        device: where to train.
        resume: goes on with a run that the folder holds; a finished one is left as it is. There may
            be more processes than before, or fewer.
        source: where the data lies, for config.json: `vmrtool eval --table` finds it there.
        report: is told of the start and of every step and epoch.

    Raises:
        UsageError: a setting is wrong, or the folder holds another run.
        DataError: the features are not those the settings name, or those of the two parts differ.
        MissingError: the settings ask for word vectors, and none are given.
        KeyboardInterrupt: Ctrl-C was pressed; the state is saved.
    """
    if validation:
        check_alike(dataset, validation)
    if blind:
        dataset, validation = dataset.blind(), validation.blind() if validation else None
    extractor = _extractor(dataset, settings)
    training = settings.training
    require_words(settings, given=given is not None)
    vocabulary = _vocabulary(dataset, settings, given)
    config = GroundingConfig.from_json(
        {
            **settings.network,
            **_word_width(settings),
            "video_dim": dataset.dim,
            "vocabulary_size": len(vocabulary),
        }
    )
    settings = replace(settings, network=config.to_json())
    folder = RunFolder(out)
    if processes.writes:
        folder.prepare(
            {
                "vmrtool": __version__,
                "torch": torch.__version__,
                "settings": settings.to_json(),
                "seed": seed,
                "blind": blind,
                "source": dict(source or {}),
                "train": describe(dataset),
                "validation": describe(validation) if validation else None,
                "words": {
                    "vocabulary": len(vocabulary),
                    "source": given.source if given else None,
                    "given": len(given.vectors) if given else 0,
                },
            },
            resume=resume,
        )
    processes.wait()
    finished = folder.read_result()
    if finished is not None:
        best = load_model(folder.best, device)
        return TrainingResult(
            folder.path, best, finished["best_epoch"], finished["epochs"], finished["validation"]
        )

    torch.manual_seed(seed)
    network = GroundingNetwork(config)
    network.set_feature_statistics(*feature_statistics(dataset))
    if given is not None:
        matrix = word_matrix(given.vectors, vocabulary, config.word_dim, seed)
        network.set_word_vectors(torch.from_numpy(matrix))
    model = GroundingModel(
        network.to(device),
        vocabulary,
        extractor,
        pooling=settings.retrieval.lengths,
        recipe=settings.to_json(),
        training={
            "data": dataset.name,
            "queries": len(dataset),
            "videos": len(dataset.videos),
            "seed": seed,
            "blind": blind,
            "prior": fit_prior(dataset.samples),
        },
    )
    batches = BatchMaker(
        dataset,
        model.words,
        _pooled(model.pooling),
        batch_size=training.batch_size,
        window_size=config.max_snippets,
        negative_share=training.negative_share,
        negative_candidates=training.negative_candidates,
        augmentation=Augmentation(
            training.crop, training.crop_shortest, training.snippet_dropout, training.noise
        ),
        seed=seed,
    )
    run = TrainingRun(
        model,
        batches,
        settings,
        folder,
        validate=(lambda trained: measure(trained, validation)) if validation else None,
        report=report,
        processes=processes,
    )
    if processes.writes:
        report(StartReport(folder.read_config(), run.epoch))
    best = run.run()
    if processes.writes:
        ranking = fit_ranking_weights(best, validation or dataset, settings.retrieval, seed=seed)
        best = save_model(folder.best, replace(best, ranking=ranking, name=""))
        figures = best.training["validation"]
        folder.write_result(
            {"best_epoch": run.best_epoch, "epochs": run.epoch, "validation": figures}
        )
    processes.wait()
    best = best if processes.writes else load_model(folder.best, device)
    figures = best.training["validation"]
    return TrainingResult(folder.path, best, run.best_epoch, run.epoch, figures)


def describe(dataset: Dataset) -> dict[str, Any]:
    """What a run's config.json says of its data."""
    return {
        "name": dataset.name,
        "queries": len(dataset),
        "videos": len(dataset.videos),
        "videos_without_features": len(dataset.missing),
        "fixes": dataset.fixes,
        "extractor": dataset.extractor,
    }


def feature_statistics(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (dim,) of the features, and one scale for all of them, (dim,): their root mean variance.

    One scale, so that features keep their proportions: a value that hardly ever stirs would
    otherwise be blown up to noise.
    """
    count = sum(video.n_snippets for video in dataset.videos)
    total = np.zeros(dataset.dim)
    squares = np.zeros(dataset.dim)
    for video in dataset.videos:
        features = video.features.astype(np.float64)
        total += features.sum(axis=0)
        squares += (features**2).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0)
    scale = np.full(dataset.dim, np.sqrt(variance.mean()))
    return torch.from_numpy(mean).float(), torch.from_numpy(scale).float()


def require_words(settings: RunSettings, *, given: bool) -> None:
    """Checks that word vectors are given where the settings start from them, and only there.

    Raises:
        MissingError: the settings ask for word vectors, and none are given.
        UsageError: vectors are given that the settings do not ask for.
    """
    encoder = settings.network.get("query_encoder", GroundingConfig.query_encoder)
    if not given and encoder == "glove":
        raise MissingError(
            "network.query_encoder is 'glove', and no word vectors are given",
            remedy="get them: vmrtool data pull glove; or name a GloVe file: --glove FILE; or have "
            "them learned from the training sentences: --set network.query_encoder=words",
        )
    if given and encoder != "glove":
        raise UsageError(
            f"word vectors are given, and network.query_encoder is {encoder!r}",
            remedy="leave out --glove, or set network.query_encoder=glove",
        )


def _word_width(settings: RunSettings) -> dict[str, int]:
    """`word_dim` where a text model decides it; nothing where the settings do.

    Raises:
        MissingError: the text model is not here.
    """
    name = settings.network.get("text_model")
    return {"word_dim": state_width(name)} if name else {}


def _vocabulary(dataset: Dataset, settings: RunSettings, given: GivenVectors | None) -> Vocabulary:
    """The words of the training sentences, and after them those that have a given vector.

    None where a text model reads the sentences.
    """
    if settings.network.get("text_model"):
        return Vocabulary([])
    sentences = [sample.query for sample in dataset.samples]
    vocabulary = build_vocabulary(sentences, settings.training.min_word_count)
    return Vocabulary([*vocabulary.words, *given.vectors]) if given else vocabulary


def _extractor(dataset: Dataset, settings: RunSettings) -> ExtractorSpec:
    """How the features were made; refuses those of another extractor than the recipe's.

    Features that do not say it are taken for the recipe's backbone's if they are as wide; else they
    are "features", which fit no backbone.

    Raises:
        DataError: the catalog's backbone or settings are not those of the recipe.
    """
    asked = dict(settings.extractor)
    wanted = ExtractorSpec(asked.pop("backbone", ""), None, asked)
    if dataset.extractor is None:
        known = BACKBONES.get(wanted.backbone)
        if not wanted.backbone or (known is not None and known.dim != dataset.dim):
            return ExtractorSpec("features")
        return wanted
    found = ExtractorSpec(**dataset.extractor)
    if not wanted.backbone:
        wanted = replace(wanted, backbone=found.backbone)
    differences = wanted.differences(found)
    if differences:
        raise DataError(
            f"{dataset.name}: the recipe wants other features: {'; '.join(differences)}",
            remedy="index with the recipe's backbone and settings, or override them: "
            "--set extractor.KEY=VALUE",
        )
    return found


def _pooled(lengths: Sequence[int]) -> Callable[[int], NDArray[np.int64]]:
    """The stretches a window of n snippets is pooled over, worked out once for each n."""

    @cache
    def stretches_of(n_snippets: int) -> NDArray[np.int64]:
        spans: NDArray[np.int64] = stretches(n_snippets, lengths).numpy()
        return spans

    return stretches_of
