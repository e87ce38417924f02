"""Latency of a search by the number of stored vectors, beside bare FAISS and the bare imports.

    python benchmarks/search.py [--vectors N ...] [--like CATALOG | --data FILE.h5] [--folder DIR]

For each number of vectors a catalog is built of videos of one window of 48 snippets, and asked:
warm through the Python API, cold through the command line, each beside what it cannot do without:
FAISS over the same vectors, and `import torch, faiss`. Vectors have the mean and the covariance of
real ones: those stored in a catalog (--like), features of an HDF5 file (--data, an array a video,
averaged over four snippets), or else the vectors of two rendered videos. The network has the
paper's size and random weights. Then 20 windows of 48 and of 128 snippets are grounded, with this
network and with `blocks`, encoded by each query and kept encoded. Tables are printed as Markdown.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from scaling import CELL_S, QUERY, SETTINGS, cells_of, write_model

import vmrtool
from vmrtool.assets import find_model
from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets, StoredWindow
from vmrtool.grounding.checkpoint import GroundingModel, load_model
from vmrtool.grounding.pooling import LENGTHS, stretches
from vmrtool.search.grounding import WindowFeatures, encode_queries, encode_windows, ground_windows
from vmrtool.search.pooling import vectors_key

SNIPPETS = 48
WINDOWS = 20
REACH = 1024  # vectors that a shortlist asks FAISS for


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, nargs="+", default=[1000, 10**4, 10**5, 10**6])
    parser.add_argument("--queries", type=int, default=30, help="warm queries a size")
    parser.add_argument("--cold", type=int, default=5, help="runs of the command a size")
    parser.add_argument("--shortlist", type=int, default=WINDOWS, help="videos looked into")
    parser.add_argument("--dim", type=int, default=1024, help="width of the features")
    parser.add_argument("--like", type=Path, help="a catalog whose vectors are drawn from")
    parser.add_argument("--data", type=Path, help="an HDF5 file whose features are drawn from")
    parser.add_argument("--folder", type=Path, help="where catalogs are built; else temporary")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    faiss.omp_set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        run = folder / "run" / "model.safetensors"
        write_model(run.parent, chosen.dim, LENGTHS)
        source = real_vectors(folder, chosen.like, chosen.data)
        sizes(chosen, folder, run, source)
        grounding(run, chosen.queries)


def sizes(chosen: argparse.Namespace, folder: Path, run: Path, source: NDArray[np.float32]) -> None:
    """The table of latencies by the number of vectors."""
    model = load_model(run)
    imports = timed(lambda: python("-c", "import torch, faiss"), chosen.cold)
    print(f"`import torch, faiss`: {told(imports)} ms (median, p95)\n")
    print("| vectors | bare FAISS | warm | warm beyond FAISS | cold | cold / bare imports |")
    print("|---|---|---|---|---|---|")
    for count in chosen.vectors:
        path = folder / f"{count}.db"
        vectors = build(path, model, count, chosen.dim, source)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        with vmrtool.open(path, model=run, device="cpu") as archive:
            asked = encode_queries(model, [QUERY]).vectors.numpy()
            bare = timed(lambda i=index, q=asked: i.search(q, min(REACH, i.ntotal)), chosen.queries)
            warm = timed(
                lambda a=archive: a.search(QUERY, shortlist=chosen.shortlist), chosen.queries
            )
        words = ("search", QUERY, "--catalog", str(path), "--model", str(run), "--json")
        limits = ("--device", "cpu", "--shortlist", str(chosen.shortlist))
        cold = timed(lambda w=words, m=limits: python("-m", "vmrtool", *w, *m), chosen.cold)
        beyond = np.median(warm) - np.median(bare)
        ratio = np.median(cold) / np.median(imports)
        print(
            f"| {len(vectors):,} | {told(bare)} | {told(warm)} | {beyond:.0f} | {told(cold)} | "
            f"{ratio:.2f} |",
            flush=True,
        )
        for file in folder.glob(f"{path.name}*"):
            file.unlink()


def grounding(run: Path, times: int) -> None:
    """The table of grounding alone: milliseconds for `WINDOWS` windows."""
    print(f"\n| {WINDOWS} windows | snippets | encoded by the query | kept encoded | of it |")
    print("|---|---|---|---|---|")
    models = {"D = 512": load_model(run)}
    checkpoint = find_model("blocks").checkpoint
    if checkpoint is not None:
        models["blocks"] = load_model(checkpoint)
    rng = np.random.default_rng(0)
    pairs = [(number, 0) for number in range(WINDOWS)]
    for name, model in models.items():
        asked = encode_queries(model, [QUERY])
        for n in (48, 128):
            shape = (WINDOWS, n, model.config.video_dim)
            features = rng.standard_normal(shape, dtype=np.float32).astype(np.float16)
            windows = [WindowFeatures(each, cells_of(n)) for each in features]
            kept = encode_windows(model, windows)
            anew = timed(lambda m=model, w=windows, q=asked: ground_windows(m, w, q, pairs), times)
            met = timed(lambda m=model, w=kept, q=asked: ground_windows(m, w, q, pairs), times)
            share = np.median(met) / np.median(anew)
            print(f"| {name} | {n} | {told(anew)} | {told(met)} | {share:.2f} |", flush=True)


def real_vectors(folder: Path, like: Path | None, data: Path | None) -> NDArray[np.float32]:
    """Vectors (n, d) whose statistics are drawn from."""
    if data is not None:
        with h5py.File(data) as file:
            rows = []
            for name in file:
                features = np.asarray(file[name], np.float32)
                whole = features[: len(features) // 4 * 4].reshape(-1, 4, features.shape[1])
                rows.append(whole.mean(axis=1))
        return np.concatenate(rows)
    if like is None:
        video, like = folder / "videos", folder / "like.db"
        python("-m", "vmrtool", "demo", "render", str(video), "--videos", "2", "--seed", "7")
        python("-m", "vmrtool", "index", str(video), "--model", "blocks", "--catalog", str(like))
        python("-m", "vmrtool", "search", "a square", "--catalog", str(like), "--json")
    with Catalog.open(like) as catalog, catalog.reading() as db:
        rows = [
            np.frombuffer(data, "<f4").reshape(n, dim)
            for n, dim, data in db.execute("SELECT n, dim, data FROM vectors")
        ]
    return np.concatenate(rows)


def drawn(source: NDArray[np.float32], count: int, dim: int) -> NDArray[np.float32]:
    """Unit vectors (count, dim) with the mean and covariance of the source's main directions."""
    mean = source.mean(axis=0)
    _, spread, axes = np.linalg.svd(source - mean, full_matrices=False)
    kept = min(dim, len(spread))
    rng = np.random.default_rng(0)
    vectors = np.zeros((count, dim), np.float32)
    scale = (spread[:kept] / max(1.0, (len(source) - 1.0)) ** 0.5).astype(np.float32)
    for start in range(0, count, 100_000):  # float64 of a million would be a gigabyte
        part = vectors[start : start + 100_000, :kept]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32) * scale + axes[:kept] @ mean
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors


