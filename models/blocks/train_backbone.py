"""Train the backbone of `blocks`: a quarter-width Inception-I3D that sees what shapes do.

    python models/blocks/train_backbone.py --out models/blocks/backbone.safetensors

Clips are rendered on the fly from procedural archives whose seeds no evaluation uses. The
network learns, for each (colour, shape, kind) and each of its time steps, which share of that
step's frames the event covers; and from the time-averaged feature, which is what the catalog
stores, which share of the window's central cell. Training state is kept beside the output, so a
stopped run goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from vmrtool.demo.render import render_clip
from vmrtool.demo.scenes import COLOURS, KINDS, SHAPES, Scene, labels_at, plan_video
from vmrtool.features.i3d import InceptionI3D

FPS, FRAMES, STRIDE = 24.0, 64, 16
SCALE = 0.25  # of the archive's 320 x 240
FIRST_SEED = 1_000_000  # training archives; every evaluation uses small seeds
HELD_OUT_SEED = 900_000
CLASSES = [f"{colour} {shape} {kind}" for colour in COLOURS for shape in SHAPES for kind in KINDS]
CLASS_INDEX = {name: i for i, name in enumerate(CLASSES)}


def target(scene: Scene, start: float, end: float) -> np.ndarray:
    """(classes,) share of [start, end] seconds that each class's events cover."""
    shares = np.zeros(len(CLASSES), np.float32)
    for kind, colour, shape, share in labels_at(scene, start, end):
        index = CLASS_INDEX[f"{colour} {shape} {kind}"]
        shares[index] = max(shares[index], share)
    return shares


def sample_start(scene: Scene, rng: np.random.Generator) -> float:
    """Start of a window in seconds: three in four see some of an event, often its boundary."""
    window = FRAMES / FPS
    if rng.random() < 0.75:
        event = scene.events[rng.integers(len(scene.events))]
        return float(rng.uniform(event.start - 0.75 * window, event.end - 0.25 * window))
    return float(rng.uniform(-0.25 * window, scene.duration_s - 0.75 * window))


