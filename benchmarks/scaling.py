"""What an archive costs by its size: catalogs are built and searched, up to a million windows.

    python benchmarks/scaling.py --windows 1000 10000 100000 --features 0 [--folder DIR]
    python benchmarks/scaling.py --windows 1000000 --features 0 --pooling 32 [--folder DIR]

For each number of windows a catalog is really built, as `index` and the first search would leave
it: videos of an hour at stride 16 (5,400 snippets, 84 windows), features and vectors made up,
through the catalog's own code. Then its columns are weighed, it is opened as `vmrtool search` opens
it, and asked 20 queries with a network of the default size and random weights. FAISS indexes of the
same vectors are made and asked by themselves. The result is one JSON object a size, on one line.

A million windows at 1024-d are 12,000 hours of video: 130 GB of features. `--features 0` keeps one
snippet only of all videos but those of the first 10,000 windows; such a catalog is opened and its
shortlist is made, but not grounded. A window has 117 vectors by default; a million windows then
take 61 GB on the disk, and here twice that in memory. `--pooling 32` pools stretches of 32 snippets
only: 8 vectors a window, 4.1 GB, and 11 GB of memory.
"""

import argparse
import json
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

import vmrtool
from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets, StoredWindow
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel, load_model, save_model
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.grounding.pooling import LENGTHS, stretches
from vmrtool.search.pooling import vectors_key
from vmrtool.search.windows import tile_windows
from vmrtool.text.vocabulary import Vocabulary

SNIPPETS = 5400  # an hour of video at 24 frames a second and stride 16
CELL_S = 16 / 24
QUERY = "a person opens the door"
QUERIES = 20
SETTINGS = {"stride": 16, "fps": 24}
WITH_FEATURES = 10_000  # windows whose videos have features where --features is 0


def main() -> None:
    """Builds, weighs and asks a catalog of each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--dim", type=int, default=1024, help="width of the features")
    parser.add_argument("--features", type=int, choices=(0, 1), default=1, help="0: of some only")
    parser.add_argument(
        "--pooling", type=int, nargs="+", default=LENGTHS, help="snippets of a stretch"
    )
    parser.add_argument("--folder", type=Path, help="where catalogs are built; else temporary")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    faiss.omp_set_num_threads(chosen.threads)
    folder = Path(tempfile.mkdtemp(dir=chosen.folder))
    try:
        model = write_model(folder / "run", chosen.dim, tuple(chosen.pooling))
        for windows in sorted(chosen.windows):
            path = folder / f"{windows}.db"
            told = build(path, model, windows, chosen.dim, every=bool(chosen.features))
            told |= {"columns_bytes": weigh(path), "search": search(path, folder / "run")}
            told["peak_memory_mb"] = {"search": peak_memory_mb()}
            told["faiss"] = indexes(path, model)
            told["peak_memory_mb"]["faiss"] = peak_memory_mb()
            asked = {"windows": windows, "threads": chosen.threads, "pooling": model.pooling}
            print(json.dumps({**asked, **told}), flush=True)
            path.unlink()
    finally:
        shutil.rmtree(folder)


def peak_memory_mb() -> int:
    """The most memory that was taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def write_model(folder: Path, dim: int, pooling: tuple[int, ...]) -> GroundingModel:
    """A network of the default size with random weights: what it answers takes as long as any."""
    torch.manual_seed(0)
    words = Vocabulary(QUERY.split())
    network = GroundingNetwork(GroundingConfig(video_dim=dim, vocabulary_size=len(words)))
    spec = ExtractorSpec("made-up", "0" * 64, SETTINGS)
    path = folder / "model.safetensors"
    save_model(path, GroundingModel(network, words, spec, pooling=pooling))
    return load_model(path)


