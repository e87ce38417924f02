"""The measurement of training runs and prints its row; what it measures is no test's business."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "training.py"


def test_it_prints_a_row_of_the_table() -> None:
    small = ["network.dim=8", "network.word_dim=4", "training.batch_size=4"]
    overrides = [word for setting in small for word in ("--set", setting)]
    done = subprocess.run(
        [
            *(sys.executable, SCRIPT, "--device", "cpu", "--recipe", "charades"),
            *("--steps", "2", "--pairs", "4", *overrides),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    head, rule, row = done.stdout.splitlines()[-3:]
    assert head.count("|") == rule.count("|") == row.count("|") == 9
    assert "| 4, 8 |" in row and "| 30: " in row
    assert "3102 steps an epoch" in done.stdout
