"""`vmrtool --version`: the versions that results depend on, without importing torch."""

import platform
import re
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from vmrtool import __version__


def lines() -> Iterator[str]:
    """vmrtool's version, and under it those of Python, torch, CUDA, FFmpeg and PyAV."""
    yield f"vmrtool {__version__}"
    yield f"Python {platform.python_version()}"
    yield f"torch {_installed('torch')}, CUDA {cuda() or 'none'}"
    yield f"FFmpeg {ffmpeg() or 'not known'}, PyAV {_installed('av')}"


def cuda() -> str | None:
    """The CUDA that torch is built for, as its file of versions says; None for none."""
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=]*= *['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return found[1] if found else None


def ffmpeg() -> str | None:
    """The version of FFmpeg that comes with PyAV; None where PyAV cannot be imported."""
    try:
        import av
    except ImportError:
        return None
    return str(av.ffmpeg_version_info)


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