def build(
    path: Path, model: GroundingModel, windows: int, dim: int, *, every: bool
) -> dict[str, Any]:
    """A catalog of at least so many windows."""
    rng = np.random.default_rng(0)
    tiles = tile_windows(SNIPPETS, model.config.max_snippets)
    videos = -(-windows // len(tiles))
    cells = cells_of(SNIPPETS)
    features = rng.standard_normal((SNIPPETS, dim), dtype=np.float32).astype(np.float16)
    stored = StoredSnippets(features, cells, cells)
    spans = {n: stretches(n, model.pooling).numpy().astype(np.int32) for n in {n for _, n in tiles}}
    facts = FileFacts(SNIPPETS * CELL_S, 1920, 1080, 0, 25.0, "h264", "mov,mp4")
    writing = {"features": 0.0, "vectors": 0.0}
    key, full, vectors_each = vectors_key(model), 0, 0
    with Catalog.create_or_open(path) as catalog:
        extractor = catalog.extractor_id("made-up", "0" * 64, SETTINGS)
        catalog.use_extractor(extractor)
        for number in range(videos):
            content = f"{number:064x}"
            file = FoundFile(path.parent / f"{number // 100}/{number}.mp4", path.parent, 1, 1)
            with_features = every or number * len(tiles) < WITH_FEATURES
            full += with_features
            began = time.perf_counter()
            few = stored if with_features else StoredSnippets(features[:1], cells[:1], cells[:1])
            catalog.save_video(file, content, facts, extractor, few)
            writing["features"] += time.perf_counter() - began
            made = []
            for first, n in tiles:
                vectors = rng.standard_normal(
                    (len(spans[n]), model.config.retrieval_dim), dtype=np.float32
                )
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                made.append(StoredWindow(content, first, n, vectors, spans[n]))
            vectors_each = sum(len(window.vectors) for window in made)
            began = time.perf_counter()
            catalog.save_vectors(key, extractor, made)
            writing["vectors"] += time.perf_counter() - began
    return {
        "videos": videos,
        "videos_with_features": full,
        "hours": videos * SNIPPETS * CELL_S / 3600,
        "vectors_a_video": vectors_each,
        "catalog_bytes": path.stat().st_size,
        "write_ms_a_video": {name: 1000 * value / videos for name, value in writing.items()},
    }


def cells_of(n: int) -> NDArray[np.float64]:
    """Cells (n, 2) in seconds."""
    edges = np.arange(n + 1) * CELL_S
    return np.stack([edges[:-1], edges[1:]], axis=1)


def weigh(path: Path) -> dict[str, float]:
    """Bytes of each column that grows with the length of the videos."""
    db = sqlite3.connect(path)
    try:
        columns = (
            *(("features", name) for name in ("data", "seen", "cells")),
            *(("vectors", name) for name in ("data", "spans")),
        )
        sizes = {
            f"{table}.{name}": db.execute(f"SELECT sum(length({name})) FROM {table}").fetchone()[0]
            for table, name in columns
        }
        return sizes
    finally:
        db.close()


def search(path: Path, run: Path) -> dict[str, float | None]:
    """Opening, and the times of a query: all of it, and the shortlist alone."""
    began = time.perf_counter()
    with vmrtool.open(path, model=run, device="cpu") as archive:
        opened = time.perf_counter() - began
        # Only videos with features can be grounded; the shortlist goes through all.
        archive.shortlists([QUERY], 50)
        shortlist = median(lambda: archive.shortlists([QUERY], 50))
        whole = median(lambda: archive.search(QUERY, shortlist=50)) if _all_have(path) else None
    return {"open_s": opened, "shortlist_ms": shortlist, "query_ms": whole}


def _all_have(path: Path) -> bool:
    with Catalog.open(path) as catalog:
        extractor = catalog.extractor
        assert extractor is not None
        last = catalog.videos()[-1]
        return catalog.snippet_count(last.content_hash or "", extractor.id) == SNIPPETS


def indexes(path: Path, model: GroundingModel) -> dict[str, Any]:
    """Memory, build and query times of FAISS indexes over the stored vectors, and their recall."""
    with Catalog.open(path) as catalog:
        extractor = catalog.extractor
        assert extractor is not None
        key, dim = vectors_key(model), model.config.retrieval_dim
        listed = catalog.list_windows(key, extractor.id)
        vectors = np.empty((sum(windows.vectors for windows in listed.values()), dim), np.float32)
        filled = 0
        for content in listed:
            for window in catalog.load_vectors(key, extractor.id, [content]):
                vectors[filled : filled + len(window.vectors)] = window.vectors
                filled += len(window.vectors)
    rng = np.random.default_rng(1)
    asked = rng.standard_normal((QUERIES, dim), dtype=np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    lists = max(1, int(4 * len(vectors) ** 0.5))
    told: dict[str, Any] = {"vectors": len(vectors), "dim": dim}
    truth = None
    for name, description in {
        "flat": "Flat",
        "flat_float16": "SQfp16",
        "ivf_flat": f"IVF{lists},Flat",
        "ivf_pq": f"IVF{lists},PQ{dim // 8}x8",
    }.items():
        if len(vectors) < 39 * lists and name.startswith("ivf"):
            continue  # FAISS wants that many to train on
        index = faiss.index_factory(dim, description, faiss.METRIC_INNER_PRODUCT)
        began = time.perf_counter()
        index.train(vectors[: 39 * lists])
        index.add(vectors)
        built = time.perf_counter() - began
        if name.startswith("ivf"):
            index.nprobe = max(1, lists // 16)
        found = index.search(asked, 50)[1]
        truth = found if truth is None else truth
        kept = np.mean([len(np.intersect1d(a, b)) / 50 for a, b in zip(found, truth, strict=True)])
        one = asked[:1]
        told[name] = {
            "bytes": size_of(index, path.with_suffix(".faiss")),
            "build_s": built,
            "query_ms": median(lambda index=index, one=one: index.search(one, 1024)),
            "recall@50_on_noise": float(kept),
        }
        del index
    return told


def size_of(index: faiss.Index, path: Path) -> int:
    """Bytes of an index as it is written."""
    faiss.write_index(index, str(path))
    size = path.stat().st_size
    path.unlink()
    return size


def median(work: Callable[[], object]) -> float:
    """The middle of several times, in milliseconds."""
    times = []
    for _ in range(QUERIES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    main()
