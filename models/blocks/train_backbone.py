"""Train the backbone of `blocks`: a quarter-width Inception-I3D that sees what shapes do.

    python models/blocks/train_backbone.py --out models/blocks/backbone.safetensors

`--start FILE` goes on from a backbone, or from the state beside one, instead of from nothing. Clips
are rendered on the fly from procedural archives whose seeds no evaluation uses. At each of its time
steps the network learns which (colour, shape, kind) events are under way, as shares of the step's
frames, and beside them what makes them up: which kind it is, which objects are visible and how each
moves, grows, turns and fades. Two maps inside the network learn the same of the object at each
place, which is what gets a network this deep off the ground. The time-averaged feature, which is
what the catalog stores, learns the events of the window's central cell. Most clips are 32 frames
long, twice as many for the same work; the last ones have the 64 frames of an indexed window.
Training state is kept beside the output, so a stopped run goes on where it was.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from vmrtool.demo.render import render_clip
from vmrtool.demo.scenes import COLOURS, KINDS, SHAPES, Scene, plan_video
from vmrtool.features.backbones import Preprocessing, save_backbone
from vmrtool.features.i3d import InceptionI3D

FPS, FRAMES, STRIDE = 24.0, 64, 16
STEP_FRAMES = 16  # what a time step of the network stands for
SCALE = 0.25  # of the archive's 320 x 240
FIRST_SEED = 1_000_000  # training archives; every evaluation uses small seeds
HELD_OUT_SEED = 900_000
OBJECTS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
CLASSES = [f"{name} {kind}" for name in OBJECTS for kind in KINDS]
MOTIONS = 6
# Brings speeds (px/s), growth (log radius a second), turning (degrees a second) and fading
# (opacity a second) of a typical event to about 1.
MOTION_SCALE = np.array([1 / 80, 1 / 80, 1 / 80, 6.0, 1 / 180, 4.0], np.float32)
# Slow changes show least in any one frame, and which way they go least of all: they are looked at
# more often, and their rates count more.
SLOW_KINDS = ("grows", "shrinks", "appears", "vanishes")
SLOW_SHARE = 6.0
MOTION_WEIGHT = (1.0, 1.0, 1.0, 3.0, 1.0, 3.0)


class Stretches(NamedTuple):
    """What goes on during S stretches of time, for each of the 12 objects."""

    classes: np.ndarray  # (S, 12, 12) share of the stretch that each kind of event covers
    visible: np.ndarray  # (S, 12) whether the object shows
    motion: np.ndarray  # (S, 12, 6) dx, dy, |dy|, growth, turning, fading
    places: np.ndarray  # (S, 12, 2) x, y in 0..1 of the frame


def stretches(scene: Scene, centres: np.ndarray) -> Stretches:
    """Stretches of 16 frames around `centres` (S,) seconds."""
    count, half = len(centres), STEP_FRAMES / 2 / FPS
    classes = np.zeros((count, len(OBJECTS), len(KINDS)), np.float32)
    for event in scene.events:
        low, high = np.maximum(centres - half, event.start), np.minimum(centres + half, event.end)
        share = np.clip((high - low) / (2 * half), 0.0, 1.0)
        for name in event.objects:
            cell = classes[:, OBJECTS.index(name), KINDS.index(event.kind)]
            np.maximum(cell, share, out=cell)
    visible = np.zeros((count, len(OBJECTS)), np.float32)
    motion = np.zeros((count, len(OBJECTS), MOTIONS), np.float32)
    places = np.zeros((count, len(OBJECTS), 2), np.float32)
    offsets = np.linspace(-half, half, 9)
    times = np.clip(centres[:, None] + offsets, 0.0, scene.duration_s)
    for actor in scene.actors:
        states = actor.at(times.ravel()).reshape(count, 9, 5)
        x, y, radius, angle, opacity = np.moveaxis(states, 2, 0)
        inside = (x > -radius / 2) & (x < 320 + radius / 2) & (y > -radius / 2)
        inside &= (y < 240 + radius / 2) & (opacity > 0.15)
        seen = inside.mean(axis=1) >= 0.5
        changes = np.stack([x, y, y, np.log(np.maximum(radius, 1.0)), angle, opacity], axis=2)
        rates = np.diff(changes, axis=1) / (offsets[1] - offsets[0])
        rates[..., [2, 4]] = np.abs(rates[..., [2, 4]])
        both = (inside[:, 1:] & inside[:, :-1])[..., None]
        mean = (rates * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        index = OBJECTS.index(actor.name)
        visible[:, index] = seen
        motion[:, index] = np.clip(mean * MOTION_SCALE, -3.0, 3.0) * seen[:, None]
        places[:, index] = np.clip(states[:, 4, :2] / (320.0, 240.0), 0.0, 0.999)
    return Stretches(classes, visible, motion, places)


def sample_start(scene: Scene, frames: int, rng: np.random.Generator) -> float:
    """Start of a clip in seconds: nineteen in twenty see some of an event, often its boundary."""
    length = frames / FPS
    if rng.random() < 0.95:
        shares = np.array([SLOW_SHARE if e.kind in SLOW_KINDS else 1.0 for e in scene.events])
        event = scene.events[rng.choice(len(shares), p=shares / shares.sum())]
        return float(rng.uniform(event.start - 0.6 * length, event.end - 0.4 * length))
    return float(rng.uniform(-0.25 * length, scene.duration_s - 0.75 * length))


def example(scene: Scene, start: float, frames: int, rng: np.random.Generator) -> list[np.ndarray]:
    """A clip uint8 (frames, H, W, 3), then the stretches of its steps, of its maps' steps, and the
    classes of its central cell (1, 12, 12)."""
    clip = render_clip(scene, start, frames=frames, fps=FPS, scale=SCALE).astype(np.int16)
    # Stands in for what coding and exposure do to real frames.
    noise = rng.normal(0.0, rng.uniform(0.0, 5.0), clip.shape[1:]).astype(np.int16)
    clip = np.clip(clip + noise + rng.integers(-10, 11), 0, 255).astype(np.uint8)
    steps = stretches(scene, start + (np.arange(8, frames - 7, 8)) / FPS)
    places = stretches(scene, start + (np.arange(2, frames, 4)) / FPS)
    centre = stretches(scene, np.array([start + frames / 2 / FPS]))
    return [clip, *steps, *places, centre.classes]


class Clips(IterableDataset):
    """Endless rendered clips, two a scene; each worker walks its own scenes."""

    def __init__(self, seed: int, frames: int, start: int = 0):
        super().__init__()
        self.seed, self.frames, self.start = seed, frames, start

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        info = torch.utils.data.get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        index = self.start + worker
        while True:
            rng = np.random.default_rng([self.seed, index])
            scene = plan_video(self.seed, index)
            for _ in range(2):
                start = sample_start(scene, self.frames, rng)
                yield example(scene, start, self.frames, rng)
            index += workers


def normalised(clips: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) -> float (B, 3, T, H, W) in [-1, 1], channels last."""
    clips = clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0
    return clips.contiguous(memory_format=torch.channels_last_3d)