def build(
    path: Path, model: GroundingModel, count: int, dim: int, source: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A catalog of at least so many vectors, as `index` and a first search would leave it."""
    spans = stretches(SNIPPETS, model.pooling).numpy().astype(np.int32)
    videos = -(-count // len(spans))
    vectors = drawn(source, videos * len(spans), model.config.retrieval_dim)
    cells, rng = cells_of(SNIPPETS), np.random.default_rng(1)
    features = rng.standard_normal((SNIPPETS, dim), dtype=np.float32).astype(np.float16)
    stored = StoredSnippets(features, cells, cells)
    key = vectors_key(model)
    with Catalog.create_or_open(path) as catalog:
        extractor = catalog.extractor_id("made-up", "0" * 64, SETTINGS)
        catalog.use_extractor(extractor)
        for start in range(0, videos, 500):
            with catalog.transaction():  # one for many: a commit is an fsync
                for number in range(start, min(videos, start + 500)):
                    content = f"{number:064x}"
                    file = FoundFile(path.parent / f"{number}.mp4", path.parent, 1, 1)
                    facts = FileFacts(SNIPPETS * CELL_S)
                    catalog.save_video(file, content, facts, extractor, stored)
                    own = vectors[number * len(spans) : (number + 1) * len(spans)]
                    window = StoredWindow(content, 0, SNIPPETS, own, spans)
                    catalog.save_vectors(key, extractor, [window])
    return vectors


def python(*words: str) -> None:
    """Runs an interpreter with what this one finds, in as many threads as it has itself."""
    threads = str(torch.get_num_threads())
    subprocess.run(
        [sys.executable, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": threads},
    )


def timed(work: Callable[[], object], times: int) -> NDArray[np.float64]:
    """Milliseconds of each of several runs, after one that is not counted."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return np.array(taken)


def told(times: NDArray[np.float64]) -> str:
    """Median and 95th percentile."""
    return f"{np.median(times):.1f}, {np.percentile(times, 95):.1f}"


if __name__ == "__main__":
    main()
