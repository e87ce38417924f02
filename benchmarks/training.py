"""Time and memory of training and inference at the paper's size, on a CPU and on a GPU.

    python benchmarks/training.py [--device cpu] [--recipe NAME] [--steps 8] [--set KEY=VALUE]

The data are made up in the shape of Charades-STA's training split: 12,408 queries of about 6 words
over 5,338 videos of about 31 s, a 1024-d feature every 16 frames at 24 a second. Batches of 100,
D = 512 and the number of epochs are the recipe's; without one they are the paper's where it prints
them. A few steps are timed, whole as training does them (making the batch, both passes, the
optimiser), and extrapolated to an epoch: every step is alike but for the lengths of its videos.
"""

import argparse
import contextlib
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vmrtool.datasets.dataset import Dataset, Video
from vmrtool.datasets.labels import even_cells
from vmrtool.datasets.samples import Sample
from vmrtool.evaluation.within import predict
from vmrtool.features.device import choose_device
from vmrtool.grounding.checkpoint import ExtractorSpec, GroundingModel
from vmrtool.grounding.config import GroundingConfig
from vmrtool.grounding.network import GroundingNetwork
from vmrtool.text.vocabulary import build_vocabulary
from vmrtool.training.loop import EpochReport, StartReport, StepReport
from vmrtool.training.recipes import load_recipe
from vmrtool.training.settings import RunSettings, make_settings
from vmrtool.training.start import train

QUERIES, VIDEOS, WORDS = 12_408, 5_338, 1_100
DIM, CELL_S = 1024, 16 / 24
WARM_UP = 2  # steps that are not counted: memory is claimed, kernels are chosen


class EnoughError(Exception):
    """Ends training once enough steps are timed."""


def make_dataset() -> Dataset:
    """Queries and videos like Charades-STA's; all show stretches of the same noise."""
    rng = np.random.default_rng(0)
    noise = np.maximum(rng.standard_normal((512, DIM), dtype=np.float32), 0).astype(np.float16)
    videos = []
    for number, seconds in enumerate(rng.normal(30.9, 9.4, VIDEOS).clip(5.5, 194)):
        n = min(128, int(np.ceil(seconds / CELL_S)))
        first = int(rng.integers(0, len(noise) - n))
        videos.append(Video(f"v{number}", noise[first : first + n], even_cells(n, seconds)))
    video_of = rng.permutation(np.arange(QUERIES) % VIDEOS)
    samples = []
    for number, video in enumerate(video_of):
        duration = videos[video].duration
        start = float(rng.uniform(0, 0.7 * duration))
        words = (f"w{word}" for word in rng.integers(0, WORDS, rng.integers(3, 11)))
        samples.append(
            Sample(
                number, f"v{video}", " ".join(words), ((start, start + 0.27 * duration),), duration
            )
        )
    return Dataset("Charades-STA in shape", tuple(samples), tuple(videos), tuple(video_of), None)


def time_steps(
    dataset: Dataset, settings: RunSettings, steps: int, device: torch.device
) -> tuple[list[float], int]:
    """Seconds of each of `steps` training steps, and the steps of an epoch."""
    ends: list[float] = []
    per_epoch = 0

    def report(event: StartReport | StepReport | EpochReport) -> None:
        nonlocal per_epoch
        if isinstance(event, StepReport):
            ends.append(time.perf_counter())
            per_epoch = event.n_batches
            if len(ends) > WARM_UP + steps:
                raise EnoughError

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(EnoughError):
        train(
            *(dataset, None, settings, Path(folder) / "run"),
            measure=lambda model, part: {},
            device=device,
            report=report,
        )
    return np.diff(ends[WARM_UP:]).tolist(), per_epoch


def time_inference(
    dataset: Dataset, settings: RunSettings, pairs: int, device: torch.device
) -> tuple[float, float]:
    """Seconds a query-video pair, many asked at once, and of one asked alone."""
    vocabulary = build_vocabulary(sample.query for sample in dataset.samples)
    config = GroundingConfig.from_json(
        {**settings.network, "video_dim": DIM, "vocabulary_size": len(vocabulary)}
    )
    network = GroundingNetwork(config).to(device).eval()
    model = GroundingModel(network, vocabulary, ExtractorSpec("made up"))
    many = dataset.select(range(pairs))
    one = dataset.select([0])
    predict(model, many)
    began = time.perf_counter()
    predict(model, many)
    together = (time.perf_counter() - began) / pairs
    began = time.perf_counter()
    for _ in range(5):
        predict(model, one)
    return together, (time.perf_counter() - began) / 5


def gigabytes(device: torch.device) -> float:
    """Peak memory of the process so far, or on a GPU of what it held there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if platform.system() == "Darwin" else peak / 2**20


def machine(device: torch.device) -> str:
    """The processor, or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def main() -> None:
    """Measure, and print a row for benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--recipe", help="a model's name or a TOML file; else the paper's values")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=8, help="training steps that are timed")
    parser.add_argument("--pairs", type=int, default=256, help="query-video pairs that are timed")
    options = parser.parse_args()
    device, reason = choose_device(options.device)
    # Word vectors cost the same wherever they come from; learned ones need no file.
    overrides = ["network.query_encoder=words", *options.overrides]
    settings = make_settings(load_recipe(options.recipe) if options.recipe else {}, overrides)
    dataset = make_dataset()
    print(f"device {device} ({reason}); torch {torch.__version__}; timing {options.steps} steps")
    together, alone = time_inference(dataset, settings, options.pairs, device)
    before = gigabytes(device)
    seconds, per_epoch = time_steps(dataset, settings, options.steps, device)
    epoch, epochs = float(np.mean(seconds)) * per_epoch, settings.training.epochs
    print(
        f"a step {np.mean(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f}), {per_epoch} "
        f"steps an epoch; memory {before:.2f} GiB after inference, {gigabytes(device):.2f} GiB peak"
    )
    print(
        "| machine | batch, D | a step | an epoch (extrapolated) | all epochs (extrapolated) "
        "| peak memory | a pair, many at once | a pair alone |\n|---|---|---|---|---|---|---|---|"
    )
    size = f"{settings.training.batch_size}, {settings.network.get('dim', 512)}"
    print(
        f"| {machine(device)} | {size} | {np.mean(seconds):.3f} s | {epoch:,.0f} s | {epochs}: "
        f"{epochs * epoch / 60:,.0f} min | {gigabytes(device):.1f} GiB | {1000 * together:.1f} ms "
        f"| {1000 * alone:.1f} ms |"
    )


if __name__ == "__main__":
    main()
