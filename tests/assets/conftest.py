"""A loopback server, and downloads that may use it and do not dawdle."""

from collections.abc import Iterator

import pytest
from loopback import Loopback, serving

from vmrtool.assets import download


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.delenv("VMRTOOL_OFFLINE")
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    with serving() as server:
        yield server
