"""From videos to feature files: what is done is known, the rest is extracted, failures are told."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from vmrtool.catalog.paths import absolute, base64_unless_utf8, display, path_key
from vmrtool.errors import MediaError
from vmrtool.indexing.discovery import discover
from vmrtool.indexing.feature_files import Target, about, extractor_of, files_of, targets
from vmrtool.indexing.report import Decoded, Event, Noted, Opened, Outcome, Settled, Started
from vmrtool.indexing.run import checked, content_of, probed
from vmrtool.indexing.source import ExtractorSource
from vmrtool.media.stores import LocalFile

SCHEMA = "vmrtool.extract/1"


@dataclass(frozen=True)
class FailedVideo:
    """A video without features, and why."""

    path: Path
    stage: str
    error: str
    remedy: str | None


@dataclass(frozen=True)
class ExtractReport:
    """What `extract` did.

    Attributes:
        out: the folder.
        extracted: features written in this run.
        unchanged: features that were there, of this content and extractor.
        failed: videos without features.
        seconds_of_video: length of what was decoded.
        elapsed_s: how long it took.
    """

    out: Path
    extracted: tuple[Target, ...]
    unchanged: tuple[Target, ...]
    failed: tuple[FailedVideo, ...]
    seconds_of_video: float
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """The report as the JSON object `vmrtool.extract/1`."""
        return {
            "schema": SCHEMA,
            "out": display(path_key(self.out)),
            "extracted": len(self.extracted),
            "unchanged": len(self.unchanged),
            "files": [
                {"features": display(path_key(target.path)), **_named("video", target.file.path)}
                for target in sorted((*self.extracted, *self.unchanged), key=_by_path)
            ],
            "failed": [
                {
                    "stage": failure.stage,
                    "error": failure.error,
                    "remedy": failure.remedy,
                    **_named("path", failure.path),
                }
                for failure in self.failed
            ],
            "seconds_of_video": self.seconds_of_video,
            "elapsed_s": self.elapsed_s,
        }


def extract(
    paths: Sequence[Path | str],
    out: Path,
    find_extractor: Callable[[], ExtractorSource],
    *,
    file_format: str = "npy",
    exclude: Sequence[str] = (),
    workers: int = 1,
    on_event: Callable[[Event], None] = lambda event: None,
) -> ExtractReport:
    """Write the features of videos to files, one a video.

    Features that are there already are kept where they say that they are of the same extractor and
    of a file of the same size and time, or else of the same content. Each file is written whole: a
    run that is interrupted leaves what it finished.

    Args:
        paths: folders, searched recursively, and files.
        out: the folder for the features.
        find_extractor: asked once there are videos.
        file_format: "npy" or "hdf5".
        exclude: globs of what to leave out.
        workers: videos decoded at the same time.
        on_event: told what happens, from any thread.

    Raises:
        UsageError: no such folder, file or format; two videos whose features have one name.
        OSError: the features cannot be written.
    """
    started = time.monotonic()
    files_of(file_format)
    found = discover([absolute(path) for path in paths], exclude)
    for note in found.notes:
        on_event(Noted(note))
    for folder in found.unreadable:
        on_event(Noted(f"{folder}: this folder cannot be read"))
    todo = targets(found.videos, absolute(out), file_format)
    run = None
    if todo:
        run = _Run(find_extractor(), file_format, workers, on_event)
        run.work(todo)
    return ExtractReport(
        out=absolute(out),
        extracted=tuple(run.extracted) if run else (),
        unchanged=tuple(run.unchanged) if run else (),
        failed=tuple(sorted(run.failed, key=lambda f: path_key(f.path))) if run else (),
        seconds_of_video=run.seconds if run else 0.0,
        elapsed_s=time.monotonic() - started,
    )


@dataclass(frozen=True)
class _Job:
    """A target that has to be looked at: the content of the features there, if there are any, and
    whether they are of this extractor."""

    target: Target
    before: str | None
    fits: bool


class _Run:
    """One run: what is on its way and what became of the rest."""

    def __init__(
        self,
        source: ExtractorSource,
        file_format: str,
        workers: int,
        on_event: Callable[[Event], None],
    ) -> None:
        self.extracted: list[Target] = []
        self.unchanged: list[Target] = []
        self.failed: list[FailedVideo] = []
        self.seconds = 0.0
        self._source = source
        self._files = files_of(file_format)
        self._workers = workers
        self._tell = on_event
        self._lock = threading.Lock()
        self._on_the_way: dict[Path, tuple[_Job, str, LocalFile]] = {}

    def work(self, todo: Sequence[Target]) -> None:
        """Settle every target."""
        extractor = extractor_of(self._source)
        rest: list[_Job] = []
        for target in todo:
            record = self._files.read(target.path) or {}
            job = _Job(target, record.get("content_hash"), record.get("extractor") == extractor)
            stamp = (record.get("size"), record.get("mtime_ns"))
            if job.fits and stamp == (target.file.size, target.file.mtime_ns):
                self.unchanged.append(target)
            else:
                rest.append(job)
        self._tell(
            Started(
                videos=len(todo),
                unchanged=len(self.unchanged),
                failed=0,
                todo_bytes=sum(job.target.file.size for job in rest),
            )
        )
        results = self._source.extractor.extract_many(
            self._draw(rest), workers=self._workers, on_progress=lambda s: self._tell(Decoded(s))
        )
        with closing(cast("Generator[Any, None, None]", results)):
            for path, outcome in results:
                job, content, local = self._on_the_way.pop(path)
                target = job.target
                if isinstance(outcome, MediaError):
                    outcome = local.named(outcome)
                local.close()
                if not isinstance(outcome, MediaError):
                    outcome = checked(target.file, outcome)
                if isinstance(outcome, MediaError):
                    self._fail(job, content, outcome)
                    continue
                facts = about(target.file, content, self._source, outcome)
                self._files.write(target.path, facts, outcome)
                self.seconds += outcome.duration_s
                self._settle(target, self.extracted, "indexed")
                if outcome.truncated is not None:
                    self._tell(
                        Noted(f"{target.file.path}: kept as far as it decodes: {outcome.truncated}")
                    )

    def _draw(self, rest: Sequence[_Job]) -> Iterator[Path]:
        """Videos for the extractor; those whose content is known are settled on the way."""
        for job in rest:
            file, content, local = job.target.file, None, LocalFile(job.target.file.path)
            try:
                content = content_of(file, local)
                if job.fits and job.before == content:
                    self._settle(job.target, self.unchanged, "unchanged")
                    local.close()
                    continue
                claimed = probed(local).duration_s
            except MediaError as error:
                self._fail(job, content, error)
                local.close()
                continue
            self._on_the_way[local.path] = job, content, local
            self._tell(Opened(file.path, file.size, claimed))
            yield local.path

    def _fail(self, job: _Job, content: str | None, error: MediaError) -> None:
        """Notes a failure. Features of what the file was before do not stay under its name."""
        if content not in (None, job.before):
            self._files.discard(job.target.path)
        file = job.target.file
        reason = str(error).removeprefix(f"{file.path}: ")
        with self._lock:
            self.failed.append(FailedVideo(file.path, error.stage, reason, error.remedy))
        self._tell(Settled(file.path, file.size, "failed"))

    def _settle(self, target: Target, where: list[Target], outcome: Outcome) -> None:
        with self._lock:
            where.append(target)
        self._tell(Settled(target.file.path, target.file.size, outcome))


def _named(field: str, path: Path) -> dict[str, str]:
    """A path as JSON carries it."""
    encoded = base64_unless_utf8(path)
    named = {field: display(path_key(path))}
    return named if encoded is None else {**named, f"{field}_b64": encoded}


def _by_path(target: Target) -> bytes:
    return path_key(target.file.path)
