"""Pooled vectors: what stands for an archive's windows when a query is compared with all of them.

They depend on the video and the grounding model, not on the query, and are made once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.catalog import Catalog
from vmrtool.catalog.connection import broken
from vmrtool.catalog.rows import StoredWindow
from vmrtool.errors import CatalogError
from vmrtool.grounding.pooling import stretches
from vmrtool.search.grounding import WindowFeatures, batch_size, batches
from vmrtool.search.labels import LabelModel, Model
from vmrtool.search.windows import tile_windows

_TILING = "half-overlap"  # how windows are cut; part of the vectors' key
_AT_ONCE = 64  # windows in memory while vectors are made, however long a video

Load = Callable[[str, int, int], WindowFeatures]
"""Gives the window (first, n) of a content."""


def vectors_key(model: Model) -> str:
    """The key under which a catalog keeps a model's vectors; another model, another key."""
    return f"{model.sha256} {_TILING}"


@torch.inference_mode()
def pool_windows(
    model: Model, windows: Sequence[WindowFeatures]
) -> list[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """The pooled stretches of each window.

    Returns:
        For each window unit vectors (P, d), and the spans (P, 2) they stand for: first and last
        snippet, counted from the window's first.
    """
    if isinstance(model, LabelModel):
        return [model.pool(window.features) for window in windows]
    pooled = {}
    for chosen, features, mask in batches(
        windows, batch_size(model.device), model.config.max_snippets
    ):
        video = model.network.encode_video(features.to(model.device), mask.to(model.device))
        for row, index in enumerate(chosen):
            spans = stretches(len(windows[index]), model.pooling)
            vectors = model.network.retrieval.stretch_vectors(
                video.content[row, None], video.mask[row, None], spans.to(model.device)
            )
            pooled[index] = (vectors[0].cpu().numpy(), spans.numpy().astype(np.int32))
    return [pooled[index] for index in range(len(windows))]


def pool_contents(
    model: Model, contents: Iterable[tuple[str, int]], load: Load
) -> Iterator[list[StoredWindow]]:
    """Yields, content by content, the windows of videos with their pooled vectors.

    `contents` are content hashes with their number of snippets.
    """
    size = model.config.max_snippets
    jobs = [(content, *window) for content, n in contents for window in tile_windows(n, size)]

    def pooled() -> Iterator[StoredWindow]:
        for start in range(0, len(jobs), _AT_ONCE):
            part = jobs[start : start + _AT_ONCE]
            made = pool_windows(model, [load(*job) for job in part])
            for job, (vectors, spans) in zip(part, made, strict=True):
                yield StoredWindow(*job, vectors, spans)

    return (list(windows) for _, windows in groupby(pooled(), key=lambda w: w.content_hash))


def catalog_loader(catalog: Catalog, extractor: int, model: Model) -> Load:
    """Reads windows from a catalog, as one extractor made their features, for a model."""

    def load(content_hash: str, first: int, n: int) -> WindowFeatures:
        stored = catalog.features(content_hash, extractor, first, n)
        if stored is None or len(stored.features) != n:
            raise CatalogError(
                f"{catalog.path}: features of content {content_hash[:12]} are gone",
                remedy="the catalog was changed while it was being searched: search again",
            )
        if stored.features.shape[1] != model.config.video_dim:
            raise broken(
                catalog.path, f"features of content {content_hash[:12]} have another width"
            )
        return WindowFeatures(stored.features, stored.cells, first)

    return load


def pool_catalog(catalog: Catalog, model: Model, extractor: int) -> Iterator[list[StoredWindow]]:
    """Yields the windows that a catalog lacks for a model, content by content; stores nothing."""
    lacking = catalog.without_vectors(vectors_key(model), extractor)
    contents = [(content, catalog.snippet_count(content, extractor)) for content in lacking]
    return pool_contents(model, contents, catalog_loader(catalog, extractor, model))


def store_vectors(
    catalog: Catalog,
    model: Model,
    extractor: int,
    on_video: Callable[[], None] = lambda: None,
) -> None:
    """Makes the vectors that a catalog lacks for a model and stores them, a video at a time.

    Raises:
        CatalogError: the catalog cannot be written to.
    """
    key = vectors_key(model)
    for windows in pool_catalog(catalog, model, extractor):
        catalog.save_vectors(key, extractor, windows)
        on_video()
