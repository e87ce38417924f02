"""What the cross-validation of charades_clip.py rests on: its folds and its bootstrap."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from synthetic import write_archive

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.load import load_parts

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module", autouse=True)
def beside_the_scripts() -> Iterator[None]:
    """Scripts import each other as when they are run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        yield


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return importlib.import_module("charades_clip")


@pytest.fixture(scope="module")
def records() -> ModuleType:
    return importlib.import_module("records")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    queries, catalog = write_archive(tmp_path_factory.mktemp("archive"), videos=20, seed=1)
    (whole,) = load_parts([str(queries)], [catalog], use="train")
    return whole


def test_every_video_is_tested_once_and_never_trained_on(
    benchmark: ModuleType, dataset: Dataset
) -> None:
    tested: list[int | str] = []
    for fold in range(benchmark.FOLDS):
        rest, held = benchmark.divided(dataset, fold)
        assert {video.vid for video in rest.videos}.isdisjoint(v.vid for v in held.videos)
        assert {benchmark.fold_of(video.vid) for video in held.videos} <= {fold}
        assert len(rest) + len(held) == len(dataset)
        tested += [sample.qid for sample in held.samples]
    assert sorted(tested) == [sample.qid for sample in dataset.samples]


def test_a_lead_is_told_from_luck(records: ModuleType) -> None:
    draw = np.random.default_rng(1)
    theirs = 100.0 * (draw.random(2000) < 0.35)
    better = np.where(draw.random(2000) < 0.1, 100.0, theirs)
    lead, low, high, p = records.paired_bootstrap(better, theirs)
    assert low < lead < high and lead == pytest.approx(better.mean() - theirs.mean())
    assert low > 3 and p < 0.001
    same = np.where(draw.random(2000) < 0.1, 100.0 * (draw.random(2000) < 0.35), theirs)
    _, low, high, p = records.paired_bootstrap(same, theirs)
    assert low < 0 < high and p > 0.01
    *_, p = records.paired_bootstrap(theirs, theirs)
    assert p == 1.0


def test_a_finished_run_is_read_and_not_trained_again(
    benchmark: ModuleType, records: ModuleType, dataset: Dataset, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from vmrtool.training.settings import make_settings

    small = ["network.dim=8", "network.word_dim=4", "network.retrieval_dim=4", "training.epochs=1"]
    small += ["training.validation_share=0.2", "retrieval.ranking_queries=2"]
    settings = make_settings({}, small)
    experiment = benchmark.Experiment(dataset, None, settings, tmp_path, "cpu")
    found = {
        (method, fold, 0): benchmark.tested(experiment, method, fold, 0)
        for method in ("mha", "blind")
        for fold in (0, 1)
    }
    monkeypatch.setattr(benchmark, "train", lambda *_, **__: pytest.fail("trained again"))
    again = benchmark.tested(experiment, "mha", 1, 0)
    for name in records.FIGURES:
        np.testing.assert_array_equal(again[name], found["mha", 1, 0][name])
    capsys.readouterr()
    records.print_table(found, ["mha", "blind"], [0, 1], range(1), "blind")
    told = capsys.readouterr().out
    both = np.concatenate([found["mha", fold, 0]["mIoU"] for fold in (0, 1)]).mean()
    assert f"{both:.2f} ± 0.00 |" in told
    assert "mha ahead of blind, R@1_IoU0.5:" in told


def test_a_record_stands_in_for_the_runs(records: ModuleType, tmp_path: Path) -> None:
    from vmrtool.training.settings import make_settings

    own = records.key_of(make_settings({}))
    other = records.key_of(make_settings({}, ["training.epochs=2"]))
    ious = np.array([0.0, 31.2, 49.9, 50.0, 71.4])
    figures = {f"R@1_IoU{m / 100}": 100.0 * (ious >= m) for m in (30, 50, 70)} | {"mIoU": ious}
    record = tmp_path / "figures.jsonl"
    assert records.read_record(record, own) == {}
    records.add_to_record(record, own, records.Run("mha", 1, 0), figures)
    records.add_to_record(record, own, records.Run("mha", None, 0), figures)
    records.add_to_record(record, other, records.Run("mha", 2, 0), figures)
    with record.open("a") as file:
        file.write('{"method": "mha", "fo')  # a kill
    records.add_to_record(record, own, records.Run("blind", None, 0), figures)
    found = records.read_record(record, own)
    assert found.pop(("blind", None, 0)).keys() == figures.keys()
    assert list(found) == [("mha", 1, 0), ("mha", None, 0)]
    read = found["mha", 1, 0]
    for name in records.FIGURES[:-1]:
        np.testing.assert_array_equal(read[name], figures[name])
    np.testing.assert_allclose(read["mIoU"], ious, atol=0.5)