def held_out(scenes: int) -> tuple[Tensor, Tensor]:
    """Windows of unseen scenes: clips (N, 64, H, W, 3) uint8 and centre classes (N, 144)."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(scenes):
        scene = plan_video(HELD_OUT_SEED, index)
        rows += [example(scene, sample_start(scene, FRAMES, rng), FRAMES, rng) for _ in range(2)]
    clips, centres = (np.stack([row[i] for row in rows]) for i in (0, -1))
    return torch.from_numpy(clips), torch.from_numpy(centres).flatten(1)


def motion_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean loss of motions (..., 6) of visible objects; of five objects four stand still, so those
    that move count eightfold."""
    error = F.smooth_l1_loss(found, wanted, reduction="none", beta=0.25)
    error = (error * torch.tensor(MOTION_WEIGHT)).sum(-1)
    weight = 1.0 + 7.0 * (wanted.abs().amax(-1) > 0.3)
    return (error * weight).sum() / weight.sum()


def event_loss(scores: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy summed over classes (last), mean over the rest; events are rare and count
    fivefold."""
    rare = torch.full((scores.shape[-1],), 5.0)
    error = F.binary_cross_entropy_with_logits(scores, shares, pos_weight=rare, reduction="none")
    return error.sum(-1).mean()


def kind_loss(scores: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy of scores (..., 13), the last for "nothing", with shares (..., 12) of kinds.

    One kind at a time is under way in a scene, so kinds compete: what grows does not shrink.
    """
    nothing = (1.0 - shares.sum(-1, keepdim=True)).clamp(min=0.0)
    wanted = torch.cat([shares, nothing], dim=-1)
    return -(wanted * scores.log_softmax(-1)).sum(-1).mean()


class PlaceHead(nn.Module):
    """What is at each place of a map inside the network."""

    def __init__(self, channels: int):
        super().__init__()
        self.objects = nn.Linear(channels, len(OBJECTS) + 1)  # the last: none
        self.motion = nn.Linear(channels, MOTIONS)
        self.kinds = nn.Linear(channels, len(KINDS))
        nn.init.constant_(self.kinds.bias, -2.0)

    def forward(self, maps: Tensor, at: list[Tensor]) -> Tensor:
        """Loss of maps (B, C, S, H, W) given stretches `at`: classes, visible, motion, places."""
        classes, visible, motion, places = at
        maps = maps.float().permute(0, 2, 3, 4, 1)
        height, width = maps.shape[2:4]
        b, s, o = visible.nonzero(as_tuple=True)
        x, y = (places[b, s, o] * torch.tensor([width, height])).long().unbind(1)
        wanted = torch.full(maps.shape[:4], len(OBJECTS))
        wanted[b, s, y, x] = o
        weight = torch.ones(len(OBJECTS) + 1)
        weight[-1] = 0.1
        objects = F.cross_entropy(self.objects(maps).flatten(0, 3), wanted.flatten(), weight)
        seen = maps[b, s, y, x]
        moves = motion_loss(self.motion(seen), motion[b, s, o])
        return objects + moves + event_loss(self.kinds(seen), classes[b, s, o])


class Heads(nn.Module):
    """What is read off the network in training beside the class scores; not kept."""

    def __init__(self, network: InceptionI3D):
        super().__init__()
        dim = network.dim
        self.kinds = nn.Linear(dim, len(KINDS) + 1)  # the last: none
        self.visible = nn.Linear(dim, len(OBJECTS))
        self.motion = nn.Linear(dim, len(OBJECTS) * MOTIONS)
        self.centre = nn.Linear(dim, len(CLASSES))
        self.early = PlaceHead(network.get_submodule("Mixed_3c").out_channels)
        self.late = PlaceHead(network.get_submodule("Mixed_4f").out_channels)
        nn.init.constant_(self.centre.bias, -4.0)  # events are rare: begin at their base rate


def losses(network: InceptionI3D, heads: Heads, batch: list[Tensor]) -> dict[str, Tensor]:
    """Loss parts of a batch of examples."""
    clips, classes, visible, motion, _, *at, centre = batch
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output: maps.__setitem__(name, output)
        )

    hooks = [keep("Mixed_3c"), keep("Mixed_4f")]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = network(normalised(clips))
    for hook in hooks:
        hook.remove()
    features = features.float()
    steps = features.transpose(1, 2)  # (B, T', dim)
    moves = heads.motion(steps).unflatten(2, (len(OBJECTS), MOTIONS))
    seen = visible > 0
    shows = F.binary_cross_entropy_with_logits(heads.visible(steps), visible, reduction="none")
    return {
        "classes": event_loss(network.scores(features).transpose(1, 2), classes.flatten(2)),
        "kinds": 2.0 * kind_loss(heads.kinds(steps), classes.amax(2)),
        "visible": shows.sum(2).mean(),
        "motion": motion_loss(moves[seen], motion[seen]),
        "centre": event_loss(heads.centre(features.mean(2)), centre.flatten(1)),
        "early": 2.0 * heads.early(maps["Mixed_3c"][:, :, ::2], at),
        "late": heads.late(maps["Mixed_4f"], at),
    }


