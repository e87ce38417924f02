"""benchmarks/search.py at a tiny size: it measures what it says it measures."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import vmrtool
from vmrtool.grounding.pooling import LENGTHS

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "search.py"


def test_catalogs_have_vectors_of_real_statistics_and_can_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("search_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, benchmark)
    monkeypatch.syspath_prepend(SCRIPT.parent)  # as when it is run
    spec.loader.exec_module(benchmark)
    rng = np.random.default_rng(0)
    source = (rng.standard_normal((400, 6)) * [3, 1, 1, 0.1, 0.1, 0.1] + 2).astype(np.float32)
    vectors = benchmark.drawn(source, 500, 128)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    spread = vectors.std(axis=0)
    assert spread[0] > 2 * spread[4] and not vectors[:, 6:].any()
    model = benchmark.write_model(tmp_path / "run", 8, LENGTHS)
    run = tmp_path / "run" / "model.safetensors"
    made = benchmark.build(tmp_path / "v.db", model, 90, 8, source)
    with vmrtool.open(tmp_path / "v.db", model=run, device="cpu") as archive:
        found = archive.search(benchmark.QUERY, shortlist=2)
    assert len(made) >= 90 and found.shortlisted == 2 and found.moments
    monkeypatch.setattr(benchmark, "WINDOWS", 2)
    benchmark.grounding(run, 1)
    rows = [line for line in capsys.readouterr().out.splitlines() if "| 48 |" in line]
    assert len(rows) == 2 and all(row.count("|") == 6 for row in rows)
