"""The searcher: a catalog and a model kept warm, asked one query after another."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch

from vmrtool.catalog import Catalog
from vmrtool.catalog.listing import find_video
from vmrtool.catalog.paths import base64_unless_utf8, display, path_key
from vmrtool.catalog.rows import StoredWindow, VideoRow
from vmrtool.errors import CatalogError, MissingError, UsageError
from vmrtool.features.device import choose_device
from vmrtool.grounding.checkpoint import GroundingModel, load_model
from vmrtool.indexing.choice import DEFAULT_MODEL
from vmrtool.search.archive import Archive, Findings
from vmrtool.search.cache import Wish, open_index
from vmrtool.search.curves import Evidence, snippet_curves
from vmrtool.search.factory import check
from vmrtool.search.filters import VideoFilter, video_filter
from vmrtool.search.fitting import choose_extractor, choose_model
from vmrtool.search.label_model import announcement, open_labels
from vmrtool.search.labels import LabelModel, Model
from vmrtool.search.merging import Candidate
from vmrtool.search.pooling import (
    catalog_loader,
    kept_loader,
    pool_catalog,
    settle_keeping,
    store_vectors,
    vectors_key,
)
from vmrtool.search.query import query_words
from vmrtool.search.result import Moment, SearchResult

OnVectors = Callable[[int, int], None]
"""Is told how many of how many videos have their vectors made."""

OnIndex = Callable[[str], None]
"""Is told, in words, when an index is made that takes long."""


Load = Callable[[Path, torch.device], GroundingModel]
"""Reads a model's file; several searchers may share what it gives."""


def open_catalog(
    path: Path,
    model: str | None,
    device: str,
    on_vectors: OnVectors,
    load: Load = load_model,
    wish: Wish = Wish(),  # noqa: B008 - frozen
    *,
    keep_encoded: bool | None = None,
) -> "Searcher":
    """A searcher over the catalog at `path`; arguments and errors are `open_archive`'s."""
    check(wish.factory, wish.nprobe)
    opened = Catalog.open(path)
    try:
        return Searcher(opened, model, device, on_vectors, load, wish, keep_encoded=keep_encoded)
    except BaseException:
        opened.close()
        raise


class Opened(ABC):
    """What is open to be searched from the start, and closed at the end of a `with` block."""

    def __enter__(self) -> Self:
        """Nothing to do."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes it."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Closes it."""

    @abstractmethod
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
        """Answers several queries in one go, each as `search` would, to the last bit."""

    def search(
        self,
        query: str,
        top: int = 10,
        shortlist: int = 50,
        windows_per_video: int = 4,
        per_video: int = 3,
        video: str | None = None,
        since: str | None = None,
        duration: str | None = None,
    ) -> SearchResult:
        """Finds the moments that a sentence describes, in one ranking over the whole archive.

        The result does not depend on the order in which videos were indexed. Copies of one video
        each have their moments; equal scores are ordered by path, then start. A content that
        several catalogs hold is grounded in each.

        Args:
            query: the sentence.
            top: most moments in all.
            shortlist: how many videos to look into: those with the stretches most like the query.
            windows_per_video: into how many windows of each.
            per_video: most moments of one video.
            video: look only into videos whose path, path below the indexed folder, or name fits
                this glob.
            since: only into those whose files were last changed then or later: ISO 8601, or an age
                such as 7d.
            duration: only into those so long: "MIN-MAX" in seconds, either may be left out.

        Raises:
            UsageError: the query is empty or holds no word, a number is below 1, or since or
                duration cannot be read.
        """
        (result,) = self.search_many(
            [query], top, shortlist, windows_per_video, per_video, video, since, duration
        )
        return result


