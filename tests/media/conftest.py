"""Videos made in a test's own folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from video_clips import write_video


@pytest.fixture
def video(tmp_path: Path) -> Callable[..., Path]:
    """`write_video` into the test's own folder, by file name."""
    return lambda name, *args, **kwargs: write_video(tmp_path / name, *args, **kwargs)
