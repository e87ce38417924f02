"""Measure extraction: speed against a plain loop, decoding alone, memory, and a GPU.

    python benchmarks/extraction.py                  # speed and memory on this processor
    python benchmarks/extraction.py --part speed     # or one of: speed, memory
    python benchmarks/extraction.py --part gpu       # on a GPU

The plain loop is what public extraction code does, over this project's own network: one float32
clip at a time, contiguous, batch norms not folded. Weights are seeded, so features mean nothing;
the network and the time it takes are those of the published I3D. Every measurement is a process of
its own, so that none profits from another's memory.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

REPOSITORY = Path(__file__).parent.parent
VIDEOS = ("charades/OB660.mp4", "charades/75F82.mp4")
MATRIX = 8192
# The command line with PyTorch loaded beforehand, which takes seconds, as in the plain loop.
COMMAND = "import torch, vmrtool.features.extract, vmrtool.cli; vmrtool.cli.main()"


def main() -> None:
    """Measure the parts asked for, and print rows for benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["speed", "memory", "gpu"], action="append")
    parser.add_argument("--data", type=Path, help="the real data; else $VMRTOOL_TEST_DATA")
    parser.add_argument("--videos", type=Path, nargs="+", help="measure with these instead")
    parser.add_argument("--hours", type=float, default=2.0, help="of the long file (memory)")
    parser.add_argument("--device", default="cuda", help="for the part gpu")
    parser.add_argument("--width", type=float, default=1.0, help="of the network (gpu), to try it")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--plain", type=int, metavar="STRIDE", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain is not None:
        print(json.dumps(plain_loop(options.videos, options.weights, options.plain)))
        return
    print(f"{machine()}; torch {torch.__version__}; {date.today()}, commit {commit()}")
    for part in options.part or ["speed", "memory"]:
        if part == "memory":
            memory(options.hours)
        else:
            videos = options.videos or real_videos(options.data)
            (gpu(options, videos) if part == "gpu" else speed(videos))


# Speed on a processor --------------------------------------------------------------------------


def speed(videos: Sequence[Path]) -> None:
    """Seconds of video a second: the plain loop, this program, decoding alone."""
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(Path(folder) / "i3d.pt")
        measured: dict[str, float] = {}

        def show(name: str, rate: float, beside: str | None = None) -> None:
            measured[name] = rate
            times = f"{rate / measured[beside]:.1f} times the plain loop" if beside else ""
            print(f"| {name} | {rate:.2f} | {times} |", flush=True)

        print("| | seconds of video a second | |\n|---|---|---|")
        show("decoding alone", decode_rate(videos))
        for stride, ours in ((64, ("windows",)), (16, ("windows", "dense"))):
            plain = f"plain loop, stride {stride}"
            command = [sys.executable, __file__, "--plain", str(stride), "--weights", str(weights)]
            show(plain, run([*command, "--videos", *map(str, videos)])["rate"])
            for sampling in ours:
                for precision in ("float32", "auto"):
                    if stride == 16 and (sampling, precision) == ("windows", "float32"):
                        continue  # four times as long as at stride 64, and nothing new
                    rate, chosen = extract_rate(videos, weights, stride, sampling, precision)
                    name = f"vmrtool extract, stride {stride}, {sampling}, {chosen}"
                    if name not in measured:
                        show(name, rate, plain)


def plain_loop(videos: Sequence[Path], weights: Path, stride: int) -> dict[str, float]:
    """One float32 clip at a time, contiguous, nothing folded, decoding in between."""
    from vmrtool.features.i3d import InceptionI3D
    from vmrtool.features.published import BACKBONES
    from vmrtool.features.windows import WindowCutter
    from vmrtool.media.decode import FrameReader

    began, seconds = time.monotonic(), 0.0
    want = BACKBONES["i3d"].preprocessing
    network = InceptionI3D()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()

    @torch.inference_mode()
    def compute(pictures: Sequence[np.ndarray]) -> None:
        clip = torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2)[None]
        network((clip.float() / 127.5 - 1).contiguous()).mean(dim=2).numpy()

    for path in videos:
        cutter: WindowCutter[np.ndarray] = WindowCutter(want.frames, stride)
        with FrameReader(path, fps=want.fps, framing=want.framing) as reader:
            for picture in reader:
                for window in cutter.push(picture):
                    compute(window)
        for window in cutter.finish():
            compute(window)
        seconds += reader.duration_s
    return {"rate": seconds / (time.monotonic() - began)}


