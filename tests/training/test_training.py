import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from synthetic import write_archive

from vmrtool.datasets.dataset import Dataset, split_by_video
from vmrtool.datasets.load import load_parts
from vmrtool.errors import DataError, UsageError, VmrtoolError
from vmrtool.evaluation.searches import compare_searches, count_ways
from vmrtool.evaluation.within import measure
from vmrtool.grounding.checkpoint import load_model
from vmrtool.training.loop import EpochReport, StartReport, StepReport
from vmrtool.training.settings import RunSettings, make_settings
from vmrtool.training.start import TrainingResult, feature_statistics, train

SETTINGS = [
    "network.dim=32", "network.word_dim=16", "network.retrieval_dim=16", "network.dropout=0.05",
    "training.batch_size=16", "training.lr=5e-3", "training.schedule=cosine",
    "training.warmup=0.1", "training.clip=1", "training.negative_share=0.25",
    "training.epochs=10",
]  # fmt: skip
SHORT = ["training.epochs=3", "training.crop=0.3", "training.noise=0.1"]


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Parts:
    train: Dataset
    validation: Dataset
    small: Dataset
    small_validation: Dataset


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    queries, catalog = write_archive(
        tmp_path_factory.mktemp("archive"), videos=50, seed=1, shortest=16, longest=32
    )
    (whole,) = load_parts([str(queries)], [catalog], use="train")
    training, validation = split_by_video(whole, 0.2, seed=0)
    return Parts(training, validation, training.select(range(30)), validation.select(range(6)))


def short_run(
    parts: Parts,
    out: Path,
    *,
    extra: tuple[str, ...] = (),
    resume: bool = False,
    report: Callable = lambda _: None,
) -> TrainingResult:
    return train(
        parts.small,
        parts.small_validation,
        make_settings({}, [*SETTINGS, *SHORT, *extra]),
        out,
        measure=measure,
        resume=resume,
        report=report,
    )


