"""The whole job on a rendered archive: render, index, search, and compare with the truth.

    python examples/demo.py [--videos 20] [--seed 7] [--dir demo-archive]

It runs the same commands a user would, and prints each before its output.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

console = Console()


def vmrtool(*arguments: str, capture: bool = False) -> str:
    """Run `vmrtool ARGUMENTS`, showing the command; its stdout where `capture` is asked for."""
    shown = " ".join(f'"{a}"' if " " in a else a for a in arguments)
    console.print(f"\n[bold]$ vmrtool {shown}[/]", highlight=False, soft_wrap=True)
    done = subprocess.run(
        [sys.executable, "-m", "vmrtool", *arguments],
        stdout=subprocess.PIPE if capture else None,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout or ""


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Intersection over union of two spans in seconds."""
    inside = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return inside / (a[1] - a[0] + b[1] - b[0] - inside)


def main() -> None:
    """Render, index, search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dir", type=Path, default=Path("demo-archive"))
    options = parser.parse_args()
    folder, catalog = options.dir, options.dir / "vmrtool.db"
    began = time.monotonic()

    size = ["--videos", f"{options.videos}", "--seed", f"{options.seed}"]
    vmrtool("demo", "render", f"{folder}", *size)
    vmrtool("index", f"{folder}", "--model", "blocks", "--catalog", f"{catalog}")
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [json.loads(line) for line in lines]
    # Every video where each query's event happens: a moment in any of them is right.
    truths: dict[str, list[tuple[str, list[list[float]]]]] = {}
    for query in queries:
        place = (str((folder / query["video"]).resolve()), query["relevant_windows"])
        truths.setdefault(query["event"], []).append(place)

    chosen = random.Random(options.seed).sample(queries, min(8, len(queries)))
    # One in full, without a condition ("... after ..."): at those the model is worst.
    plain = (q for q in chosen if " after " not in q["event"] and " before " not in q["event"])
    shown = next(plain, chosen[0])["query"]
    vmrtool("search", shown, "--catalog", f"{catalog}", "--top", "5", "--format", "table")
    asked = folder / "asked.txt"
    asked.write_text("".join(f"{query['query']}\n" for query in chosen), encoding="utf-8")
    answers = vmrtool(
        "search", "--queries", f"{asked}", "--catalog", f"{catalog}", "--top", "1", capture=True
    )

    table = Table(title="The first answer of each search, beside the truth", title_justify="left")
    for heading in ("query", "video", "found", "truth", "IoU"):
        table.add_column(heading, justify="right" if heading == "IoU" else "left")
    right = 0
    for query, line in zip(chosen, answers.splitlines(), strict=True):
        moment = json.loads(line)["moments"][0]
        found = (moment["start"], moment["end"])
        spans = [
            span
            for video, windows in truths[query["event"]]
            if video == moment["video"]
            for span in windows
        ]
        best = max(spans, key=lambda span: overlap(found, tuple(span)), default=None)
        iou = overlap(found, tuple(best)) if best else 0.0
        right += iou >= 0.5
        table.add_row(
            query["query"],
            Path(moment["video"]).stem,
            f"{found[0]:.1f} to {found[1]:.1f} s",
            f"{best[0]:.1f} to {best[1]:.1f} s" if best else f"in {query['vid']}",
            f"[{'green' if iou >= 0.5 else 'red'}]{iou:.2f}[/]",
        )
    console.print(table)
    console.print(
        f"{right} of {len(chosen)} right at IoU 0.5; rendered, indexed and searched "
        f"{options.videos} videos in {time.monotonic() - began:.0f} s."
    )


if __name__ == "__main__":
    main()
