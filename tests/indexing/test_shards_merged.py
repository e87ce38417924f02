"""Two parts of an archive, indexed with `--shard` and merged, are what one run makes of it."""

import json
import sqlite3
from pathlib import Path

import pytest
from indexing_fakes import write_video
from tiny_zoo import write_zoo
from typer.testing import CliRunner

from vmrtool.assets import models
from vmrtool.cli import app

pytestmark = pytest.mark.usefixtures("one_thread")

# All that a catalog says of its videos, without the numbers that rows happen to have.
TOLD = {
    "videos": "SELECT r.path, v.path, size, mtime_ns, content_hash, duration_s, width, height, "
    "rotation, fps, codec, container, truncated, state "
    "FROM videos AS v JOIN roots AS r ON r.id = root_id",
    "features": "SELECT content_hash, backbone, weights_sha256, settings, chunk, n, dim, data, "
    "seen, cells FROM features JOIN extractors AS e ON e.id = extractor_id",
    "failures": "SELECT path, stage, error, remedy, attempts FROM failures",
    "settings": "SELECT key, value FROM settings WHERE key NOT IN ('catalog', 'extractor')",
}


def run(*words: str | Path, code: int = 0) -> dict:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return json.loads(result.stdout)


def told(catalog: Path) -> dict[str, list[tuple]]:
    db = sqlite3.connect(catalog)
    try:
        return {name: sorted(db.execute(sql), key=repr) for name, sql in TOLD.items()}
    finally:
        db.close()


def test_two_shards_merged_are_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = write_zoo(tmp_path / "zoo", trained=True)
    monkeypatch.setattr(models, "zoo_folder", lambda: zoo)
    archive = tmp_path / "archive"
    for number in range(6):
        write_video(archive / f"{number % 2}" / f"{number}.mp4", number, frames=20 + 9 * number)
    (archive / "notes.mp4").write_text("no video")
    index = ["index", archive, "--model", "blocks", "--device", "cpu", "--catalog"]
    one, merged = tmp_path / "one.db", tmp_path / "merged.db"
    parts = [tmp_path / "1.db", tmp_path / "2.db"]

    alone = run(*index, one, code=1)
    done = [
        CliRunner().invoke(app, [*map(str, index), str(part), "--shard", f"{number}/2"])
        for number, part in enumerate(parts, start=1)
    ]
    assert sorted(result.exit_code for result in done) == [0, 1]  # one of them has the failure
    shares = [json.loads(result.stdout)["indexed"] for result in done]
    assert sum(shares) == alone["indexed"] == 6 and min(shares) >= 3 - 1
    assert run("catalog", "merge", merged, *parts)["videos"] == 7

    assert told(merged) == told(one)
    assert len(told(one)["features"]) == 6 and len(told(one)["failures"]) == 1
    query = ["search", "the red circle", "--top", "50", "--device", "cpu", "--catalog"]
    answers = [run(*query, catalog) for catalog in (one, merged)]
    assert answers[0]["moments"] and answers[0]["moments"] == answers[1]["moments"]
    # The vectors that the first search made are the same as well.
    vectors = "SELECT content_hash, first, data, spans FROM windows JOIN vectors ON window_id = id"
    stored = []
    for catalog in (one, merged):
        db = sqlite3.connect(catalog)
        stored.append(sorted(db.execute(vectors)))
        db.close()
    assert stored[0] and stored[0] == stored[1]