@pytest.fixture(scope="module")
def unbroken(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_run(parts, tmp_path_factory.mktemp("runs") / "unbroken").folder


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "last.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert without_seconds(one) == without_seconds(other)


def without_seconds(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    return lines


def test_the_model_beats_its_blind_twin(parts: Parts, tmp_path: Path) -> None:
    settings = make_settings({}, SETTINGS)
    sighted, blind = (
        train(parts.train, parts.validation, settings, tmp_path / name, measure=measure, blind=dark)
        for name, dark in (("sighted", False), ("blind", True))
    )
    ahead = sighted.figures["R@1_IoU0.5"] - blind.figures["R@1_IoU0.5"]
    assert ahead >= 20
    assert sighted.figures["R@1_IoU0.5"] >= 60
    assert blind.model.training["blind"] is True
    # The ranking was fitted: likeness to the query counts for a moment, not against it.
    assert sighted.model.ranking.similarity > 0
    again = load_model(tmp_path / "sighted" / "model.safetensors")
    assert again.ranking == sighted.model.ranking
    # The epoch's figures are older than the ranking; the file holds the model that was returned.
    assert measure(again, parts.validation) == measure(sighted.model, parts.validation)


def test_a_model_of_one_mean_a_window(parts: Parts, tmp_path: Path) -> None:
    """It is trained, kept, searched with and resumed as such."""
    run = short_run(parts, tmp_path / "mean", extra=("retrieval.lengths=[]",))
    kept = load_model(run.folder / "model.safetensors")
    assert kept.pooling == ()
    rows = compare_searches(kept, parts.small_validation)
    assert {row["pooling"] for row in rows} == {"mean"} and len(rows) == count_ways(kept)
    assert rows[-1]["search"] == "exhaustive"
    again = short_run(parts, tmp_path / "mean", extra=("retrieval.lengths=[]",), resume=True)
    assert again.best_epoch == run.best_epoch


def test_the_run_folder_tells_what_was_done(parts: Parts, unbroken: Path) -> None:
    config = json.loads((unbroken / "config.json").read_text())
    assert config["schema"] == "vmrtool.run/1"
    assert config["settings"]["training"]["lr"] == 5e-3
    assert config["settings"]["network"]["variant"] == "ci-mha"  # a default, written out
    assert config["train"]["queries"] == 30
    assert (config["seed"], config["blind"]) == (0, False)
    lines = without_seconds(unbroken)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert set(lines[0]["losses"]) == {"loss", "start_end", "segment", "contrastive"}
    assert lines[-1]["lr"] < lines[0]["lr"]
    model = load_model(unbroken / "model.safetensors")
    best = max(lines, key=lambda line: line["validation"]["mIoU"])
    assert model.training["epoch"] == best["epoch"]
    assert model.training["validation"] == best["validation"]
    assert len(model.training["prior"]) == 5
    assert model.extractor.backbone == "synthetic"


def test_the_same_run_twice_is_the_same(parts: Parts, unbroken: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    torch.manual_seed(123)  # what happened before must not matter
    assert_same_run(unbroken, short_run(parts, tmp_path / "again").folder)
    torch.set_rng_state(state)


class Killed(BaseException):
    """Stands for kill -9: nothing of the run's own code may see it and tidy up."""


@pytest.mark.parametrize("when", [(2, 1), (3, 2)])
def test_a_killed_run_resumes_as_if_unbroken(
    parts: Parts, unbroken: Path, tmp_path: Path, when: tuple[int, int]
) -> None:
    def kill(event: object) -> None:
        if isinstance(event, StepReport) and (event.epoch, event.batch) == when:
            raise Killed

    with pytest.raises(Killed):
        short_run(parts, tmp_path / "run", report=kill)
    started: list[StartReport] = []
    short_run(
        parts, tmp_path / "run", resume=True,
        report=lambda e: started.append(e) if isinstance(e, StartReport) else None,
    )  # fmt: skip
    assert started[0].epochs_done == when[0] - 1
    assert_same_run(unbroken, tmp_path / "run")


def test_ctrl_c_saves_the_middle_of_an_epoch(parts: Parts, unbroken: Path, tmp_path: Path) -> None:
    steps = []

    def interrupt(event: object) -> None:
        if isinstance(event, StepReport):
            steps.append((event.epoch, event.batch))
            if steps[-1] == (2, 2):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        short_run(parts, tmp_path / "run", report=interrupt)
    assert steps[-1] == (2, 2)
    before = list(steps)
    short_run(parts, tmp_path / "run", resume=True, report=interrupt)
    assert steps[len(before)] == (2, 3)  # no step was lost, none done twice
    assert_same_run(unbroken, tmp_path / "run")


def test_resuming_a_finished_run_changes_nothing(
    parts: Parts, unbroken: Path, tmp_path: Path
) -> None:
    result = short_run(parts, tmp_path / "run")
    again = short_run(parts, tmp_path / "run", resume=True)
    assert again.figures == result.figures
    assert_same_run(unbroken, tmp_path / "run")


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(
    parts: Parts, unbroken: Path
) -> None:
    before = (unbroken / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="already holds a run"):
        short_run(parts, unbroken)
    with pytest.raises(UsageError, match=r"settings.training.lr 0.005, now 0.1"):
        short_run(parts, unbroken, extra=("training.lr=0.1",), resume=True)
    assert (unbroken / "model.safetensors").read_bytes() == before


def test_a_run_from_before_a_setting_was_added_is_gone_on_with(
    parts: Parts, tmp_path: Path
) -> None:
    result = short_run(parts, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    del config["settings"]["network"]["attention_gain"], config["settings"]["retrieval"]["lengths"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert short_run(parts, tmp_path / "run", resume=True).figures == result.figures
    with pytest.raises(UsageError, match=r"retrieval.lengths \[4, 8, 16, 32\], now \[\]"):
        short_run(parts, tmp_path / "run", extra=("retrieval.lengths=[]",), resume=True)


def test_a_loss_that_is_no_number_names_the_batch(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(VmrtoolError, match=r"not finite in epoch \d, batch \d+ of \d+ \(queries"):
        short_run(parts, tmp_path / "run", extra=("training.lr=1e30", "training.clip=0"))


def test_training_stops_when_nothing_gets_better(parts: Parts, tmp_path: Path) -> None:
    figures = iter([10.0, 30.0, 20.0, 20.0, 40.0])
    result = train(
        parts.small,
        parts.small_validation,
        make_settings({}, [*SETTINGS, "training.epochs=9", "training.patience=2"]),
        tmp_path / "run",
        measure=lambda model, dataset: {"mIoU": next(figures)},
    )
    assert (result.epochs, result.best_epoch) == (4, 2)
    assert result.figures == {"mIoU": 30.0}


def test_without_validation_the_last_epoch_is_kept(parts: Parts, tmp_path: Path) -> None:
    settings = make_settings({}, [*SETTINGS, "training.epochs=2"])
    result = train(parts.small, None, settings, tmp_path / "run", measure=measure)
    assert (result.epochs, result.best_epoch, result.figures) == (2, 2, {})


def test_a_figure_that_is_not_measured_cannot_select(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'R@1', which is not measured"):
        short_run(parts, tmp_path / "run", extra=("training.select=R@1",))


def test_features_of_another_extractor_are_refused(parts: Parts, tmp_path: Path) -> None:
    settings = RunSettings(extractor={"backbone": "synthetic", "stride": 8})
    with pytest.raises(DataError, match="stride 8, not 16"):
        train(parts.small, None, settings, tmp_path / "run", measure=measure)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variant", ["mha", "mha-ms", "ci-mha-no-ms"])
def test_every_variant_trains(parts: Parts, tmp_path: Path, variant: str) -> None:
    records = []
    short_run(
        parts, tmp_path / variant, extra=(f"network.variant={variant}", "training.epochs=1"),
        report=lambda e: records.append(e.record) if isinstance(e, EpochReport) else None,
    )  # fmt: skip
    assert ("segment" in records[0]["losses"]) == (variant == "mha-ms")


def test_the_retrieval_head_leaves_a_detached_network_as_it_is(
    parts: Parts, tmp_path: Path
) -> None:
    networks = []
    for weight in (0, 1):
        extra = (
            "network.detach_retrieval=true", f"retrieval.weight={weight}", "training.epochs=1",
        )  # fmt: skip
        result = short_run(parts, tmp_path / f"run{weight}", extra=extra)
        networks.append(result.model.network.state_dict())
    without, with_head = networks
    for name, weights in without.items():
        same = torch.equal(weights, with_head[name])
        assert same != name.startswith("retrieval."), name


def test_feature_statistics(parts: Parts) -> None:
    mean, scale = feature_statistics(parts.small)
    rows = torch.cat([torch.from_numpy(v.features.astype("float64")) for v in parts.small.videos])
    assert torch.allclose(mean.double(), rows.mean(dim=0), atol=1e-4)
    assert torch.allclose(scale.double(), rows.var(dim=0, unbiased=False).mean().sqrt(), rtol=1e-4)