def extract_rate(
    videos: Sequence[Path],
    weights: Path,
    stride: int,
    sampling: str,
    precision: str,
    device: str = "cpu",
) -> tuple[float, str]:
    """Seconds of video a second of `vmrtool extract`, and the precision it took."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", COMMAND, "extract", *map(str, videos), "--out", out]
        command += ["--backbone", "i3d", "--weights", str(weights), "--stride", str(stride)]
        command += ["--sampling", sampling, "--precision", precision, "--device", device, "--json"]
        report = run(command)
        about = json.loads(next(Path(out).glob("*.json")).read_text())
    return (
        report["seconds_of_video"] / report["elapsed_s"],
        about["extractor"]["settings"]["precision"],
    )


def decode_rate(videos: Sequence[Path]) -> float:
    """Seconds of video a second when nothing but decoding is done, a thread a core."""
    from vmrtool.features.published import BACKBONES
    from vmrtool.media.decode import FrameReader

    want = BACKBONES["i3d"].preprocessing

    def decode(path: Path) -> float:
        with FrameReader(path, fps=want.fps, framing=want.framing) as reader:
            for _ in reader:
                pass
        return reader.duration_s

    began = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        seconds = sum(threads.map(decode, videos))
    return seconds / (time.monotonic() - began)


# Memory ----------------------------------------------------------------------------------------


def memory(hours: float) -> None:
    """Peak memory for a long 1080p file beside that for one of two minutes."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        short = write_1080p(Path(folder) / "short.mp4", seconds=10)
        for name, seconds in (("2 minutes", 120.0), (f"{hours:g} hours", hours * 3600)):
            path = loop(short, Path(folder) / "long.mp4", seconds)
            command = [sys.executable, "-m", "vmrtool", "extract", str(path)]
            command += ["--out", str(Path(folder) / name), "--backbone", "blocks"]
            command += ["--stride", "64", "--precision", "auto", "--device", "cpu", "--json"]
            peaks[name], report = peak_of(command)
            told = report["seconds_of_video"] / report["elapsed_s"]
            row = f"| {name} of 1080p | {peaks[name]:.0f} MB | {told:.0f} s of video a second |"
            print(row, flush=True)
    low, high = peaks.values()
    print(f"| ratio | {high / low:.3f} | |")


