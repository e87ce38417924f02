"""Downloads on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from vmrtool.cli.downloads import Downloads


def test_a_bar_on_a_terminal_that_goes_away() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with Downloads(console) as downloads:
        downloads.note("downloading a.pt (2.0 MB) from example.org")
        downloads.at("a.pt", 0, 2_000_000)
        downloads.at("a.pt", 1_000_000, 2_000_000)
        downloads.at("b.pt", 5, None)
        assert [task.description for task in downloads._bars.tasks] == ["b.pt"]
    assert "from example.org" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")  # the line is cleared


def test_a_line_now_and_then_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    with Downloads(Console(file=out, width=100)) as downloads:
        downloads.at("a.pt", 0, 2_000_000)
        downloads.at("a.pt", 1_000_000, 2_000_000)
        assert out.getvalue() == ""
        monkeypatch.setattr(Downloads, "_EVERY_S", 0.0)
        downloads.at("a.pt", 1_500_000, 2_000_000)
        downloads.at("a.pt", 1_600_000, None)
    assert out.getvalue().splitlines() == ["a.pt: 1.5 of 2.0 MB", "a.pt: 1.6 MB"]


def test_nothing_where_nothing_is_fetched() -> None:
    out = io.StringIO()
    with Downloads(Console(file=out, force_terminal=True)):
        pass
    assert out.getvalue() == ""
