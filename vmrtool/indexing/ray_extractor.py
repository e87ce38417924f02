"""Extraction on a Ray cluster: a task a video, on workers that each hold the backbone.

The caller stays the only one that writes to the catalog. It hands out as many videos as there are
workers to take them, so that no more features are ever on their way back than that.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from vmrtool.errors import MediaError, MissingError, UsageError, VmrtoolError
from vmrtool.indexing.source import Extracted, ExtractorSource, FeatureExtractor
from vmrtool.media.stores import LocalFile

if TYPE_CHECKING:
    import torch

_TRIES = 3  # workers that may be lost over one video
_STORE_BYTES = 256 << 20  # of a Ray that is started here; features of an hour are some 10 MB


class MovableExtractor(FeatureExtractor, Protocol):
    """An extractor that can be sent to another process and compute there."""

    def on(self, device: "torch.device") -> "MovableExtractor":
        """The same extractor on another device."""
        ...


@dataclass(frozen=True)
class _Job:
    path: Path
    lost: int = 0  # workers lost while at it


@dataclass
class _Seat:
    """A worker, and what it is at."""

    worker: Any
    jobs: dict[Any, _Job] = field(default_factory=dict)


class _Worker:
    """Holds an extractor on its device; runs in a process of Ray's."""

    def __init__(self, extractor: MovableExtractor, threads: int, gpu: bool) -> None:
        import torch

        # Other numbers of threads give other last bits.
        torch.set_num_threads(threads)
        self._extractor = extractor.on(torch.device("cuda", 0)) if gpu else extractor

    def extract(self, path: Path) -> tuple[str, Any]:
        """What became of a video: ("done", features), ("failed", …) or ("error", …).

        Errors come back as plain values, since not all can be pickled.
        """
        with LocalFile(path) as local:
            try:
                results = self._extractor.extract_many([local.path], workers=1)
                with closing(cast(Any, results)):
                    ((_, outcome),) = results
            except MediaError as error:
                outcome = error
            except VmrtoolError as error:
                return "error", (type(error), str(error), error.remedy)
            except Exception as error:  # whatever it is, it is this video's alone
                return "failed", (f"{path}: {type(error).__name__}: {error}", "decode", None)
            if isinstance(outcome, MediaError):
                outcome = local.named(outcome)
                return "failed", (str(outcome), outcome.stage, outcome.remedy)
            return "done", outcome


class RayExtractor:
    """Makes features as the extractor it is given does, on the workers of a Ray cluster.

    There is a worker for each GPU of the cluster, or, where it has none or `gpus` is false, one for
    as many processors as this process computes with threads: the features are then the same to the
    last bit as would be made here.

    Args:
        extractor: is sent to each worker once.
        address: of the cluster, as `ray.init` takes it; "local" starts one on this machine; ""
            is what $RAY_ADDRESS names, else "local".
        gpus: whether GPUs are to be used where there are any.

    Raises:
        MissingError: Ray is not installed.
    """

    def __init__(self, extractor: MovableExtractor, address: str = "", *, gpus: bool = True):
        require_ray()
        self._extractor = extractor
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._gpus = gpus

    def extract_many(
        self,
        paths: Iterable[Path],
        *,
        workers: int,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Path, Extracted | MediaError]]:
        """Features of each video, or its error, in order of completion.

        A video whose worker is lost is given to another one; three lost workers are its failure.

        Args:
            paths: read as they are needed.
            workers: videos that one GPU works on side by side; a processor's worker takes one.
            on_progress: told the length of each video that is done.

        Raises:
            UsageError: there is no cluster at the address.
            VmrtoolError: what the extractor raises.
        """
        import ray

        with _cluster(self._address):
            crew = _Crew(self._extractor, gpus=self._gpus, side_by_side=workers)
            source = iter(paths)
            again: deque[_Job] = deque()
            exhausted = False
            try:
                while True:
                    while (seat := crew.free_seat()) is not None:
                        if again:
                            job = again.popleft()
                        elif exhausted or (path := next(source, None)) is None:
                            exhausted = True
                            break
                        else:
                            job = _Job(path)
                        crew.give(seat, job)
                    if not crew.at_work:
                        return
                    for job, kind, value in crew.results():
                        if kind == "lost":
                            if job.lost + 1 < _TRIES:
                                again.append(_Job(job.path, job.lost + 1))
                                continue
                            value = (
                                f"{job.path}: {_TRIES} workers were lost while they were at it",
                                "decode",
                                "Check the memory of the nodes, then use --retry-failed.",
                            )
                        if kind == "error":
                            error, message, remedy = value
                            raise error(message, remedy=remedy)
                        if kind != "done":
                            message, stage, remedy = value
                            yield job.path, MediaError(message, stage=stage, remedy=remedy)
                            continue
                        if on_progress is not None:
                            on_progress(value.duration_s)
                        yield job.path, value
            finally:
                crew.dismiss(ray)