def write_1080p(path: Path, seconds: int) -> Path:
    """A 1080p video, 5 frames a second, of gradients that drift."""
    import av

    rate, (height, width) = 5, (1080, 1920)
    y, x = np.mgrid[0:height, 0:width]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(rate * seconds):
            planes = [(x + 7 * number) % 256, (y + 5 * number) % 256, (x + y) % 256]
            picture = np.stack(planes, axis=2).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def loop(source: Path, path: Path, seconds: float) -> Path:
    """The same packets again and again, until the video is that long; nothing is encoded."""
    import av

    with av.open(str(source)) as given, av.open(str(path), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [(p, p.pts, p.dts) for p in given.demux(stream) if p.dts is not None]
        step = packets[-1][0].duration + max(pts for _, pts, _ in packets)
        length = Fraction(step) * stream.time_base
        for turn in range(round(seconds / length)):
            for packet, pts, dts in packets:
                packet.pts, packet.dts = pts + turn * step, dts + turn * step
                packet.time_base, packet.stream = stream.time_base, copy
                out.mux(packet)
    return path


def peak_of(command: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Most memory that a command ever held, MB, and what it printed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, else KiB
    return usage.ru_maxrss / unit, json.loads(told)


# A GPU -----------------------------------------------------------------------------------------


def gpu(options: argparse.Namespace, videos: Sequence[Path]) -> None:
    """Clips a second by batch and precision, beside what matrix products reach; then end to end."""
    from vmrtool.features.backbones import Backbone
    from vmrtool.features.i3d import InceptionI3D
    from vmrtool.features.published import BACKBONES

    torch.set_float32_matmul_precision("high")  # as cuDNN's convolutions are by default
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a processor"
    info = BACKBONES["i3d"]
    work = clip_flops(options.width)
    print(f"{name}; {work / 1e9:.0f} GFLOP a clip\n")
    print("| precision | batch | clips a second | dense, seconds of video a second | share |")
    print("|---|---|---|---|---|")
    for precision in ("float32", "bfloat16"):
        ceiling = matrix_flops(device, getattr(torch, precision), options.width)
        torch.manual_seed(0)
        network = InceptionI3D(width=options.width)
        network.fold_batch_norms()
        backbone = Backbone(network, info, weights_sha256="", device=device, precision=precision)
        for batch in options.batches:
            try:
                clips = clips_a_second(backbone, batch)
                dense = dense_rate(backbone, batch)
            except torch.OutOfMemoryError:
                print(f"| {precision} | {batch} | does not fit | | |")
                break
            share = 100 * clips * work / ceiling
            print(f"| {precision} | {batch} | {clips:.1f} | {dense:.0f} | {share:.0f} % |")
        print(f"| {precision} | matrix products | {ceiling / 1e12:.1f} TFLOP/s | | 100 % |")
    if options.width != 1.0:
        return
    print("\n| end to end | seconds of video a second |\n|---|---|")
    print(f"| decoding alone | {decode_rate(videos):.1f} |")
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(Path(folder) / "i3d.pt")
        for stride, sampling in ((64, "windows"), (16, "windows"), (16, "dense")):
            rate, precision = extract_rate(
                videos, weights, stride, sampling, "auto", options.device
            )
            print(f"| stride {stride}, {sampling}, {precision} | {rate:.1f} |", flush=True)


def clip_flops(width: float) -> float:
    """Floating-point operations of a clip of 64 frames of 224 x 224."""
    from torch.utils.flop_counter import FlopCounterMode

    from vmrtool.features.i3d import InceptionI3D

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        InceptionI3D(width=width).eval()(torch.empty(1, 3, 64, 224, 224))
    return float(counter.get_total_flops())


def matrix_flops(device: torch.device, dtype: torch.dtype, width: float) -> float:
    """Operations a second that products of large square matrices reach."""
    side = MATRIX if width == 1.0 else MATRIX // 16
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / timed(lambda: a @ b, device)


def clips_a_second(backbone: Any, batch: int) -> float:
    """Clips a second from pictures that are on the device already."""
    want = backbone.info.preprocessing
    height, width = want.framing.size
    shape = (batch, want.frames, height, width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=backbone.device)
    return batch / timed(lambda: backbone(backbone.clips(frames)), backbone.device)


def dense_rate(backbone: Any, batch: int) -> float:
    """Seconds of video a second of a pass in stretches of half a batch of windows."""
    want = backbone.info.preprocessing
    height, width = want.framing.size
    shape = (1, want.frames * batch // 2, height, width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=backbone.device)
    stream = backbone.stream()
    backbone.advance(stream, backbone.clips(frames), last=False)
    took = timed(
        lambda: backbone.advance(stream, backbone.clips(frames), last=False), backbone.device
    )
    return shape[1] / want.fps / took


def timed(function: Callable[[], Any], device: torch.device, least_s: float = 1.0) -> float:
    """Seconds that a call takes, the mean over about a second of them, given to it in one go."""

    def of(calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - began) / calls

    of(1)
    return of(max(1, round(least_s / of(1))))


# What all parts share --------------------------------------------------------------------------


def write_weights(path: Path) -> Path:
    """Seeded weights in the format of the public checkpoint."""
    from vmrtool.features.i3d import InceptionI3D

    torch.manual_seed(0)
    network = InceptionI3D()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.save(network.state_dict(), path)
    return path


def real_videos(data: Path | None) -> list[Path]:
    """Two videos of the real data."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = (data or Path(os.environ.get("VMRTOOL_TEST_DATA") or default)) / "videos"
    videos = [folder / name for name in VIDEOS]
    if not all(path.is_file() for path in videos):
        sys.exit(f"no real videos at {folder}: set VMRTOOL_TEST_DATA, or give --videos")
    return videos


def run(command: Sequence[str]) -> dict[str, Any]:
    """What a command prints as JSON."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment())
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def environment() -> dict[str, str]:
    """This process's, with this repository's package first."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def machine() -> str:
    """Processor and cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit that is measured."""
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
