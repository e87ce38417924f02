"""Broken files from good ones: videos for `index`, and catalogs, models, vectors, data sets and
features for their readers. Drawn from a seed, so that a file that does harm can be made again.
"""

import json
import random
import struct
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np

from vmrtool.errors import VmrtoolError

SUFFIXES = {"mp4": "mpeg4", "mkv": "libx264", "avi": "mpeg4", "ts": "mpeg2video"}


def write_clip(
    path: Path,
    *,
    seed: int,
    seconds: float = 2,
    size: tuple[int, int] = (64, 48),
    codec: str = "mpeg4",
    gop: int = 12,
    frames: int | None = None,
    times: list[int] | None = None,
) -> Path:
    """A square that moves over a grey ground, 12 frames a second; another seed, another content.

    `times` are the frames' timestamps in milliseconds where they are to be odd.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    count = frames or round(12 * seconds)
    colour, step = rng.integers(0, 255, 3, dtype=np.uint8), int(rng.integers(1, 5))
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=12)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            picture = np.full((size[1], size[0], 3), 90 + seed % 60, np.uint8)
            left = number * step % max(1, size[0] - 8)
            picture[8:24, left : left + 12] = colour
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.time_base = Fraction(1, 1000)
                frame.pts = times[number]
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def break_files(folder: Path, count: int, seed: int, real: Path | None = None) -> dict[str, str]:
    """Makes `count` broken videos in `folder`; returns each one's name with how it was broken.

    Made of rendered clips in four containers, and of the files below `real`, where given.
    """
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    source = folder.parent / "good"
    good = [
        write_clip(source / f"{n}.{suffix}", seed=n, codec=codec)
        for n, (suffix, codec) in enumerate(SUFFIXES.items())
    ]
    if real is not None:
        good += sorted(p for p in real.rglob("*") if p.is_file() and p.stat().st_size < 2_000_000)
    kinds: dict[str, str] = {}
    makers = list(_MAKERS.items())
    for number in range(count):
        # Truncations and flips differ each time; the others need fewer.
        kind, make = makers[number % 2] if rng.random() < 0.5 else rng.choice(makers)
        original = rng.choice(good)
        name = f"{number:04}-{kind.replace(' ', '-')}{original.suffix}"
        path = folder / (name if original.suffix != ".ts" else name[:-3] + ".m2ts")
        make(path, original, good, rng)
        kinds[path.name] = kind
    return kinds


_Maker = Callable[[Path, Path, list[Path], random.Random], Any]


def _truncated(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    data = good.read_bytes()
    path.write_bytes(data[: rng.randint(1, len(data) - 1)])


def flipped(data: bytes, rng: random.Random) -> bytes:
    """The data with up to 200 bytes changed, in one place or all over."""
    changed = bytearray(data)
    first = rng.randrange(len(data))
    for _ in range(rng.choice((1, 5, 50, 200))):
        place = rng.randrange(len(data)) if rng.random() < 0.7 else min(first, len(data) - 1)
        changed[place] = rng.randrange(256)
        first += 1
    return bytes(changed)


def _flipped(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    path.write_bytes(flipped(good.read_bytes(), rng))


def _swapped(path: Path, good: Path, others: list[Path], rng: random.Random) -> None:
    head = rng.choice(others).read_bytes()[: rng.choice((16, 64, 512))]
    path.write_bytes(head + good.read_bytes()[len(head) :])


def _random(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(rng.randint(1, 20_000)))


def _picture(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    with av.open(str(good)) as video:
        frame = next(video.decode(video=0), None)
    picture = path.with_suffix(".png")
    with av.open(str(picture), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        frame = frame or av.VideoFrame(64, 48, "rgb24")
        out.mux(stream.encode(frame.reformat(64, 48, "rgb24")))
        out.mux(stream.encode(None))
    picture.rename(path)


def _audio(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        sound.sample_rate = 16000
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))


def _wrong_suffix(path: Path, good: Path, others: list[Path], rng: random.Random) -> None:
    path.write_bytes(rng.choice(others).read_bytes())


def _clip(**options: Any) -> _Maker:
    def make(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
        made = path.with_suffix(".mkv")
        write_clip(made, seed=rng.randrange(10_000), **options)
        made.rename(path)

    return make


def _absurd_times(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    made = path.with_suffix(".mkv")
    leap = rng.choice((10**7, 10**9, 10**11))
    times = [*sorted(rng.sample(range(2000), 11)), leap]
    write_clip(made, seed=rng.randrange(10_000), codec="ffv1", frames=12, times=times)
    made.rename(path)


def _absurd_rate(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    """An AVI whose header says how long a frame lasts, from a thousandth of a second to years."""
    made = path.with_suffix(".avi")
    write_clip(made, seed=rng.randrange(10_000))
    data = bytearray(made.read_bytes())
    made.unlink()
    scale = data.find(b"strh") + 28
    data[scale : scale + 8] = struct.pack("<II", round(10 ** rng.uniform(0, 9.6)), 1000)
    path.write_bytes(bytes(data))


def _claims_frames(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    """An mp4 whose tables say 10^9: of samples, of their length, or of chunks."""
    made = path.with_suffix(".mp4")
    write_clip(made, seed=rng.randrange(10_000))
    data = bytearray(made.read_bytes())
    made.unlink()
    table = rng.choice((b"stsz", b"stts", b"stco"))
    place = data.find(table) + (12 if table == b"stsz" else 8)
    data[place : place + 4] = struct.pack(">I", 10**9)
    if table == b"stts" and rng.random() < 0.5:
        data[place - 4 : place] = struct.pack(">I", 1)
    path.write_bytes(bytes(data))


def _no_key_frames(path: Path, good: Path, _: list[Path], rng: random.Random) -> None:
    """A stream from which every key frame was taken out."""
    made, without = path.with_suffix(".whole.mkv"), path.with_suffix(".without.mkv")
    write_clip(made, seed=rng.randrange(10_000), gop=rng.choice((6, 100)))
    with av.open(str(made)) as whole, av.open(str(without), "w") as out:
        stream = out.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None and not packet.is_keyframe:
                packet.stream = stream
                out.mux(packet)
    made.unlink()
    without.rename(path)


_MAKERS: dict[str, _Maker] = {
    "truncated": _truncated,
    "flipped": _flipped,
    "swapped header": _swapped,
    "zero length": lambda path, *_: path.touch(),
    "random": _random,
    "text": lambda path, *_: path.write_text("a shopping list\n" * 20),
    "picture": _picture,
    "audio only": _audio,
    "wrong suffix": _wrong_suffix,
    "one frame": _clip(frames=1),
    "1x1": _clip(size=(1, 1), codec="ffv1"),
    "8k x 2": _clip(size=(8192, 2), codec="ffv1", frames=3),
    "absurd times": _absurd_times,
    "absurd rate": _absurd_rate,
    "10^9 frames": _claims_frames,
    "no key frames": _no_key_frames,
}


# Readers -------------------------------------------------------------------------------------


def break_readers(
    folder: Path, count: int, seed: int
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Feeds `count` broken files to the readers in turn.

    Returns:
        How often each reader read or refused one, and what ended in another way, with its place.
    """
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    cases = _readers(folder)
    outcomes: Counter[tuple[str, str]] = Counter()
    defects: list[str] = []
    for number in range(count):
        name, (good, read) = list(cases.items())[number % len(cases)]
        data = good.read_bytes()
        how = rng.randrange(5)
        if how == 0:
            data = data[: rng.randrange(len(data))]
        elif how == 1:
            data = rng.randbytes(rng.randint(0, 4000))
        elif how == 2:  # the start is what headers are read from
            data = flipped(data[:2000], rng) + data[2000:]
        else:
            data = flipped(data, rng)
        path = folder / f"{number}{good.suffix}"
        path.write_bytes(data)
        try:
            read(path)
            outcomes[name, "read"] += 1
        except VmrtoolError as error:
            outcomes[name, "refused"] += 1
            if path.name not in str(error):
                defects.append(f"{name}: file {number} is not named: {error}")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcomes[name, "other"] += 1
            defects.append(f"{name}: file {number}: {type(error).__name__}: {error} ({place.name})")
        for left in folder.glob(f"{number}.*"):
            left.unlink()
    return outcomes, defects


