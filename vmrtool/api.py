"""The parts of the Python API that need several rooms at once: indexing, and models by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vmrtool.assets import find_model
from vmrtool.config import default_workers, find_catalog
from vmrtool.errors import UsageError
from vmrtool.features.device import choose_device
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel
from vmrtool.grounding.checkpoint import load_model as read_model
from vmrtool.indexing.choice import Choice, find_extractor
from vmrtool.indexing.pipeline import index as index_videos
from vmrtool.indexing.report import Event, IndexReport
from vmrtool.indexing.source import ExtractorSource


def index(
    videos: str | Path | Sequence[str | Path],
    catalog: str | Path | None = None,
    model: str | Path | None = None,
    *,
    backbone: str | None = None,
    weights: str | Path | None = None,
    stride: int | None = None,
    sampling: str | None = None,
    precision: str | None = None,
    device: str = "auto",
    exclude: Sequence[str] = (),
    retry_failed: bool = False,
    prune: bool = False,
    workers: int | None = None,
    batch_size: int | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    tell: Callable[[str], None] = lambda line: None,
) -> IndexReport:
    """Indexes videos as `vmrtool index` does, in this process; public as `vmrtool.index`.

    What cannot be read is in the report's `failed`. Unlike the command there is no supervisor: a
    decoder that dies takes this process with it.

    Args:
        videos: a folder or a file, or several.
        catalog: its file, made where there is none; None for $VMRTOOL_CATALOG or the nearest
            vmrtool.db, else a new one in this folder.
        model: index for this grounding model: a name, a run folder or a file.
        backbone: a backbone alone.
        weights: the backbone's weights file; None for the published one.
        stride: frames from one snippet to the next.
        sampling: "windows" or "dense".
        precision: "auto", "float32" or "bfloat16".
        device: "auto", "cpu", "cuda" or "cuda:N".
        exclude: globs of what to leave out.
        retry_failed: try again what failed before.
        prune: take what is gone from these folders out of the catalog.
        workers: videos decoded at the same time; None for what fits the machine.
        batch_size: windows a batch; None for what fits the device.
        on_event: told what happens, from any thread.
        tell: told which features are made, from where weights come, and their terms.

    Raises:
        UsageError: no such folder or file, or the choice of features makes no sense.
        MissingError: no such model or backbone, or its weights cannot be had.
        CatalogError: the catalog cannot be used, or the disk is full.
    """
    places = [videos] if isinstance(videos, (str, Path)) else list(videos)
    path = find_catalog(None if catalog is None else Path(catalog), create=True)
    asked = Choice(
        model=None if model is None else str(model),
        backbone=backbone,
        weights=None if weights is None else Path(weights),
        stride=stride,
        precision=precision,
        sampling=sampling,
    )

    def find() -> ExtractorSource:
        return find_extractor(
            asked,
            Choice.remembered(path),
            device=device,
            batch_size=batch_size,
            read_spec=extractor_of,
            tell=tell,
        )

    return index_videos(
        places,
        path,
        find,
        exclude=exclude,
        retry_failed=retry_failed,
        prune=prune,
        workers=workers or default_workers(),
        on_event=on_event,
    )


def load_model(model: str | Path, device: str = "auto") -> GroundingModel:
    """Reads a grounding model, ready to predict; public as `vmrtool.load_model`.

    `vmrtool.ground` asks it about features of one's own, `vmrtool.open` about a catalog.

    Args:
        model: a name in the zoo, a run folder, or a file.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        MissingError: no such model, or it has no weights here.
        ModelError: not a model.
        UsageError: no such device, or a model without weights, which only a catalog has.
    """
    found = find_model(str(model))
    if found.zero_shot:
        raise UsageError(
            f"model '{found.name}' has no weights: it is made of a catalog's backbone",
            remedy=f'Open a catalog with it: vmrtool.open("vmrtool.db", model="{found.name}").',
        )
    return read_model(found.require_checkpoint(), choose_device(device)[0])


def extractor_of(checkpoint: Path) -> ExtractorSpec:
    """Which features a grounding model reads."""
    return read_model(checkpoint).extractor
