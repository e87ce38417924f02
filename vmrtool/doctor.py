"""What this machine has for vmrtool to work with, what it lacks, and the remedy of each.

Every look is by itself: one that fails is a finding, and the others go on.
"""

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

from vmrtool import __version__, config
from vmrtool.catalog.paths import display, path_key
from vmrtool.errors import VmrtoolError

State = Literal["ok", "note", "missing", "broken"]
"""ok: there. note: not there, and can be done without. missing: wanted for some of the work.
broken: without it nothing works."""

_LOW_BYTES = 2 * 10**9  # of disk: a catalog of some hundred hours
_CODECS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1"),  # FFmpeg's own `av1` only drives hardware
    "prores": ("prores",),
    "mpeg2": ("mpeg2video",),
}
_VARIABLES = (config.CATALOG_VARIABLE, config.ASSETS_VARIABLE, config.OFFLINE_VARIABLE)
_INSTALL = "install it: pip install vmrtool"


@dataclass(frozen=True)
class Finding:
    """One thing looked for: under which topic, its name, how it stands, what was found."""

    topic: str
    name: str
    state: State
    found: str
    remedy: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order they are told."""

    findings: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        """Whether anything can work at all."""
        return all(finding.state != "broken" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as the JSON object `vmrtool.doctor/1`."""
        return {
            "schema": "vmrtool.doctor/1",
            "works": self.works,
            "findings": [asdict(finding) for finding in self.findings],
        }


def diagnose(
    catalog: Path | None = None, settings: Sequence[tuple[str, Any, str]] = ()
) -> Diagnosis:
    """Looks at everything.

    Args:
        catalog: as `find_catalog` takes it.
        settings: options that are set outside the command line: name, value, where that is from.
    """
    looks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("software", _software),
        ("devices", _devices),
        ("video", _video),
        ("models", _models),
        ("catalog", lambda: _catalog(catalog)),
        ("disk", lambda: _disk(catalog)),
        ("settings", lambda: _settings(settings)),
    )
    findings: list[Finding] = []
    for topic, look in looks:
        try:
            findings += look()
        except Exception as error:  # whatever a library says of itself
            findings.append(Finding(topic, topic, "missing", f"cannot be told: {error}"))
    return Diagnosis(tuple(findings))


# Software ---------------------------------------------------------------------------------------


def _software() -> Iterator[Finding]:
    yield Finding("software", "vmrtool", "ok", __version__)
    version = f"{platform.python_version()} ({sys.executable}), {platform.platform()}"
    yield Finding("software", "Python", "ok", version)
    yield from _package("torch", "torch", "broken")
    yield from _package("av", "PyAV", "broken")
    yield from _package("sqlite_utils", "sqlite-utils", "broken")
    yield Finding("software", "SQLite", "ok", sqlite3.sqlite_version)
    yield from _package("pytorchvideo", "pytorchvideo", "missing")
    yield from _package("h5py", "h5py", "missing")
    yield from _faiss()
    yield from _package(
        "sentence_transformers",
        "sentence-transformers",
        "note",
        "to read queries with a text model: pip install 'vmrtool[sentence-transformers]'",
    )


def _package(module: str, name: str, otherwise: State, remedy: str = _INSTALL) -> Iterator[Finding]:
    """A package by whether it imports: one that is installed may still be broken."""
    try:
        if otherwise != "note":  # an extra is large; being there is enough
            import_module(module)
        yield Finding("software", name, "ok", metadata.version(module.replace("_", "-")))
    except metadata.PackageNotFoundError:
        yield Finding("software", name, otherwise, "not installed", remedy)
    except (ImportError, OSError) as error:
        yield Finding("software", name, otherwise, f"cannot be imported: {error}", remedy)


def _faiss() -> Iterator[Finding]:
    try:
        faiss = import_module("faiss")
    except ImportError as error:
        yield Finding("software", "FAISS", "broken", f"cannot be imported: {error}", _INSTALL)
        return
    if not hasattr(faiss, "StandardGpuResources"):
        built = "built for processors"
    else:
        built = f"built for GPUs, {faiss.get_num_gpus()} seen"
    yield Finding("software", "FAISS", "ok", f"{faiss.__version__}, {built}")


# Devices ----------------------------------------------------------------------------------------


def _devices() -> Iterator[Finding]:
    import torch

    from vmrtool.features.device import choose_precision

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding(
        *("devices", "processor", "ok"),
        f"{platform.machine()}, {usable} cores to use, {capability}",
    )
    cpu, reason = choose_precision("auto", torch.device("cpu"))
    yield Finding("devices", "precision", "ok", f"{cpu} on the processor: {reason}")
    yield from _cuda(torch)


def _cuda(torch: Any) -> Iterator[Finding]:
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
            yield Finding("devices", f"cuda:{index}", "ok", f"{found}, CUDA {torch.version.cuda}")
        return
    if torch.version.cuda is None:
        yield Finding(
            *("devices", "CUDA", "note", "not used: this torch is built without it"),
            "where there is an NVIDIA GPU: install torch as https://pytorch.org/get-started says",
        )
        return
    try:
        torch.cuda.init()
        why = "no device is visible"
    except Exception as error:
        why = str(error).partition(". ")[0].strip().rstrip(".")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        why += f" (CUDA_VISIBLE_DEVICES is '{hidden}')"
    yield Finding(
        *("devices", "CUDA", "note", f"not used: {why}"),
        "everything works on the processor, more slowly; where there is an NVIDIA GPU, see that "
        "nvidia-smi lists it",
    )


