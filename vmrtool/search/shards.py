"""Several catalogs in one search: a searcher each, asked side by side, and one ranking."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import overload

import torch

from vmrtool.config import find_catalog
from vmrtool.errors import ModelError, UsageError
from vmrtool.grounding.checkpoint import GroundingModel, load_model
from vmrtool.search.cache import Wish
from vmrtool.search.curves import Evidence
from vmrtool.search.engine import OnIndex, OnVectors, Opened, Searcher, open_catalog
from vmrtool.search.query import query_words
from vmrtool.search.result import Moment, SearchResult


@overload
def open_archive(
    catalog: str | Path | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    *,
    index_factory: str | None = None,
    nprobe: int | None = None,
    keep_encoded: bool | None = None,
    on_vectors: OnVectors = ...,
    on_index: OnIndex = ...,
) -> Searcher: ...
@overload
def open_archive(
    catalog: Sequence[str | Path],
    model: str | Path | None = None,
    device: str = "auto",
    *,
    index_factory: str | None = None,
    nprobe: int | None = None,
    keep_encoded: bool | None = None,
    on_vectors: OnVectors = ...,
    on_index: OnIndex = ...,
) -> "Searcher | ShardedSearcher": ...
def open_archive(
    catalog: str | Path | Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    *,
    index_factory: str | None = None,
    nprobe: int | None = None,
    keep_encoded: bool | None = None,
    on_vectors: OnVectors = lambda done, total: None,
    on_index: OnIndex = lambda step: None,
) -> "Searcher | ShardedSearcher":
    """Opens one catalog or several to be searched; public as `vmrtool.open`.

    Videos indexed since the last search have their vectors made now, once for each model.

    Args:
        catalog: its file; several are searched as one archive; None for $VMRTOOL_CATALOG or the
            nearest vmrtool.db.
        model: a model's name, run folder or file; None for the catalogs' own.
        device: "auto", "cpu", "cuda" or "cuda:N".
        index_factory: the index that makes the shortlist, as FAISS writes it, for example
            "IVF4096,SQ8"; None chooses for each catalog by the number of its vectors.
        nprobe: into how many of an IVF index's lists a query looks; None for an eighth.
        keep_encoded: whether windows are kept as the network reads them before it is asked, which
            a query then need not wait for; remembered by the catalog; None for what it remembers.
        on_vectors: is told how many of how many videos have their vectors made, catalog by catalog.
        on_index: is told, in words, when an index is made that takes long.

    Raises:
        MissingError: no catalog, no such model.
        CatalogError: not a catalog, or a newer one.
        ModelError: not a model, one that does not fit a catalog's features, or the catalogs have
            different models.
        UsageError: no such device or index, or a catalog is named twice.
    """
    ref = None if model is None else str(model)
    wish = Wish(index_factory, nprobe, say=on_index)
    if catalog is None or isinstance(catalog, (str, Path)):
        catalog = () if catalog is None else (catalog,)
    paths = [find_catalog(Path(each)) for each in catalog] or [find_catalog()]
    if len(paths) == 1:
        return open_catalog(paths[0], ref, device, on_vectors, wish=wish, keep_encoded=keep_encoded)
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("a catalog is named twice", remedy="Name each catalog once.")
    load = _sharing()
    with ExitStack() as opened:
        searchers = [
            opened.enter_context(
                open_catalog(path, ref, device, on_vectors, load, wish, keep_encoded=keep_encoded)
            )
            for path in paths
        ]
        archive = ShardedSearcher(searchers)
        opened.pop_all()
    return archive


def _sharing() -> Callable[[Path, torch.device], GroundingModel]:
    """Reads each model's file once, for all searchers."""
    read: dict[tuple[Path, torch.device], GroundingModel] = {}

    def load(path: Path, device: torch.device) -> GroundingModel:
        key = path.resolve(), device
        if key not in read:
            read[key] = load_model(path, device)
        return read[key]

    return load