def on_ray(source: ExtractorSource, address: str, *, gpus: bool) -> ExtractorSource:
    """The same features, made on a Ray cluster; the arguments are those of `RayExtractor`."""
    extractor = RayExtractor(cast(MovableExtractor, source.extractor), address, gpus=gpus)
    return replace(source, extractor=extractor, elsewhere=True)


def require_ray() -> None:
    """Raises MissingError where Ray is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "--ray needs Ray, which is not installed",
            remedy="Install it here and on every node: pip install 'vmrtool[ray]'.",
        ) from error


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Connects to a cluster for the length of a block, or starts one on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Also without a GPU, workers see what there is: they are told which to use.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():  # by whoever uses this as a library
        yield
        return
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    try:
        if address == "local":
            ray.init(
                address="local",
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"no Ray cluster at '{address}': {str(error).splitlines()[0]}",
            remedy="Start one with `ray start --head`, or use --ray local; every node and this "
            "command need the cluster's token, where it has one.",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


class _Crew:
    """The workers of a run: where they are free, what they are at, and new ones for those lost."""

    def __init__(self, extractor: MovableExtractor, *, gpus: bool, side_by_side: int) -> None:
        import ray
        import torch

        resources = ray.cluster_resources()
        self._threads = torch.get_num_threads()
        self._gpu = gpus and resources.get("GPU", 0) >= 1
        if self._gpu:
            count, self._side_by_side = int(resources["GPU"]), side_by_side
            share: dict[str, float] = {"num_gpus": 1}
        else:
            # A node with fewer processors than there are threads still has one worker.
            wanted = min(self._threads, _most_processors())
            count, self._side_by_side = max(1, int(resources.get("CPU", 1)) // wanted), 1
            share = {"num_cpus": wanted}
        self._hire = ray.remote(_Worker).options(max_concurrency=self._side_by_side, **share)
        self._sent = ray.put(extractor.on(torch.device("cpu")))
        self._seats = [_Seat(self._new_worker()) for _ in range(count)]

    @property
    def at_work(self) -> bool:
        return any(seat.jobs for seat in self._seats)

    def free_seat(self) -> _Seat | None:
        """The least busy worker that can take another video."""
        seat = min(self._seats, key=lambda seat: len(seat.jobs))
        return seat if len(seat.jobs) < self._side_by_side else None

    def give(self, seat: _Seat, job: _Job) -> None:
        seat.jobs[seat.worker.extract.remote(job.path)] = job

    def results(self) -> Iterator[tuple[_Job, str, Any]]:
        """Waits for the next video; yields what is done. Kind "lost": its worker is."""
        import ray

        ready, _ = ray.wait([task for seat in self._seats for task in seat.jobs], num_returns=1)
        for task in ready:
            seat = next(seat for seat in self._seats if task in seat.jobs)
            try:
                kind, value = ray.get(task)
            except ray.exceptions.RayError as error:
                if getattr(error, "actor_init_failed", False):
                    raise UsageError(
                        f"a worker cannot start: {str(error).strip().splitlines()[-1]}",
                        remedy="Every node needs the same vmrtool, Python and packages.",
                    ) from error
                lost, seat.jobs = seat.jobs, {}
                ray.kill(seat.worker)
                seat.worker = self._new_worker()
                for job in lost.values():
                    yield job, "lost", None
            else:
                yield seat.jobs.pop(task), kind, value

    def dismiss(self, ray: Any) -> None:
        for seat in self._seats:
            ray.kill(seat.worker)

    def _new_worker(self) -> Any:
        return self._hire.remote(self._sent, self._threads, self._gpu)


def _most_processors() -> int:
    """Processors of the largest node of the cluster."""
    import ray

    return max(1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]))
