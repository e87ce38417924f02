"""Index the real videos with the full-width I3D: every file ends as indexed or as a failure.

    python benchmarks/real_videos.py [--stride 64] [--data FOLDER]

The weights are the seeded stand-in of the reference folder beside the data, so the features mean
nothing; the network, the decoding and the time they take are those of the public weights.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Write the weights, index, print a row for benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=64)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    data = options.data or Path(os.environ.get("VMRTOOL_TEST_DATA") or default)
    videos, reference = data / "videos", data.parent / "reference"
    if not videos.is_dir() or not reference.is_dir():
        sys.exit(f"no real data at {data}: set VMRTOOL_TEST_DATA")
    with tempfile.TemporaryDirectory() as folder:
        weights, catalog = Path(folder) / "i3d.pt", Path(folder) / "vmrtool.db"
        make = [sys.executable, str(reference / "make_i3d_checkpoint.py"), str(weights)]
        subprocess.run(make, check=True)
        command = [sys.executable, "-m", "vmrtool", "index", str(videos), "--catalog", str(catalog)]
        command += ["--backbone", "i3d", "--weights", str(weights), "--stride", str(options.stride)]
        began = time.monotonic()
        done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, text=True)
        elapsed = time.monotonic() - began
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)
    report = json.loads(done.stdout)
    files = sum(1 for path in videos.rglob("*") if path.is_file())
    ended = report["indexed"] + report["copies"] + len(report["failed"])
    print(f"{files} files, {report['indexed']} indexed, {report['copies']} copies")
    for failure in report["failed"]:
        print(f"failed: {Path(failure['path']).name}: {failure['stage']}: {failure['error']}")
    rate = report["seconds_of_video"] / elapsed
    print(
        f"{report['seconds_of_video']:.0f} s of video in {elapsed:.0f} s: {rate:.2f} seconds of "
        f"video a second, full width, stride {options.stride}, {os.cpu_count()} cores"
    )
    if ended != files:
        sys.exit(f"{files - ended} of {files} files ended as neither indexed nor failed")


if __name__ == "__main__":
    main()
