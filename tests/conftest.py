"""What all tests share: the real data, where it is, and a home that is not the user's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Loopback, serving

REPOSITORY = Path(__file__).parent.parent


def real_data_folder() -> Path | None:
    """`$VMRTOOL_TEST_DATA`, else `../shared/data` beside the repository; None where absent."""
    folder = Path(os.environ.get("VMRTOOL_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def pytest_report_header() -> str:
    return f"real data: {real_data_folder() or 'none, its tests skip'}"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real annotations, features and videos; skips where there is none."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("no real data: set VMRTOOL_TEST_DATA to a folder that holds it")
    return folder


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's catalog, assets or cache, leaves something there, or downloads."""
    for name in [name for name in os.environ if name.startswith("VMRTOOL_")]:
        if name != "VMRTOOL_TEST_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("VMRTOOL_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks train faster on one thread, and the same to the last bit everywhere."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A file server on this machine; downloads are allowed and waste no time between tries."""
    from vmrtool.assets import download

    monkeypatch.delenv("VMRTOOL_OFFLINE")
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    with serving() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, where one can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "vmrtool-test", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