class Searcher(Opened):
    """An archive to be asked; use it as a context manager, or close it.

    It knows the catalog as it was when opened; `refresh` reads it anew. `model` is the name of the
    model that answers, `notes` what the user should know of the archive, in sentences, `index`
    which index makes the shortlist and why, in words.
    """

    def __init__(
        self,
        catalog: Catalog,
        model: str | None,
        device: str,
        on_vectors: OnVectors,
        load: Load = load_model,
        wish: Wish = Wish(),  # noqa: B008 - frozen
        *,
        keep_encoded: bool | None = None,
    ) -> None:
        """Takes an open catalog, which is closed with this; `open_archive` is the way in."""
        self._catalog = catalog
        self._wanted = model
        self._device, _ = choose_device(device)
        self._on_vectors = on_vectors
        self._load = load
        self._keeps = settle_keeping(catalog, keep_encoded)
        gpu = (self._device.index or 0) if self._device.type == "cuda" else None
        self._wish = replace(wish, gpu=gpu)
        self.refresh()

    def close(self) -> None:
        """Closes the catalog."""
        self._catalog.close()

    def refresh(self) -> None:
        """Reads the catalog again: after videos were indexed, or another model put in use.

        Raises:
            VmrtoolError: as `open_archive`.
        """
        self.notes: tuple[str, ...] = ()
        self.index = ""
        self._loaded: tuple[Model, Archive] | None = None
        self._videos: dict[str, list[VideoRow]] = {}
        rows = [row for row in self._catalog.videos() if row.state != "missing"]
        ref = self._wanted or self._catalog.model or DEFAULT_MODEL
        try:
            chosen = choose_model(self._catalog, self._wanted)
            self.model = chosen.name
        except MissingError:
            # Where there are no videos, any model will do, even one that is not here.
            if rows or self._wanted is not None:
                raise
            self.model = ref
        if not rows:
            self.notes = ("The catalog holds no videos yet. Add some: vmrtool index DIR",)
            return
        model: Model
        if chosen.zero_shot:
            model = open_labels(chosen, self._catalog)
            self.notes += (announcement(model),)
        else:
            model = self._load(chosen.require_checkpoint(), self._device)
        extractor = choose_extractor(self._catalog, model, ref)
        keep = self._keeps and isinstance(model, GroundingModel)
        opened = open_index(
            self._catalog,
            vectors_key(model),
            extractor,
            model.config.retrieval_dim,
            {row.content_hash for row in rows if row.content_hash is not None},
            self._make_vectors(model, extractor.id, keep),
            self._wish,
        )
        self.index = opened.choice
        self.notes += opened.notes
        contents = set(opened.table.contents)
        for row in rows:
            if row.content_hash in contents:
                self._videos.setdefault(row.content_hash, []).append(row)
        load = (kept_loader if keep else catalog_loader)(self._catalog, extractor.id, model)
        self._loaded = (model, Archive(opened.table, opened.index, load))
        self._extractor = extractor.id
        self._note_unsearched(rows, ref)

    def _make_vectors(self, model: Model, extractor: int, keep: bool) -> list[StoredWindow]:
        """Makes the vectors that the catalog lacks; returns those that it cannot store.

        keep: makes and stores encodings as well.
        """
        key = vectors_key(model)
        lacking = len(self._catalog.without_vectors(key, extractor, with_encodings=keep))
        unstored: list[StoredWindow] = []
        if lacking:
            done = 0

            def count() -> None:
                nonlocal done
                done += 1
                self._on_vectors(done, lacking)

            self._on_vectors(0, lacking)
            try:
                with Catalog.open(self._catalog.path, readonly=False) as writer:
                    store_vectors(writer, model, extractor, count, keep=keep)
            except CatalogError as error:
                bare = len(self._catalog.without_vectors(key, extractor))
                what = f"vectors of {bare}" if bare else f"encodings of {lacking}"
                self.notes += (
                    f"The {what} videos cannot be kept and are made at every search ({error}).",
                )
                for windows in pool_catalog(self._catalog, model, extractor):
                    unstored += windows
                    count()
        return unstored

    def _note_unsearched(self, rows: list[VideoRow], ref: str) -> None:
        """Says so where videos that did not fail have no features for the model."""
        left_out = [
            row for row in rows if row.state != "failed" and row.content_hash not in self._videos
        ]
        if left_out:
            self.notes += (
                f"{len(left_out)} of {len(rows)} videos are not searched: they have no features "
                f"for this model. Make them: vmrtool index DIR --model {ref}",
            )
        elif not self._videos:
            self.notes += (
                "None of the catalog's videos could be indexed: vmrtool catalog failures says why.",
            )

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
        *,
        among: Sequence[Collection[str]] | None = None,
    ) -> list[SearchResult]:
        """Answers several queries in one go, each as `search` would, to the last bit.

        Arguments and what is raised are those of `search`. `elapsed_ms` is the mean of all. `among`
        has for each query the contents to look into, in place of a shortlist; they need not be in
        this archive.
        """
        wanted = video_filter(video, since, duration)
        chosen = self._chosen(wanted)
        notes = [f"No video fits {wanted}."] if self._videos and not chosen else []
        only = None
        if self._loaded is not None and len(chosen) < len(self._loaded[1].contents):
            only = set(chosen)
        if self._loaded is not None and self._loaded[1].on_gpu and only and wanted != VideoFilter():
            notes.append(
                "The shortlist is made on the processor: FAISS's GPU indexes cannot leave "
                "videos out."
            )
        return self._answers(
            queries, chosen, only, notes, top, shortlist, windows_per_video, per_video, among
        )

    def ground(self, video: str | Path, query: str, top: int = 5) -> SearchResult:
        """Finds the moments of one video that a sentence describes; all of it is looked at.

        Args:
            video: its path, its path below the indexed folder, or its name if that is unique.
            query: the sentence.
            top: most moments.

        Raises:
            UsageError: there is no such video, or nothing of it to be searched; the query is empty
                or holds no word; top is below 1.
        """
        row = find_video(self._catalog, Path(video))
        content = row.content_hash
        if content is None or row.path not in {r.path for r in self._videos.get(content, ())}:
            raise UsageError(
                f"{row.path}: has no features to be searched by model {self.model}",
                remedy=f"See why: vmrtool catalog show '{display(row.key)}'",
            )
        (result,) = self._answers(
            [query], {content: [row]}, {content}, [], top, 1, sys.maxsize, top
        )
        return result

    def _answers(
        self,
        queries: Sequence[str],
        chosen: dict[str, list[VideoRow]],
        only: set[str] | None,
        notes: list[str],
        top: int,
        shortlist: int,
        windows_per_video: int,
        per_video: int,
        among: Sequence[Collection[str]] | None = None,
    ) -> list[SearchResult]:
        """Answers over the chosen videos, of whose contents those of `only` are looked into."""
        began = time.perf_counter()
        words = [query_words(query) for query in queries]
        for name, value in (
            ("top", top),
            ("shortlist", shortlist),
            ("windows_per_video", windows_per_video),
            ("per_video", per_video),
        ):
            if value < 1:
                raise UsageError(f"{name} is {value}; it must be at least 1")
        every = [Findings({}, 0) for _ in queries]
        if self._loaded is not None and chosen:
            model, archive = self._loaded
            every = archive.find_many(
                model,
                queries,
                shortlist=shortlist,
                windows_per_video=windows_per_video,
                per_video=per_video,
                only=only,
                among=among,
            )
        results = [
            self._result(query, heard, findings, chosen, top, notes)
            for query, heard, findings in zip(queries, words, every, strict=True)
        ]
        share = (time.perf_counter() - began) * 1000.0 / max(1, len(queries))
        return [replace(result, elapsed_ms=share) for result in results]

    def _result(
        self,
        query: str,
        words: list[str],
        findings: Findings,
        chosen: dict[str, list[VideoRow]],
        top: int,
        notes: list[str],
    ) -> SearchResult:
        """A query's findings, ranked over all videos, with what there is to say of its words."""
        notes, unknown = list(notes), []
        if self._loaded is not None and chosen:
            model, _ = self._loaded
            unknown = model.unknown_words(words)
            if len(words) > model.config.max_words:
                notes.append(f"Only the first {model.config.max_words} words of the query count.")
            if isinstance(model, LabelModel) and (far := model.note(query)) is not None:
                notes.append(far)
        found = [
            (candidate, row)
            for content, candidates in findings.moments.items()
            for candidate in candidates
            for row in chosen[content]
        ]
        found.sort(key=lambda pair: (-pair[0].score, pair[1].key, pair[0].start))
        return SearchResult(
            query=query,
            model=self.model,
            catalog=display(path_key(self._catalog.path)),
            videos_searched=sum(map(len, chosen.values())),
            shortlisted=sum(len(chosen[content]) for content in findings.moments),
            windows_grounded=findings.windows_grounded,
            elapsed_ms=0.0,
            moments=tuple(_moment(rank, *pair) for rank, pair in enumerate(found[:top], start=1)),
            unknown_words=tuple(unknown),
            notes=tuple(notes),
            zero_shot=self._loaded is not None and isinstance(self._loaded[0], LabelModel),
        )

    def evidence(self, moment: Moment, query: str) -> Evidence | None:
        """What the network says of a found moment's whole video; None where that is not searched.

        Raises:
            CatalogError: the video's features are gone from the catalog.
        """
        for content, rows in self._videos.items():
            row = next((row for row in rows if row.path == moment.path), None)
            if row is None or self._loaded is None:
                continue
            n = self._catalog.snippet_count(content, self._extractor)
            model, curves = self._loaded[0], None
            stored = catalog_loader(self._catalog, self._extractor, model)(content, 0, n)
            if isinstance(model, GroundingModel):
                curves = snippet_curves(model, stored.features, stored.cells, query)
            return Evidence(row.duration_s or float(stored.cells[-1, 1]), curves)
        return None

    # For one search over several catalogs -----------------------------------------------------

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        return self._catalog.path

    @property
    def model_sha256(self) -> str | None:
        """The SHA-256 of the model's file; None where there are no videos to ask it about."""
        return None if self._loaded is None else self._loaded[0].sha256

    @property
    def videos(self) -> list[VideoRow]:
        """The videos that are searched."""
        return [row for rows in self._videos.values() for row in rows]

    def leave_out(self, paths: Collection[Path]) -> None:
        """Does not search these videos, until the next `refresh`."""
        kept = {
            content: [row for row in rows if row.path not in paths]
            for content, rows in self._videos.items()
        }
        self._videos = {content: rows for content, rows in kept.items() if rows}

    def shortlists(
        self,
        queries: Sequence[str],
        shortlist: int,
        video: str | None = None,
        since: str | None = None,
        duration: str | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The contents that `search_many` would look into, best first, with their cosines."""
        if self._loaded is None:
            return [[] for _ in queries]
        model, archive = self._loaded
        chosen = self._chosen(video_filter(video, since, duration))
        only = None if len(chosen) == len(archive.contents) else set(chosen)
        return archive.shortlists(model, queries, shortlist, only)

    def _chosen(self, wanted: VideoFilter) -> dict[str, list[VideoRow]]:
        """The videos that fit, by content."""
        return {
            content: rows
            for content, all_rows in self._videos.items()
            if (rows := [row for row in all_rows if wanted.fits(row)])
        }


def _moment(rank: int, candidate: Candidate, row: VideoRow) -> Moment:
    return Moment(
        rank=rank,
        video=display(row.key),
        start=candidate.start,
        end=candidate.end,
        score=candidate.score,
        similarity=candidate.similarity,
        grounding=candidate.grounding,
        video_b64=base64_unless_utf8(row.path),
    )
