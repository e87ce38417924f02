"""One run of `index` over the videos it has seen: what becomes of each, committed one by one."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from vmrtool.addresses import Address
from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FailureRow, FileFacts, FoundFile, StoredSnippets, VideoRow
from vmrtool.errors import MediaError
from vmrtool.indexing.claims import Claims
from vmrtool.indexing.discovery import as_found
from vmrtool.indexing.hashing import content_hash
from vmrtool.indexing.report import Decoded, Event, Noted, Opened, Outcome, Settled, Started
from vmrtool.indexing.source import Extracted, ExtractorSource
from vmrtool.media.probe import MediaInfo, probe
from vmrtool.media.stores import LocalFile
from vmrtool.media.watch import STALL_S

_POLL_S = 0.5

_Files = list[FoundFile]
_Known = list[tuple[FoundFile, FailureRow | None]]


@dataclass
class _Job:
    """A video on its way through the extractor, and others of the same content that wait for it.

    `local` is the file that is decoded; the extractor gets it as `path`.
    """

    file: FoundFile
    content: str
    facts: FileFacts
    local: LocalFile
    path: Path
    twins: list[FoundFile] = field(default_factory=list)


class Run:
    """The state of one run: what is on its way, and the count of what has been settled.

    Two threads may be at work: the extractor's, which draws videos and thereby settles those that
    need no decoding, and the caller's, which commits what has been extracted.
    """

    def __init__(
        self,
        catalog: Catalog,
        claims: Claims,
        source: ExtractorSource,
        *,
        workers: int,
        on_event: Callable[[Event], None],
        timeout_s: float | None = None,
    ) -> None:
        """Nothing is read or written before `work`."""
        self.count: Counter[Outcome] = Counter()
        self.failed: list[FailureRow] = []
        self.seconds = 0.0
        self._catalog = catalog
        self._claims = claims
        self._source = source
        self._workers = workers
        self._tell = on_event
        self._timeout_s = timeout_s or STALL_S
        self._extractor = catalog.extractor_id(
            source.backbone, source.weights_sha256, source.settings
        )
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}  # by content
        self._by_path: dict[Path, _Job] = {}
        # Rows whose files have changed, by id: what they say of content is no longer so.
        self._outdated: dict[int, VideoRow] = {}

    def work(self, videos: Sequence[FoundFile], *, retry_failed: bool) -> None:
        """Settle every one of `videos`."""
        in_use = self._catalog.extractor
        if in_use is None or in_use.id != self._extractor:
            self._catalog.use_extractor(self._extractor)
        self._catalog.remember(**self._source.remember)
        todo, known = self._sort(videos, retry_failed)
        for _, failure in known:
            self._count("failed" if failure else "unchanged", failure)
        self._tell(
            Started(
                videos=len(videos),
                unchanged=self.count["unchanged"],
                failed=self.count["failed"],
                todo_bytes=sum(file.size for file in todo),
            )
        )
        while todo:
            busy: list[tuple[FoundFile, str]] = []
            results = self._source.extractor.extract_many(
                self._draw(todo, busy), workers=self._workers, on_progress=self._progress
            )
            # Its threads, which draw videos and use the catalog, must end before the catalog does.
            with closing(cast("Generator[Any, None, None]", results)):
                for path, outcome in results:
                    self._commit(self._by_path[path], outcome)
            if not busy:
                return
            self._wait(busy)
            # What the other run has done with in the meantime counts as it left it.
            todo, known = self._sort([file for file, _ in busy], retry_failed=False)
            for file, failure in known:
                self._settle(file, "failed" if failure else "unchanged", failure)

    # What needs no extractor ----------------------------------------------------------------

    def _sort(self, videos: Sequence[FoundFile], retry_failed: bool) -> tuple[_Files, _Known]:
        """Parts the videos into those to do, and those that the catalog knows as they are."""
        rows = {row.path: row for row in self._catalog.videos()}
        standing = {row.path: row for row in self._catalog.failures()}
        todo: _Files = []
        known: _Known = []
        for file in videos:
            row = rows.get(file.path)
            if row is not None and not _same_stamp(file, row):
                self._outdated[row.id] = row
                todo.append(file)
            elif row is not None and row.state == "indexed":
                known.append((file, None))
            elif file.path in standing and not retry_failed:
                known.append((file, standing[file.path]))
            else:
                todo.append(file)
        return todo, known

    def _draw(self, todo: Sequence[FoundFile], busy: list[tuple[FoundFile, str]]) -> Iterator[Path]:
        """Videos for the extractor, one by one; what turns out to need none is settled on the way.

        Those that another run is at are put on `busy`.
        """
        for file in todo:
            job = self._prepare(file, busy)
            if job is not None:
                self._tell(Opened(file.path, file.size, job.facts.duration_s))
                yield job.path

    def _prepare(self, file: FoundFile, busy: list[tuple[FoundFile, str]]) -> _Job | None:
        with ExitStack() as opened:
            local = opened.enter_context(LocalFile(file.path))
            job = self._prepare_local(file, local, busy)
            if job is not None and job.path != file.path:
                opened.pop_all()  # it is closed when the job is done
        return job

    def _prepare_local(
        self, file: FoundFile, local: LocalFile, busy: list[tuple[FoundFile, str]]
    ) -> _Job | None:
        row = self._catalog.video(file.path)
        try:
            content = self._content(file, local, row)
        except MediaError as error:
            self._fail([file], None, FileFacts(), error)
            return None
        with self._lock:
            if content in self._jobs:
                self._jobs[content].twins.append(file)
                return None
        if not self._claims.take(content):
            busy.append((file, content))
            return None
        # Asked only now: another run may have been at it until a moment ago.
        if self._catalog.has_features(content, self._extractor):
            self._adopt(file, local, content)
            self._claims.release(content)
            return None
        try:
            facts = _claimed_facts(local, self._timeout_s)
        except MediaError as error:
            self._fail([file], content, FileFacts(), error)
            self._claims.release(content)
            return None
        path = file.path if self._source.elsewhere else local.path
        job = _Job(file, content, facts, local, path)
        with self._lock:
            self._jobs[content] = self._by_path[path] = job
        return job

    def _content(self, file: FoundFile, local: LocalFile, row: VideoRow | None) -> str:
        """The content's hash, taken from the catalog where the file has not changed since."""
        if row is not None and row.content_hash is not None and _same_stamp(file, row):
            return row.content_hash
        return content_of(file, local)

    def _adopt(self, file: FoundFile, local: LocalFile, content: str) -> None:
        """Commits a video whose features are here already."""
        # Another run may have written it since it was looked for.
        row = self._catalog.video(file.path)
        same = self._catalog.videos_with(content)
        others = [
            other
            for other in same
            if other.path != file.path
            and other.state != "missing"
            and other.id not in self._outdated
        ]
        outcome: Outcome = "copies" if others else "renamed"
        if row is not None and row.content_hash == content:
            outcome = "unchanged"
        # Where names were swapped, the row that had this content may bear another by now.
        before = [old for old in self._outdated.values() if old.content_hash == content]
        known = [*same, *before]
        facts = known[0].facts if known else _claimed_facts(local, self._timeout_s)
        if self._catalog.save_video(file, content, facts, self._extractor, None):
            outcome = "renamed"
        self._settle(file, outcome)

    def _wait(self, busy: Sequence[tuple[FoundFile, str]]) -> None:
        """Waits until another run is done with one of these. Holds no claims meanwhile."""
        self._tell(Noted(f"another vmrtool is at work on {len(busy)} of these videos; waiting"))
        while True:
            for _, content in busy:
                if self._claims.take(content):
                    self._claims.release(content)
                    return
            time.sleep(_POLL_S)

    # What comes out of the extractor --------------------------------------------------------

    def _progress(self, seconds: float) -> None:
        self._tell(Decoded(seconds))

    def _commit(self, job: _Job, outcome: Extracted | MediaError) -> None:
        if isinstance(outcome, MediaError):
            outcome = job.local.named(outcome)
        job.local.close()
        if not isinstance(outcome, MediaError):
            outcome = checked(job.file, outcome)
        if isinstance(outcome, MediaError):
            self._fail(self._finish(job), job.content, job.facts, outcome)
        else:
            facts = replace(job.facts, duration_s=outcome.duration_s, truncated=outcome.truncated)
            snippets = StoredSnippets(outcome.features, outcome.seen, outcome.cells)
            self._catalog.save_video(job.file, job.content, facts, self._extractor, snippets)
            self.seconds += outcome.duration_s
            self._settle(job.file, "indexed")
            if outcome.truncated is not None:
                self._tell(
                    Noted(f"{job.file.path}: kept as far as it decodes: {outcome.truncated}")
                )
            for twin in self._finish(job)[1:]:
                moved = self._catalog.save_video(twin, job.content, facts, self._extractor, None)
                self._settle(twin, "renamed" if moved else "copies")
        self._claims.release(job.content)

    def _finish(self, job: _Job) -> list[FoundFile]:
        """Takes a job off; returns its file and those that waited for it."""
        with self._lock:
            del self._jobs[job.content], self._by_path[job.path]
            return [job.file, *job.twins]

    def _fail(
        self, files: Sequence[FoundFile], content: str | None, facts: FileFacts, error: MediaError
    ) -> None:
        for file in files:
            failure = self._catalog.set_failure(
                file,
                content,
                facts,
                self._extractor,
                stage=error.stage,
                # The path stands beside the error wherever it is shown.
                error=str(error).removeprefix(f"{file.path}: "),
                remedy=error.remedy,
            )
            self._settle(file, "failed", failure)

    def _settle(self, file: FoundFile, outcome: Outcome, failure: FailureRow | None = None) -> None:
        self._count(outcome, failure)
        self._tell(Settled(file.path, file.size, outcome, failure))

    def _count(self, outcome: Outcome, failure: FailureRow | None) -> None:
        with self._lock:
            self.count[outcome] += 1
            if failure is not None:
                self.failed.append(failure)


