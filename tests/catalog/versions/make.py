"""Write a small catalog of this version's schema as SQL text, to be opened by later versions.

    python tests/catalog/versions/make.py

makes `vN.sql` beside this file, N being the schema version. Run it before a migration is added, and
keep what it wrote: the dump of a version that is gone cannot be made again.
"""

import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from vmrtool.catalog import Catalog
from vmrtool.catalog.rows import (
    FileFacts,
    FoundFile,
    StoredEncoding,
    StoredSnippets,
    StoredWindow,
)

ROOT = Path("/archive")
SNIPPETS = {"kitchen.mp4": 12, "door \udcff.mp4": 5, "copy.mp4": 12}


def fill(path: Path, *, encodings: bool = False) -> None:
    """Two contents under three names, one no UTF-8 and one missing, and a video that failed.

    encodings: also a window that is kept encoded, which there is from version 3 on.
    """
    with Catalog.create_or_open(path) as catalog:
        extractor = catalog.extractor_id("stand-in", "5" * 64, {"stride": 16, "fps": 24})
        catalog.use_extractor(extractor)
        catalog.remember(catalog="0" * 32, model="blocks")
        for name, n in SNIPPETS.items():
            rng = np.random.default_rng(n)
            edges = np.arange(n + 1) * 0.5
            cells = np.stack([edges[:-1], edges[1:]], axis=1)
            features = rng.standard_normal((n, 7)).astype(np.float16)
            facts = FileFacts(n / 2, 320, 240, 0, 25.0, "h264", "mov", None)
            file = FoundFile(ROOT / name, ROOT, 1000 + n, 1_700_000_000_000_000_000)
            stored = StoredSnippets(features, cells, cells)
            catalog.save_video(file, f"{n:064x}", facts, extractor, stored)
        catalog.mark_missing([row for row in catalog.videos() if row.path.name == "copy.mp4"])
        file = FoundFile(ROOT / "broken.mp4", ROOT, 1, 1_700_000_000_000_000_000)
        catalog.set_failure(
            *(file, None, FileFacts(), extractor),
            stage="open",
            error="the file is empty",
            remedy="Copy it again.",
        )
        spans = np.array([[0, 3], [2, 4]], np.int32)
        vectors = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
        windows = [StoredWindow(f"{5:064x}", 0, 5, vectors, spans)]
        catalog.save_vectors("m", extractor, windows)
        if encodings:
            data = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float16)
            kept = replace(windows[0], encoding=StoredEncoding(data, data[:, :2].astype(float)))
            catalog.save_vectors("kept", extractor, [kept])


def dump(path: Path) -> str:
    """A catalog as SQL, with the marks that SQLite's own dump leaves out."""
    db = sqlite3.connect(path)
    pragmas = [
        f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]};"
        for name in ("application_id", "user_version")
    ]
    text = "\n".join([*pragmas, *db.iterdump()]) + "\n"
    db.close()
    return text


def restore(text: str, path: Path) -> Path:
    """The catalog that `dump` wrote."""
    db = sqlite3.connect(path)
    db.executescript(text)
    db.close()
    return path


if __name__ == "__main__":
    from vmrtool.catalog.schema import SCHEMA_VERSION

    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "v.db", encodings=True)
        text = dump(Path(folder) / "v.db")
    out = Path(__file__).with_name(f"v{SCHEMA_VERSION}.sql")
    out.write_text(text, encoding="utf-8")