def _readers(folder: Path) -> dict[str, tuple[Path, Callable[[Path], Any]]]:
    """A good file for each reader, and the reader."""
    from vmrtool.catalog import Catalog
    from vmrtool.catalog.listing import info
    from vmrtool.catalog.rows import FileFacts, FoundFile, StoredSnippets
    from vmrtool.datasets.files import open_store
    from vmrtool.datasets.jsonl import read_jsonl
    from vmrtool.datasets.samples import Sample
    from vmrtool.features.weights import read_weights
    from vmrtool.grounding.checkpoint import (
        ExtractorSpec,
        GroundingModel,
        load_model,
        save_model,
    )
    from vmrtool.grounding.config import GroundingConfig
    from vmrtool.grounding.network import GroundingNetwork
    from vmrtool.text.vectors import load_word_vectors
    from vmrtool.text.vocabulary import Vocabulary

    good = folder / "good"
    good.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((20, 8)).astype(np.float16)
    cells = np.stack([np.arange(20.0), np.arange(1.0, 21.0)], axis=1)
    sample = Sample(0, "clip", "red", ((0.0, 1.0),), 20.0, None, None)

    with Catalog.create_or_open(good / "c.db") as catalog:
        extractor = catalog.extractor_id("blocks", "0" * 64, {"stride": 16})
        catalog.use_extractor(extractor)
        for number in range(20):
            file = FoundFile(good / f"{number}.mp4", good, 10, 10)
            stored = StoredSnippets(values, cells, cells)
            catalog.save_video(file, f"{number:064x}", FileFacts(20.0), extractor, stored)

    def read_catalog(path: Path) -> None:
        with Catalog.open(path) as catalog:
            info(catalog)
            catalog.failures()
            for row in catalog.videos():
                if row.content_hash is not None:
                    catalog.features(row.content_hash, 1)
            catalog.load_vectors("m", 1)

    words = Vocabulary(["red", "circle"])
    network = GroundingNetwork(
        GroundingConfig(
            video_dim=8, vocabulary_size=len(words), dim=16, word_dim=8, max_snippets=16,
            retrieval_dim=4,
        )
    )  # fmt: skip
    save_model(good / "m.safetensors", GroundingModel(network, words, ExtractorSpec("blocks")))
    import torch

    torch.save({"a": torch.ones(300), "b": torch.ones(3)}, good / "w.pt")
    lines = [f"word{n} " + " ".join(f"{x:.3f}" for x in values[n]) for n in range(20)]
    (good / "g.txt").write_text("\n".join(lines) + "\n")
    with zipfile.ZipFile(good / "g.zip", "w") as packed:
        packed.write(good / "g.txt", "g.txt")
    row = {"vid": "clip", "query": "red", "relevant_windows": [[0, 1]], "duration": 20}
    (good / "q.jsonl").write_text("".join(json.dumps({**row, "qid": n}) + "\n" for n in range(20)))
    with h5py.File(good / "f.h5", "w") as file:
        file["clip"] = values
        file["clip"].attrs["cells"] = cells
    np.save(good / "clip.npy", values)

    def read_store(path: Path) -> None:
        store = open_store(path)
        try:
            store.get(sample)
        finally:
            store.close()

    def read_folder(path: Path) -> None:
        inner = path.with_name("inner")
        inner.mkdir(exist_ok=True)
        place = inner / "clip.npy"
        path.rename(place)
        try:
            read_store(inner)
        except VmrtoolError as error:
            raise type(error)(str(error).replace("clip.npy", path.name)) from error

    return {
        "catalog": (good / "c.db", read_catalog),
        "checkpoint": (good / "m.safetensors", load_model),
        "weights": (good / "w.pt", read_weights),
        "GloVe": (good / "g.txt", lambda path: load_word_vectors(path, dim=8)),
        "GloVe zip": (good / "g.zip", lambda path: load_word_vectors(path, dim=8)),
        "JSONL": (good / "q.jsonl", read_jsonl),
        "HDF5": (good / "f.h5", read_store),
        "npy": (good / "clip.npy", read_folder),
    }
