"""A made-up archive without videos: features in which events can be seen, in a catalog.

The same as Charades-STA's files, with features in HDF5 and word vectors as text.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets

COLOURS = ("red", "blue", "green", "black")
KINDS = {"moves-left": "goes to the left", "spins": "turns round", "grows": "gets bigger"}
SECONDS = 2 / 3  # a snippet's cell
DIM = 24


@dataclass(frozen=True)
class MadeVideo:
    """Features (N, dim) of a video, and its events: query, name, first snippet, snippets."""

    vid: str
    features: NDArray[np.float16]
    events: list[tuple[str, str, int, int]]


def make_videos(
    *, videos: int, seed: int, shortest: int = 20, longest: int = 60, dim: int = DIM
) -> Iterator[MadeVideo]:
    """Videos that each show three of twelve events, 3 to 9 snippets long.

    A snippet's features are the sum of its event's colour and kind, and noise.
    """
    looks = np.random.default_rng(12).standard_normal((len(COLOURS) + len(KINDS), dim))
    rng = np.random.default_rng(seed)
    for number in range(videos):
        n = int(rng.integers(shortest, longest + 1))
        features = 0.3 * rng.standard_normal((n, dim))
        names = rng.choice(len(COLOURS) * len(KINDS), size=3, replace=False)
        events = []
        for slot, name in enumerate(names):
            colour, kind = divmod(int(name), len(KINDS))
            length = int(rng.integers(3, min(9, n // 3) + 1))
            first = slot * (n // 3) + int(rng.integers(0, n // 3 - length + 1))
            features[first : first + length] += looks[colour] + looks[len(COLOURS) + kind]
            query = f"the {COLOURS[colour]} thing {list(KINDS.values())[kind]}"
            events.append((query, f"{COLOURS[colour]} thing {list(KINDS)[kind]}", first, length))
        yield MadeVideo(f"clip_{seed}_{number:03d}", features.astype(np.float16), events)


def write_archive(
    folder: Path,
    *,
    videos: int,
    seed: int,
    shortest: int = 20,
    longest: int = 60,
    dim: int = DIM,
) -> tuple[Path, Path]:
    """Writes queries.jsonl and vmrtool.db to the folder; returns both paths.

    The catalog's videos need not exist as files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict] = []
    made = make_videos(videos=videos, seed=seed, shortest=shortest, longest=longest, dim=dim)
    with Catalog.create_or_open(folder / "vmrtool.db") as catalog:
        extractor = catalog.extractor_id("synthetic", "0" * 64, {"stride": 16})
        catalog.use_extractor(extractor)
        for number, video in enumerate(made):
            n = len(video.features)
            edges = np.arange(n + 1) * SECONDS
            cells = np.stack([edges[:-1], edges[1:]], axis=1)
            for query, event, first, length in video.events:
                lines.append(
                    {
                        "qid": len(lines),
                        "vid": video.vid,
                        "video": f"{video.vid}.mp4",
                        "query": query,
                        "event": event,
                        "relevant_windows": [[edges[first], edges[first + length]]],
                        "duration": n * SECONDS,
                    }
                )
            path = (folder / f"{video.vid}.mp4").resolve()
            catalog.save_video(
                FoundFile(path, folder.resolve(), size=number + 1, mtime_ns=1),
                f"hash-{video.vid}",
                FileFacts(duration_s=n * SECONDS),
                extractor,
                StoredSnippets(video.features, cells, cells),
            )
    queries = folder / "queries.jsonl"
    queries.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return queries, folder / "vmrtool.db"


def write_charades(folder: Path, *, train: int, test: int, longest: int = 32) -> tuple[Path, Path]:
    """Writes annotation files like Charades-STA's and features.h5; returns folder and file.

    `train` and `test` are numbers of videos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "features.h5", "w") as file:
        file.attrs["snippet_seconds"] = SECONDS
        for split, count, seed in (("train", train, 1), ("test", test, 2)):
            lengths, lines = ["id,length"], []
            for video in make_videos(videos=count, seed=seed, shortest=16, longest=longest):
                file[video.vid] = video.features
                lengths.append(f"{video.vid},{len(video.features) * SECONDS:.4f}")
                for query, _, first, length in video.events:
                    start, end = first * SECONDS, (first + length) * SECONDS
                    lines.append(f"{video.vid} {start:.4f} {end:.4f}##{query}")
            (folder / f"charades_sta_{split}.txt").write_text("\n".join(lines) + "\n")
            (folder / f"Charades_v1_{split}.csv").write_text("\n".join(lengths) + "\n")
    return folder, folder / "features.h5"


def write_glove(path: Path, *, dim: int, more: tuple[str, ...] = ()) -> Path:
    """Writes random word vectors for the words that the queries use, and for `more`."""
    queries = " ".join([*COLOURS, *KINDS.values(), "the thing"])
    draw = np.random.default_rng(3)
    lines = [
        f"{word} " + " ".join(f"{value:.4f}" for value in 0.3 * draw.standard_normal(dim))
        for word in dict.fromkeys([*queries.split(), *more])
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
