"""Two kills of searches and two of training: what benchmarks/reliability.py does by the fifty."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and forks")


@pytest.mark.parametrize("part", ["kill-search", "kill-train"])
def test_runs_that_are_killed_end_as_if_they_were_not(part: str) -> None:
    script = str(REPOSITORY / "benchmarks" / "reliability.py")
    done = subprocess.run(
        [sys.executable, script, "--part", part, "--kills", "2", "--seed", "3"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("2 kills (")
