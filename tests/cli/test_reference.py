"""The command line as a whole: its start, its reference page, its errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
HEAVY = {"torch", "faiss", "av", "sqlite_utils", "numpy", "matplotlib", "vmrtool.media.stores"}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmrtool", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
    )


def loaded_after(statement: str) -> set[str]:
    """Heavy packages in `sys.modules` once `statement` has run."""
    code = f"import sys\n{statement}\nprint(*(set({sorted(HEAVY)}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import vmrtool") == set()


@pytest.mark.parametrize(
    "command", ["", "index", "search", "train", "eval", "catalog show", "models pull", "data pull"]
)
def test_help_loads_nothing_heavy(command: str) -> None:
    arguments = ["vmrtool", *command.split(), "--help"]
    statement = (
        f"sys.argv = {arguments}\n"
        "from vmrtool.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert loaded_after(statement) == set()


def test_models_are_listed_without_torch() -> None:
    statement = (
        "sys.argv = ['vmrtool', 'models', 'list', '--json']\n"
        "from vmrtool.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert loaded_after(statement) <= {"numpy"}


def test_the_check_for_heavy_packages_can_fail() -> None:
    assert "numpy" in loaded_after("import numpy")


def test_reference_page_is_what_help_prints() -> None:
    sys.path.insert(0, str(REPOSITORY / "docs"))
    try:
        from build_cli import PAGE, reference
    finally:
        sys.path.pop(0)
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: python docs/build_cli.py"


def test_version() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("vmrtool 0.")
    assert re.search(r"^torch \d+\.\d+\S*, CUDA (none|\d+\.\d+)$", done.stdout, re.MULTILINE)
    assert re.search(r"^FFmpeg \d+\.\d+\S*, PyAV \d+\.", done.stdout, re.MULTILINE)


def test_version_agrees_with_torch_and_loads_no_torch() -> None:
    import torch

    from vmrtool.cli import version

    assert version.cuda() == torch.version.cuda
    assert "torch" not in loaded_after("from vmrtool.cli.version import lines; list(lines())")


def test_unknown_command_is_wrong_usage() -> None:
    assert run("serach", "a red circle").returncode == 2


def test_errors_steer_no_terminal() -> None:
    done = run("search", "a red circle", "--catalog", "/none/\x1b[31mred\u202e.db")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr


def test_errors_are_short_and_tracebacks_only_with_debug(tmp_path: Path) -> None:
    arguments = ("search", "a red circle", "--catalog", str(tmp_path / "none.db"))
    plain = run(*arguments)
    assert plain.returncode == 3
    assert plain.stdout == ""
    assert "none.db" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert 1 <= len(plain.stderr.strip().splitlines()) <= 3
    debug = run("--debug", *arguments)
    assert debug.returncode == 3
    assert "Traceback" in debug.stderr
