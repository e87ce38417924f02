"""benchmarks/searches.py: several sittings find what one would have found."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import write_archive

from vmrtool.datasets.load import load_parts
from vmrtool.evaluation.searches import compare_searches
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, load_model, save_model
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.text.vocabulary import Vocabulary

REPOSITORY = Path(__file__).parent.parent.parent


def test_sittings_add_up_to_what_compare_searches_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    searches = importlib.import_module("searches")
    monkeypatch.setattr(searches, "BLOCK", 5)
    queries, catalog = write_archive(tmp_path, videos=8, seed=1)
    (dataset,) = load_parts([str(queries)], [catalog], use="test")
    vocabulary = Vocabulary(" ".join(sample.query for sample in dataset.samples).split())
    config = GroundingConfig(
        video_dim=dataset.video(0).features.shape[1], vocabulary_size=len(vocabulary), dim=16
    )
    torch.manual_seed(0)
    model = GroundingModel(
        GroundingNetwork(config), vocabulary, ExtractorSpec("made-up", "0" * 64, {}), pooling=(4, 8)
    )
    save_model(tmp_path / "run" / "model.safetensors", model)
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

    model = load_model(tmp_path / "run" / "model.safetensors")
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
