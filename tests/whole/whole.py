"""What the whole-job tests share: the command line in its own process, and a small archive."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def vmrtool(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "vmrtool", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
    )


@dataclass(frozen=True)
class Archive:
    """A rendered archive: its folder, its catalog, its queries."""

    folder: Path
    catalog: Path
    queries: list[dict[str, Any]]


def make_archive(folder: Path, videos: int, seed: int) -> Archive:
    """Render an archive and index it for `blocks`."""
    catalog = folder / "vmrtool.db"
    done = vmrtool("demo", "render", folder, "--videos", str(videos), "--seed", str(seed))
    assert done.returncode == 0, done.stderr
    done = vmrtool("index", folder, "--model", "blocks", "--catalog", catalog, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["indexed"] == videos
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return Archive(folder, catalog, [json.loads(line) for line in lines])