# Video ------------------------------------------------------------------------------------------


def _video() -> Iterator[Finding]:
    import av
    from av.codec.hwaccel import hwdevices_available

    libraries = av.library_versions
    codec = ".".join(map(str, libraries["libavcodec"]))
    version = getattr(av, "ffmpeg_version_info", "of unknown version")
    yield Finding("video", "FFmpeg", "ok", f"{version} (libavcodec {codec}), with PyAV")
    for name, decoders in _CODECS.items():
        here = next((decoder for decoder in decoders if decoder in av.codecs_available), None)
        if here is None:
            remedy = "such videos will fail; install a PyAV with it, or convert them"
            yield Finding("video", name, "missing", "no decoder", remedy)
        else:
            yield Finding("video", name, "ok", f"decoder {here}")
    built = ", ".join(hwdevices_available()) or "none"
    yield Finding("video", "hardware decoding", "ok", f"not used (FFmpeg is built for: {built})")


# Weights, models, catalog -----------------------------------------------------------------------


def _models() -> Iterator[Finding]:
    from vmrtool.assets import find_model, zoo
    from vmrtool.assets.cache import here
    from vmrtool.assets.registry import ASSETS

    for name in zoo():
        model = find_model(name)
        if model.zero_shot:
            yield Finding("models", f"model {name}", "ok", "zero-shot, needs no weights of its own")
        elif model.checkpoint is not None:
            yield Finding("models", f"model {name}", "ok", str(model.checkpoint))
        else:
            remedy = f"train it: vmrtool train --recipe {name} … --out RUN"
            yield Finding("models", f"model {name}", "note", "a recipe, no weights here", remedy)
    for asset in ASSETS.values():
        if asset.kind == "annotations":
            continue  # of use only to who trains on them; `models list` has them
        path = here(asset)
        kind = "word vectors" if asset.kind == "vectors" else "weights"
        if path is not None:
            yield Finding("models", f"{kind} {asset.name}", "ok", str(path))
            continue
        pull = "data" if asset.kind != "weights" else "models"
        yield Finding(
            *("models", f"{kind} {asset.name}", "note", "not here"),
            "fetched when it is needed"
            if asset.kind == "weights" and not config.offline()
            else f"vmrtool {pull} pull {asset.name}",
        )


def _catalog(named: Path | None) -> Iterator[Finding]:
    from vmrtool.catalog import Catalog
    from vmrtool.catalog.listing import info

    try:
        path = config.find_catalog(named)
        with Catalog.open(path) as catalog:
            told = info(catalog)
    except VmrtoolError as error:
        state: State = "missing" if named is not None or "no catalog" not in str(error) else "note"
        yield Finding("catalog", "catalog", state, str(error), error.remedy)
        return
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    how = "" if writable else ", cannot be written"
    yield Finding(
        *("catalog", "catalog", "ok"),
        f"{told['catalog']}, schema {told['schema_version']}, {told['bytes'] / 1e6:.1f} MB{how}",
    )
    videos = {state: count for state, count in told["videos"].items() if count}
    counts = ", ".join(f"{count:,} {state}" for state, count in videos.items()) or "none"
    wanting: State = "missing" if videos.keys() - {"indexed"} else "ok"
    remedies = {
        "failed": "vmrtool catalog failures says why",
        "pending": "vmrtool index DIR makes the features of pending ones",
        "missing": "vmrtool catalog relocate, or remove --missing",
    }
    remedy = "; ".join(text for state, text in remedies.items() if state in videos) or None
    yield Finding("catalog", "videos", wanting if videos else "note", counts, remedy)
    extractor = told["extractor"]
    if extractor is not None:
        yield Finding("catalog", "features", "ok", extractor["backbone"])
    yield from _catalog_model(told["model"])


def _catalog_model(ref: str | None) -> Iterator[Finding]:
    from vmrtool.assets import find_model

    if ref is None:
        remedy = "name one: vmrtool search … --model NAME|RUN"
        yield Finding("catalog", "model", "note", "none is remembered", remedy)
        return
    try:
        find_model(ref).require_checkpoint()
    except VmrtoolError as error:
        yield Finding("catalog", "model", "missing", str(error), error.remedy)
    else:
        yield Finding("catalog", "model", "ok", ref)


# Disk and settings ------------------------------------------------------------------------------


def _disk(named: Path | None) -> Iterator[Finding]:
    catalog = config.find_catalog(named, create=True)
    for name, folder in (("catalog's disk", catalog.parent), ("cache", config.cache_folder())):
        there = next(place for place in (folder, *folder.parents) if place.is_dir())
        free = shutil.disk_usage(there).free
        found = f"{display(path_key(folder))}: {free / 1e9:.1f} GB free"
        if not os.access(there, os.W_OK):
            yield Finding(
                "disk", name, "missing", f"{found}, cannot be written", "check its permissions"
            )
        elif free < _LOW_BYTES:
            yield Finding("disk", name, "missing", found, "free some space")
        else:
            yield Finding("disk", name, "ok", found)


def _settings(options: Sequence[tuple[str, Any, str]]) -> Iterator[Finding]:
    for name, value, source in options:
        yield Finding("settings", name, "ok", f"{value} ({source})")
    for name in _VARIABLES:
        if os.environ.get(name):
            yield Finding("settings", f"${name}", "ok", os.environ[name])
