"""benchmarks/searches.py: several sittings, and a short cut, find what a plain one would."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import write_archive

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.load import load_parts
from vmrtool.evaluation import corpus
from vmrtool.evaluation.corpus import archive_of
from vmrtool.evaluation.searches import compare_searches
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, load_model, save_model
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.grounding.ranking import RankingWeights
from vmrtool.search.archive import Findings
from vmrtool.text.vocabulary import Vocabulary

REPOSITORY = Path(__file__).parent.parent.parent


def _model(path: Path, queries: Path, catalog: Path) -> tuple[GroundingModel, Dataset]:
    """A model that has learned nothing, written to a file and read from it; and the data set."""
    (dataset,) = load_parts([str(queries)], [catalog], use="test")
    vocabulary = Vocabulary(" ".join(sample.query for sample in dataset.samples).split())
    config = GroundingConfig(
        video_dim=dataset.video(0).features.shape[1], vocabulary_size=len(vocabulary), dim=16
    )
    torch.manual_seed(0)
    network = GroundingNetwork(config)
    extractor = ExtractorSpec("made-up", "0" * 64, {})
    ranking = RankingWeights(bias=-2.0, similarity=30.0, grounding=0.05, presence=0.5)
    save_model(
        path, GroundingModel(network, vocabulary, extractor, ranking=ranking, pooling=(4, 8))
    )
    return load_model(path), dataset


def test_the_first_ten_are_those_of_the_exhaustive_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    first_ten = importlib.import_module("first_ten")
    monkeypatch.setattr(first_ten, "_GROUNDED_AT_ONCE", 5)
    written = write_archive(tmp_path, videos=60, seed=2, longest=150)  # some of two windows
    model, dataset = _model(tmp_path / "model.safetensors", *written)
    archive = archive_of(model, dataset)
    short_cut = first_ten.FirstTen(model, dataset, archive)
    looked_into = []
    for query in dict.fromkeys(sample.query for sample in dataset.samples):
        plain = archive.find(
            model, query, shortlist=60, windows_per_video=1000, per_video=corpus.PER_VIDEO
        )
        found = short_cut.find(query)
        assert _first(found, 10) == _first(plain, 10)
        assert found.moments.items() <= plain.moments.items()
        looked_into.append(len(found.moments))
    assert 10 <= min(looked_into) < 60  # the others' bounds are out of reach


def _first(found: Findings, count: int) -> list[tuple[float, str, float, float]]:
    """The best moments: score, video, start and end in seconds."""
    moments = [
        (-moment.score, video, moment.start, moment.end)
        for video, moments in found.moments.items()
        for moment in moments
    ]
    return sorted(moments)[:count]


def test_sittings_add_up_to_what_compare_searches_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    searches = importlib.import_module("searches")
    monkeypatch.setattr(searches, "BLOCK", 5)
    queries, catalog = write_archive(tmp_path, videos=8, seed=1)
    model, dataset = _model(tmp_path / "run" / "model.safetensors", queries, catalog)
    record = tmp_path / "found.jsonl"
    words = ["searches.py", "--dataset", str(queries), "--features", str(catalog)]
    words += ["--model", str(tmp_path / "run"), "--record", str(record)]

    monkeypatch.setattr(sys, "argv", [*words, "--blocks", ":1", "--ways", "stretches: exhaustive"])
    searches.main()
    with record.open("a") as file:
        file.write('{"model": "cut o')  # killed while it wrote
    monkeypatch.setattr(sys, "argv", words)
    searches.main()
    before = record.read_text()
    capsys.readouterr()
    searches.main()
    assert record.read_text() == before  # nothing is left to ask
    printed = capsys.readouterr().out

    found = searches.read(record, model.sha256)
    rows = compare_searches(model, dataset)
    assert len(rows) == len({name for name, _ in found}) == 8
    for row in rows:
        name = f"{row['pooling']}: {row['search']}"
        hits = np.concatenate([hits for (way, _), (hits, _) in found.items() if way == name])
        assert len(hits) == len(dataset) > 5
        for place, figure in enumerate(searches.SHOWN):
            assert 100 * hits[:, place].mean() == pytest.approx(row[figure]["mean"])
        assert f"| {name} | {len(dataset)} |" in printed
