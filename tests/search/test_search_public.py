"""What `import vmrtool` offers, and that it costs nothing."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vmrtool

REPOSITORY = Path(__file__).parent.parent.parent


def test_the_public_names_are_there() -> None:
    assert set(vmrtool.__all__) == set(dir(vmrtool))
    for name in vmrtool.__all__:
        assert getattr(vmrtool, name) is not None
    from vmrtool.search.result import Moment, SearchResult

    assert vmrtool.Moment is Moment and vmrtool.SearchResult is SearchResult
    with pytest.raises(AttributeError, match="nosuch"):
        _ = vmrtool.nosuch


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert vmrtool.__version__ == project["version"]


def test_plain_results_need_neither_torch_nor_faiss() -> None:
    code = (
        "import sys, vmrtool; vmrtool.Moment; vmrtool.SearchResult;"
        "assert not {'torch', 'faiss', 'numpy', 'sqlite_utils', 'av'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