def _same_stamp(file: FoundFile, row: VideoRow) -> bool:
    return (file.size, file.mtime_ns) == (row.size, row.mtime_ns)


def _claimed_facts(local: LocalFile, timeout_s: float) -> FileFacts:
    """What the file says of itself, if it takes no longer than so many seconds.

    Raises:
        MediaError: it is not a video.
        StoreError: it is in a store that does not answer.
    """
    info = probed(local, timeout_s)
    return FileFacts(
        duration_s=info.duration_s,
        width=info.width,
        height=info.height,
        rotation=info.rotation,
        fps=info.fps,
        codec=info.codec,
        container=info.container,
    )


def probed(local: LocalFile, timeout_s: float = STALL_S) -> MediaInfo:
    """What the file says of itself, as `probe`; errors name the video, not a copy."""
    path = local.path
    try:
        return probe(path, timeout_s=timeout_s)
    except MediaError as error:
        raise local.named(error) from error


def content_of(file: FoundFile, local: LocalFile) -> str:
    """The hash of a file's content, read from `local`.

    Raises:
        MediaError: it is empty, or cannot be read.
        StoreError: it is in a store that does not answer.
    """
    path = local.path
    if (path.stat().st_size if isinstance(file.path, Address) else file.size) == 0:
        raise MediaError(
            "the file is empty (0 bytes)"
            if path.exists()
            else "no such file: a broken link, or gone",
            stage="open",
            remedy="Copy it again from its source, or leave it out with --exclude.",
        )
    try:
        return content_hash(path)
    except OSError as error:
        raise MediaError(
            f"cannot be read: {error.strerror}",
            stage="open",
            remedy="Check its permissions and the disk, then use --retry-failed.",
        ) from error


def checked(file: FoundFile, extracted: Extracted) -> Extracted | MediaError:
    """What was extracted, or why it must not be kept.

    Raises:
        StoreError: the video is in a store that does not answer.
    """
    now = as_found(file.path, file.root)
    if (now.size, now.mtime_ns) != (file.size, file.mtime_ns):
        return MediaError(
            "the file changed while it was read",
            stage="decode",
            remedy="Run the same command again once it is complete.",
        )
    return extracted
