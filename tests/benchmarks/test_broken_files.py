"""Broken videos and broken model, data and catalog files: refused with a reason, nothing worse.

A slice of what benchmarks/reliability.py makes by the hundred.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vmrtool.errors import MediaError
from vmrtool.media.decode import FrameReader
from vmrtool.media.geometry import Framing
from vmrtool.media.probe import probe

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "broken_files", REPOSITORY / "benchmarks" / "broken_files.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_kind_of_broken_video_is_read_or_refused(maker: ModuleType, tmp_path: Path) -> None:
    kinds = maker.break_files(tmp_path / "broken", 30, seed=1)
    assert len(set(kinds.values())) >= 8
    read = refused = 0
    for name in kinds:
        path = tmp_path / "broken" / name
        try:
            probe(path, timeout_s=60)
            with FrameReader(path, fps=24, framing=Framing(("exact", (16, 16)))) as reader:
                ticks = sum(1 for _ in reader)
        except MediaError as error:
            assert error.stage in ("open", "decode") and str(path) in str(error)
            refused += 1
        else:
            # An hour at the most for so small a file, whatever it claims.
            assert 0 < ticks <= 24 * 3600 + 1 and np.isfinite(reader.duration_s)
            read += 1
    assert read > 3 and refused > 3


def test_every_reader_refuses_in_its_own_words(maker: ModuleType, tmp_path: Path) -> None:
    outcomes, defects = maker.break_readers(tmp_path, 80, seed=2)
    assert defects == []
    assert len({reader for reader, _ in outcomes}) == 8
    assert sum(count for (_, how), count in outcomes.items() if how == "refused") > 20
