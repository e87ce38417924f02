"""A made-up archive without videos: features in which events can be seen, in a catalog."""

import json
from pathlib import Path

import numpy as np

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets

COLOURS = ("red", "blue", "green", "black")
KINDS = {"moves-left": "goes to the left", "spins": "turns round", "grows": "gets bigger"}
SECONDS = 2 / 3  # a snippet's cell
DIM = 24


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

    Each video shows three of twelve events, 3 to 9 snippets long. A snippet's features are the
    sum of its event's colour and kind, and noise. The catalog's videos need not exist as files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    looks = np.random.default_rng(12).standard_normal((len(COLOURS) + len(KINDS), dim))
    rng = np.random.default_rng(seed)
    lines = []
    with Catalog.create_or_open(folder / "vmrtool.db") as catalog:
        extractor = catalog.extractor_id("synthetic", "0" * 64, {"stride": 16})
        catalog.use_extractor(extractor)
        for number in range(videos):
            vid = f"clip_{seed}_{number:03d}"
            n = int(rng.integers(shortest, longest + 1))
            features = 0.3 * rng.standard_normal((n, dim))
            edges = np.arange(n + 1) * SECONDS
            cells = np.stack([edges[:-1], edges[1:]], axis=1)
            names = rng.choice(len(COLOURS) * len(KINDS), size=3, replace=False)
            for slot, name in enumerate(names):
                colour, kind = divmod(int(name), len(KINDS))
                length = int(rng.integers(3, min(9, n // 3) + 1))
                first = slot * (n // 3) + int(rng.integers(0, n // 3 - length + 1))
                features[first : first + length] += looks[colour] + looks[len(COLOURS) + kind]
                words = list(KINDS.values())[kind]
                lines.append(
                    {
                        "qid": len(lines),
                        "vid": vid,
                        "video": f"{vid}.mp4",
                        "query": f"the {COLOURS[colour]} thing {words}",
                        "event": f"{COLOURS[colour]} thing {list(KINDS)[kind]}",
                        "relevant_windows": [[edges[first], edges[first + length]]],
                        "duration": n * SECONDS,
                    }
                )
            path = (folder / f"{vid}.mp4").resolve()
            catalog.save_video(
                FoundFile(path, folder.resolve(), size=number + 1, mtime_ns=1),
                f"hash-{vid}",
                FileFacts(duration_s=n * SECONDS),
                extractor,
                StoredSnippets(features.astype(np.float16), cells, cells),
            )
    queries = folder / "queries.jsonl"
    queries.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return queries, folder / "vmrtool.db"