class ShardedSearcher(Opened):
    """Several catalogs asked as one; used as a `Searcher` is.

    It answers as a searcher over their merger would: the shortlist is that of all videos together,
    and only what is on it is looked into. A file that several catalogs know is searched as the one
    knows it that saw its latest change, else as the first does.
    """

    def __init__(self, searchers: Sequence[Searcher]) -> None:
        """Takes open searchers, which are closed with this; `open_archive` is the way in.

        Raises:
            ModelError: they answer with different models, whose scores cannot be compared.
        """
        self._searchers = list(searchers)
        self._pool = ThreadPoolExecutor(min(len(searchers), os.cpu_count() or 1))
        self._join()

    def close(self) -> None:
        """Closes the catalogs."""
        self._pool.shutdown()
        with ExitStack() as closing:
            for searcher in self._searchers:
                closing.callback(searcher.close)

    def refresh(self) -> None:
        """Reads the catalogs again.

        Raises:
            VmrtoolError: as `open_archive`.
        """
        for searcher in self._searchers:
            searcher.refresh()
        self._join()

    def _join(self) -> None:
        """Sees to it that there is one model, and each file once."""
        first, *others = sorted(self._searchers, key=lambda s: s.model_sha256 is None)
        for other in others:
            if other.model_sha256 not in (None, first.model_sha256):
                raise ModelError(
                    f"{first.catalog} answers with model {first.model}, {other.catalog} with "
                    f"{other.model}: their scores cannot be compared",
                    remedy="Name one for all with --model.",
                )
        self.model = first.model
        self.notes = tuple(f"{s.catalog}: {note}" for s in self._searchers for note in s.notes)
        told = [f"{s.catalog.name}: {s.index}" for s in self._searchers if s.index]
        self.index = "; ".join(told)
        newest: dict[Path, tuple[int, Searcher]] = {}
        for searcher in self._searchers:
            for row in searcher.videos:
                known = newest.get(row.path)
                if known is None or row.mtime_ns > known[0]:
                    newest[row.path] = row.mtime_ns, searcher
        for searcher in self._searchers:
            searcher.leave_out(
                {row.path for row in searcher.videos if newest[row.path][1] is not searcher}
            )

    def ground(self, video: str | Path, query: str, top: int = 5) -> SearchResult:
        """Finds the moments of one video; see `Searcher.ground`."""
        refused: UsageError | None = None
        for searcher in self._searchers:
            try:
                return searcher.ground(video, query, top)
            except UsageError as error:
                refused = refused or error
        assert refused is not None  # there is at least one catalog
        raise refused

    def evidence(self, moment: Moment, query: str) -> Evidence | None:
        """What the network says of a found moment's whole video; see `Searcher.evidence`."""
        told = (searcher.evidence(moment, query) for searcher in self._searchers)
        return next((evidence for evidence in told if evidence is not None), None)

    def search_many(
        self,
        queries: Sequence[str],
        top: int = 10,
        shortlist: int = 50,
        windows_per_video: int = 4,
        per_video: int = 3,
        video: str | None = None,
        since: str | None = None,
        duration: str | None = None,
    ) -> list[SearchResult]:
        """Answers several queries in one go, each as `search` would, to the last bit.

        Every catalog is asked for all its shortlists at once, and then looked into once.
        """
        began = time.perf_counter()
        for query in queries:
            query_words(query)
        limits = (video, since, duration)
        shortlists = list(
            self._pool.map(
                lambda searcher: searcher.shortlists(queries, max(1, shortlist), *limits),
                self._searchers,
            )
        )
        among = []
        for lists in zip(*shortlists, strict=True):
            best: dict[str, float] = {}
            for content, cosine in (pair for pairs in lists for pair in pairs):
                best[content] = max(cosine, best.get(content, cosine))
            ranked = sorted(best, key=lambda content: (-best[content], content))
            among.append(set(ranked[: max(0, shortlist)]))
        # One after another: each keeps the device busy by itself.
        answers = [
            searcher.search_many(
                *(queries, top, shortlist, windows_per_video, per_video, *limits), among=among
            )
            for searcher in self._searchers
        ]
        share = (time.perf_counter() - began) * 1000.0 / max(1, len(queries))
        return [self._together(parts, top, share) for parts in zip(*answers, strict=True)]

    def _together(self, parts: Sequence[SearchResult], top: int, elapsed_ms: float) -> SearchResult:
        """One answer of those of all catalogs."""
        found = [moment for part in parts for moment in part.moments]
        found.sort(key=lambda moment: (-moment.score, os.fsencode(moment.path), moment.start))
        searched = sum(part.videos_searched for part in parts)
        told = [part for part in parts if part.videos_searched or not searched]
        return replace(
            parts[0],
            model=self.model,
            catalogs=tuple(part.catalog for part in parts),
            videos_searched=searched,
            shortlisted=sum(part.shortlisted for part in parts),
            windows_grounded=sum(part.windows_grounded for part in parts),
            elapsed_ms=elapsed_ms,
            moments=tuple(
                replace(moment, rank=rank) for rank, moment in enumerate(found[:top], start=1)
            ),
            zero_shot=any(part.zero_shot for part in parts),
            unknown_words=tuple(dict.fromkeys(word for p in told for word in p.unknown_words)),
            notes=tuple(dict.fromkeys(note for part in told for note in part.notes)),
        )
