"""Writes a whole demo archive: the videos, in parallel, and `queries.jsonl` beside them."""

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vmrtool.demo.encode import VideoFile, write_video
from vmrtool.demo.queries import queries_for_archive
from vmrtool.demo.scenes import plan_video
from vmrtool.errors import UsageError
from vmrtool.files import whole

QUERIES = "queries.jsonl"
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class ArchiveSummary:
    """What was written: the folder, its videos in order, how many queries, different events."""

    directory: Path
    videos: tuple[VideoFile, ...]
    queries: int
    temporal_queries: int
    events: int

    @property
    def seconds_of_video(self) -> float:
        """Length of all videos together."""
        return sum(video.duration_s for video in self.videos)


def render_archive(
    directory: str | Path,
    videos: int,
    seed: int,
    jobs: int | None = None,
    on_video: Callable[[VideoFile], None] | None = None,
    *,
    rounds: int = 1,
) -> ArchiveSummary:
    """Render `videos` videos and their queries into `directory`, which is made if need be.

    `rounds` asks so many times, each in other words; for training. The result depends on `videos`,
    `seed` and `rounds` alone, not on `jobs` (processes; by default one a
    core). `on_video` is called in this process for each video as it is done. With more than one
    job the calling script needs the usual `if __name__ == "__main__":` guard.
    """
    directory = Path(directory)
    _check(directory, videos, seed, jobs, rounds)
    directory.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jobs = min(jobs or cores or 1, videos)
    tell = on_video or (lambda video: None)
    work = partial(_render_one, directory, seed)
    done: dict[int, VideoFile] = {}
    if jobs == 1:
        for index in range(videos):
            done[index] = work(index)
            tell(done[index])
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            futures = {pool.submit(work, index): index for index in range(videos)}
            try:
                for future in as_completed(futures):
                    done[futures[future]] = future.result()
                    tell(done[futures[future]])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    files = tuple(done[index] for index in range(videos))
    rows = _rows(seed, files, rounds)
    _write_rows(directory / QUERIES, rows)
    names = [row["event"] for row in rows]
    plain = [name for name in names if " after " not in name and " before " not in name]
    return ArchiveSummary(directory, files, len(rows), len(rows) - len(plain), len(set(plain)))


def _check(directory: Path, videos: int, seed: int, jobs: int | None, rounds: int) -> None:
    if videos < 1:
        raise UsageError(f"cannot render {videos} videos", remedy="Ask for at least one.")
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"seed {seed} is out of range", remedy=f"Choose 0 to {LARGEST_SEED}.")
    if jobs is not None and jobs < 1:
        raise UsageError(f"cannot work with {jobs} jobs", remedy="Ask for at least one.")
    if rounds < 1:
        raise UsageError(f"cannot ask in {rounds} rounds", remedy="Ask for at least one.")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", remedy="Name another place.")
    queries = directory / QUERIES
    if queries.exists() and f'"vid": "blocks-s{seed}-' not in _first_line(queries):
        raise UsageError(
            f"{queries} belongs to something else",
            remedy="Render into another directory, or delete that file first.",
        )


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline()


def _render_one(directory: Path, seed: int, index: int) -> VideoFile:
    return write_video(plan_video(seed, index), directory)


def _rows(seed: int, files: tuple[VideoFile, ...], rounds: int) -> list[dict[str, Any]]:
    """The lines of `queries.jsonl`, times in seconds to the millisecond."""
    scenes = [plan_video(seed, index) for index in range(len(files))]
    rows: list[dict[str, Any]] = []
    for file, queries in zip(files, queries_for_archive(seed, scenes, rounds), strict=True):
        for query in queries:
            rows.append(
                {
                    "qid": len(rows),
                    "vid": query.vid,
                    "video": file.name,
                    "query": query.text,
                    "event": query.event,
                    "relevant_windows": [
                        [round(start, 3), round(end, 3)] for start, end in query.windows
                    ],
                    "duration": round(file.duration_s, 3),
                }
            )
    return rows


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with whole(path) as place:
        place.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
