"""Pooled vectors: what stands for an archive's windows when a query is compared with all of them.

They depend on the video and the grounding model, not on the query, and are made once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from vmrtool.catalog import Catalog
from vmrtool.catalog.connection import broken
from vmrtool.catalog.rows import StoredEncoding, StoredWindow
from vmrtool.errors import CatalogError
from vmrtool.grounding.pooling import stretches
from vmrtool.search.grounding import (
    AnyWindow,
    EncodedWindow,
    WindowFeatures,
    batch_size,
    batches,
    rounded,
)
from vmrtool.search.labels import LabelModel, Model
from vmrtool.search.windows import tile_windows

_TILING = "half-overlap"  # how windows are cut; part of the vectors' key
_AT_ONCE = 64  # windows in memory while vectors are made, however long a video

Load = Callable[[str, int, int], AnyWindow]
"""Gives the window (first, n) of a content."""
LoadFeatures = Callable[[str, int, int], WindowFeatures]
"""The same, never encoded yet."""


def vectors_key(model: Model) -> str:
    """The key under which a catalog keeps a model's vectors; another model, another key."""
    return f"{model.sha256} {_TILING}"


@dataclass(frozen=True)
class Pooled:
    """What is made of a window once: unit vectors (P, d), and the spans (P, 2) they stand for.

    Spans are first and last snippet, counted from the window's first. `values` (n, K) float16 are
    those of an `EncodedWindow`; None for a model that encodes nothing.
    """

    vectors: NDArray[np.float32]
    spans: NDArray[np.int32]
    values: NDArray[np.float16] | None = None


@torch.inference_mode()
def pool_windows(model: Model, windows: Sequence[WindowFeatures]) -> list[Pooled]:
    """The pooled stretches of each window, and the window encoded."""
    if isinstance(model, LabelModel):
        return [Pooled(*model.pool(window.features)) for window in windows]
    pooled = {}
    for chosen, features, mask in batches(
        [window.features for window in windows],
        batch_size(model.device),
        model.config.max_snippets,
    ):
        video = model.network.encode_video(features.to(model.device), mask.to(model.device))
        values = rounded(model.network.keep(video))
        for row, index in enumerate(chosen):
            spans = stretches(len(windows[index]), model.pooling)
            vectors = model.network.retrieval.stretch_vectors(
                video.content[row, None], video.mask[row, None], spans.to(model.device)
            )
            pooled[index] = Pooled(
                vectors[0].cpu().numpy(),
                spans.numpy().astype(np.int32),
                values[row, : len(windows[index])].copy(),  # not the whole batch
            )
    return [pooled[index] for index in range(len(windows))]


def pool_contents(
    model: Model, contents: Iterable[tuple[str, int]], load: LoadFeatures, *, keep: bool = False
) -> Iterator[list[StoredWindow]]:
    """Yields, content by content, the windows of videos with their pooled vectors.

    `contents` are content hashes with their number of snippets. keep: with their encodings.
    """
    size = model.config.max_snippets
    jobs = [(content, *window) for content, n in contents for window in tile_windows(n, size)]

    def pooled() -> Iterator[StoredWindow]:
        for start in range(0, len(jobs), _AT_ONCE):
            part = jobs[start : start + _AT_ONCE]
            windows = [load(*job) for job in part]
            for job, window, made in zip(part, windows, pool_windows(model, windows), strict=True):
                encoding = None
                if keep and made.values is not None:
                    encoding = StoredEncoding(made.values, window.cells)
                yield StoredWindow(*job, made.vectors, made.spans, encoding)

    return (list(windows) for _, windows in groupby(pooled(), key=lambda w: w.content_hash))


def catalog_loader(catalog: Catalog, extractor: int, model: Model) -> LoadFeatures:
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


def kept_loader(catalog: Catalog, extractor: int, model: Model) -> Load:
    """Reads windows as they are kept for a model; those that are not, as `catalog_loader`."""
    key, load = vectors_key(model), catalog_loader(catalog, extractor, model)

    def load_kept(content_hash: str, first: int, n: int) -> AnyWindow:
        kept = catalog.encoding(key, extractor, content_hash, first)
        if kept is None:
            return load(content_hash, first, n)
        if isinstance(model, LabelModel) or kept.data.shape != (n, model.config.kept_width):
            raise broken(
                catalog.path, f"the encoding of content {content_hash[:12]} has another shape"
            )
        return EncodedWindow(kept.data, kept.cells, first)

    return load_kept


def settle_keeping(catalog: Catalog, wanted: bool | None) -> bool:
    """Whether windows are kept encoded in a catalog: as wanted, else as it remembers.

    What is wanted is remembered; what must no longer be kept is dropped, for all models.

    Raises:
        CatalogError: something has to be changed, and the catalog cannot be written to.
    """
    remembered = catalog.setting("keep_encoded") is True
    if wanted is None or wanted == remembered:
        return remembered
    with Catalog.open(catalog.path, readonly=False) as writer:
        writer.remember(keep_encoded=wanted or None)
        if not wanted:
            writer.drop_encodings()
    return wanted


def pool_catalog(
    catalog: Catalog, model: Model, extractor: int, *, keep: bool = False
) -> Iterator[list[StoredWindow]]:
    """Yields the windows that a catalog lacks for a model, content by content; stores nothing.

    keep: with their encodings, and those that lack nothing else.
    """
    lacking = catalog.without_vectors(vectors_key(model), extractor, with_encodings=keep)
    contents = [(content, catalog.snippet_count(content, extractor)) for content in lacking]
    return pool_contents(model, contents, catalog_loader(catalog, extractor, model), keep=keep)


def store_vectors(
    catalog: Catalog,
    model: Model,
    extractor: int,
    on_video: Callable[[], None] = lambda: None,
    *,
    keep: bool = False,
) -> None:
    """Makes the vectors that a catalog lacks for a model and stores them, a video at a time.

    keep: the encodings too.

    Raises:
        CatalogError: the catalog cannot be written to.
    """
    key = vectors_key(model)
    for windows in pool_catalog(catalog, model, extractor, keep=keep):
        catalog.save_vectors(key, extractor, windows)
        on_video()