def example(
    scene: Scene, start: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A clip uint8 (64, H, W, 3), its step targets (7, classes) and its centre target (classes,)."""
    clip = render_clip(scene, start, frames=FRAMES, fps=FPS, scale=SCALE).astype(np.int16)
    # Stands in for what coding and exposure do to real frames.
    noise = rng.normal(0.0, rng.uniform(0.0, 5.0), clip.shape[1:]).astype(np.int16)
    clip = np.clip(clip + noise + rng.integers(-10, 11), 0, 255).astype(np.uint8)
    steps = [
        target(scene, start + first / FPS, start + (first + 16) / FPS)
        for first in range(0, FRAMES - 15, 8)
    ]
    low = start + (FRAMES - STRIDE) / 2 / FPS
    return clip, np.stack(steps), target(scene, low, low + STRIDE / FPS)


class Clips(IterableDataset):
    """Endless rendered clips, four a scene; each worker walks its own scenes."""

    def __init__(self, seed: int, start: int = 0):
        super().__init__()
        self.seed, self.start = seed, start

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        info = torch.utils.data.get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        index = self.start + worker
        while True:
            rng = np.random.default_rng([self.seed, index])
            scene = plan_video(self.seed, index)
            for _ in range(4):
                yield example(scene, sample_start(scene, rng), rng)
            index += workers


def normalised(clips: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) -> float (B, 3, T, H, W) in [-1, 1], channels last."""
    clips = clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0
    return clips.contiguous(memory_format=torch.channels_last_3d)


def held_out(scenes: int) -> tuple[Tensor, Tensor]:
    """Windows of unseen scenes: clips (N, 64, H, W, 3) uint8 and centre targets (N, classes)."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(scenes):
        scene = plan_video(HELD_OUT_SEED, index)
        rows += [example(scene, sample_start(scene, rng), rng) for _ in range(4)]
    return torch.from_numpy(np.stack([r[0] for r in rows])), torch.from_numpy(
        np.stack([r[2] for r in rows])
    )


@torch.inference_mode()
def accuracy(network: InceptionI3D, centre: nn.Module, clips: Tensor, truth: Tensor) -> dict:
    """Share of held-out windows inside one event whose top class is right, by kind and over all."""
    network.eval()
    scores = torch.cat(
        [centre(network(normalised(part)).mean(2)) for part in clips.split(16)]
    )
    network.train()
    inside = truth.max(1).values >= 0.99
    hits: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for row, wanted in zip(scores[inside], truth[inside], strict=True):
        right = {i for i, share in enumerate(wanted.tolist()) if share >= 0.99}
        top = int(row.argmax())
        hits[CLASSES[min(right)].split()[-1]].append(top in right)
    by_kind = {kind: float(np.mean(h)) for kind, h in hits.items() if h}
    idle = truth.max(1).values == 0
    return {
        "top1": float(np.mean([hit for h in hits.values() for hit in h])),
        "false_alarms": float((scores[idle].sigmoid().max(1).values > 0.5).float().mean()),
        **by_kind,
    }


def main() -> None:
    """Parse, train, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop and save by then")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    network = InceptionI3D(len(CLASSES), width=options.width)
    network = network.to(memory_format=torch.channels_last_3d)
    centre = nn.Linear(network.dim, len(CLASSES))
    # Events are rare: begin at their base rate.
    nn.init.constant_(network.logits.conv3d.bias, -4.0)
    nn.init.constant_(centre.bias, -4.0)
    parameters = [*network.parameters(), *centre.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=options.lr, weight_decay=0.01)
    total = options.clips // options.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.lr, total_steps=total, pct_start=0.1
    )
    done = 0
    state_file = options.out.with_suffix(".state.pt")
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        centre.load_state_dict(state["centre"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        done = state["steps"]
        print(f"going on after step {done}", flush=True)

    scenes_seen = done * options.batch // 4
    loader = DataLoader(
        Clips(FIRST_SEED + options.seed, scenes_seen),
        batch_size=options.batch,
        num_workers=options.workers,
        prefetch_factor=4,
    )
    clips, truth = held_out(60)
    began, losses = time.time(), []
    for step, (batch, steps, centres) in enumerate(loader, start=done + 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = network(normalised(batch))
            step_scores = network.scores(features).transpose(1, 2)
            centre_scores = centre(features.mean(2))
        loss = F.binary_cross_entropy_with_logits(step_scores.float(), steps, reduction="none")
        loss_centre = F.binary_cross_entropy_with_logits(
            centre_scores.float(), centres, reduction="none"
        )
        total_loss = loss.sum(2).mean() + loss_centre.sum(1).mean()
        optimiser.zero_grad()
        total_loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        losses.append(total_loss.item())
        late = (time.time() - began) / 60 > options.minutes
        if step % 100 == 0 or step == total or late:
            seconds = time.time() - began
            measured = accuracy(network, centre, clips, truth)
            print(
                f"step {step}/{total} loss {np.mean(losses[-100:]):.4f} "
                f"{(step - done) * options.batch / seconds:.1f} clips/s "
                + " ".join(f"{k}={v:.2f}" for k, v in measured.items()),
                flush=True,
            )
            state = {
                "network": network.state_dict(),
                "centre": centre.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "steps": step,
            }
            torch.save(state, state_file)
        if step == total or late:
            break

    about = {
        "name": "blocks",
        "width": options.width,
        "classes": CLASSES,
        "preprocessing": {"fps": FPS, "frames": FRAMES, "resize": ["exact", [60, 80]], "crop": None},
    }
    tensors = {
        key: value.contiguous()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(tensors, options.out, metadata={"backbone": json.dumps(about)})
    print(f"saved {options.out} ({options.out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