@torch.inference_mode()
def accuracy(network: InceptionI3D, heads: Heads, clips: Tensor, truth: Tensor) -> dict[str, float]:
    """Share of held-out windows inside one event whose top class is right, by kind and over all."""
    network.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = torch.cat([network(normalised(part)) for part in clips.split(16)])
    scores = heads.centre(features.float().mean(2))
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
    parser.add_argument("--short-clips", type=int, default=54_000, help="clips of 32 frames")
    parser.add_argument("--clips", type=int, default=6_000, help="clips of 64 frames, after them")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--start", type=Path, help="a backbone to go on from")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    network = InceptionI3D(len(CLASSES), width=options.width)
    network = network.to(memory_format=torch.channels_last_3d)
    nn.init.constant_(network.logits.conv3d.bias, -4.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.05
    heads = Heads(network)
    if options.start and options.start.suffix == ".pt":
        state = torch.load(options.start, weights_only=True)
        network.load_state_dict(state["network"])
        heads.load_state_dict(state["heads"])
    elif options.start:
        network.load_state_dict(load_file(options.start))
    parameters = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=options.lr, weight_decay=0.01)
    short_steps = options.short_clips // options.batch
    total = short_steps + options.clips // options.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.lr, total_steps=total, pct_start=0.05, div_factor=5
    )
    done = 0
    state_file = options.out.with_suffix(".state.pt")
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        heads.load_state_dict(state["heads"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["steps"]
        for _ in range(done):
            schedule.step()
        print(f"going on after step {done}", flush=True)

    clips, truth = held_out(100)
    for phase_end, frames in ((short_steps, 32), (total, FRAMES)):
        if done >= phase_end:
            continue
        dataset = Clips(FIRST_SEED + options.seed, frames, done * options.batch // 2)
        loader = DataLoader(
            dataset, batch_size=options.batch, num_workers=options.workers, prefetch_factor=4
        )
        began, first, history = time.time(), done, []
        for step, batch in enumerate(loader, start=done + 1):
            parts = losses(network, heads, batch)
            loss = torch.stack(list(parts.values())).sum()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            schedule.step()
            history.append([part.item() for part in parts.values()])
            if step % 100 == 0 or step == phase_end:
                rate = (step - first) * options.batch / (time.time() - began)
                means = dict(zip(parts, np.mean(history[-100:], axis=0), strict=True))
                measured = accuracy(network, heads, clips, truth) if step % 300 == 0 else {}
                print(
                    f"step {step}/{total} {frames} frames {rate:.1f} clips/s "
                    + " ".join(f"{k} {v:.3f}" for k, v in means.items())
                    + " | "
                    + " ".join(f"{k} {v:.2f}" for k, v in measured.items()),
                    flush=True,
                )
                state = {
                    "network": network.state_dict(),
                    "heads": heads.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "steps": step,
                }
                torch.save(state, state_file)
            if step == phase_end:
                break
        done = phase_end

    save_backbone(
        options.out,
        network,
        name="blocks",
        width=options.width,
        preprocessing=Preprocessing(fps=FPS, frames=FRAMES, resize=("exact", (60, 80)), crop=None),
        extra={
            "class_names": CLASSES,
            "training": vars(options)
            | {"out": options.out.name, "start": options.start and options.start.name},
        },
    )
    print(f"saved {options.out} ({options.out.stat().st_size / 1e6:.1f} MB)")
    print({k: round(v, 3) for k, v in accuracy(network, heads, clips, truth).items()})


if __name__ == "__main__":
    main()
