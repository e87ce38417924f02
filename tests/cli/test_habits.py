"""Options of all commands, colours, completion, and that nothing ever asks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets
from vmrtool.cli import app, console
from vmrtool.features.published import BACKBONES

PACKAGE = Path(console.__file__).parent.parent


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    spans = np.array([[0.0, 1.0]])
    with Catalog.create_or_open(tmp_path / "vmrtool.db") as opened:
        extractor = opened.extractor_id("i3d", "0" * 64, {})
        opened.use_extractor(extractor)
        for name in ("kitchen 1.mp4", "sub/door.mp4"):
            file = FoundFile(tmp_path / name, tmp_path, 1, 1)
            stored = StoredSnippets(np.zeros((1, 4), np.float16), spans, spans)
            opened.save_video(file, name, FileFacts(), extractor, stored)
    return tmp_path / "vmrtool.db"


def stderr_of(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stderr


def test_quiet_and_verbose_before_and_after_the_command(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    words = ("index", str(tmp_path / "none"), "--catalog", str(tmp_path / "v.db"))
    assert "note: no videos" in stderr_of(*words)
    for flag in ("--quiet", "-q"):
        assert stderr_of(flag, *words) == stderr_of(*words, flag) == ""
    for flag in ("--verbose", "-v"):
        for told in (stderr_of(flag, *words), stderr_of(*words, flag)):
            assert "note: no videos" in told
            assert re.search(r"^\d+\.\d s, at most [\d,]+ MB of memory$", told, re.MULTILINE)
    assert "MB of memory" not in stderr_of(*words)


def test_errors_are_told_even_when_quiet(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "info", "-q", "--catalog", str(tmp_path / "x")])
    assert result.exit_code == 3 and "no such catalog" in result.stderr


def test_what_follows_two_dashes_is_no_option(tmp_path: Path) -> None:
    words = ["catalog", "show", "--catalog", str(tmp_path / "none.db"), "--", "--quiet"]
    assert "no such catalog" in CliRunner().invoke(app, words).stderr
    assert not console.quiet


def test_verbose_tells_each_video(capsys: pytest.CaptureFixture[str]) -> None:
    from vmrtool.cli.index_display import Display
    from vmrtool.indexing.report import Settled

    event = Settled(Path("/v/a\x1b.mp4"), 1, "unchanged")
    for verbose in (False, True):
        console.verbose = verbose
        Display(console.message_console()).follow(event)
        told = capsys.readouterr().err
        assert ("unchanged /v/a\ufffd.mp4" in told) == verbose
    console.verbose = False


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_no_color_on_a_terminal(catalog: Path) -> None:
    def shown(**variables: str) -> str:
        import pty

        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", **variables}
        words = [sys.executable, "-m", "vmrtool", "catalog", "info", "--catalog", "none.db"]
        subprocess.run(words, stdin=slave, stdout=slave, stderr=slave, env=environment, check=False)
        os.close(slave)
        text = os.read(master, 65536).decode()
        os.close(master)
        return text

    colour = re.compile(r"\x1b\[[\d;]*3[0-7]")
    assert colour.search(shown())
    plain = shown(NO_COLOR="1")
    assert "no such catalog" in plain and not colour.search(plain)


def completed(line: str, **variables: str) -> list[str]:
    environment = {**os.environ, **variables, "_VMRTOOL_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    code = "import sys; from vmrtool.cli import main; sys.argv = ['vmrtool']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if done.stdout else []


def test_completion_in_a_shell(catalog: Path) -> None:
    assert completed("vmrtool search --model bl") == ["blocks"]
    assert completed("vmrtool catalog show sub/") == ["sub/door.mp4"]
    assert completed("vmrtool catalog ver") == ["verify"]


def test_names_that_are_offered(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace
    from typing import Any

    from vmrtool.cli import completion

    (catalog.parent / "charm").mkdir()
    (catalog.parent / ".hidden").touch()
    models = [name for name in completion.models("") if not name.startswith("vmrtool")]
    assert {"blocks", "charades", "charm/"} <= set(models) and ".hidden" not in models
    assert completion.datasets("char") == ["charades", "charm/"]
    assert completion.backbones("") == [*BACKBONES, "blocks"]
    assert "glove" in completion.pullable("g") and "i3d-r50" in completion.names("i3d")
    here: Any = SimpleNamespace(params={})
    assert completion.videos(here, "") == ["kitchen 1.mp4", "sub/door.mp4"]
    nowhere: Any = SimpleNamespace(params={"catalog": Path("none.db")})
    assert completion.videos(nowhere, "") == []
    catalog.write_text("shopping list")
    assert completion.videos(here, "") == []


def test_completion_loads_no_torch(catalog: Path) -> None:
    code = (
        "import sys\nfrom types import SimpleNamespace as S\n"
        "from vmrtool.cli import completion as c\n"
        "c.models(''), c.backbones(''), c.datasets(''), c.videos(S(params={}), '')\n"
        "print({'torch', 'faiss', 'av'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_nothing_ever_asks() -> None:
    asking = re.compile(r"\b(confirm|prompt|input|getpass|Prompt\.ask)\(|\bprompt=")
    source = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert len(source) > 100
    assert [path for path, text in source.items() if asking.search(text)] == []
