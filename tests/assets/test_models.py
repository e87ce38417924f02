"""`vmrtool models`: lists, facts, downloads, checksums."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback
from typer.testing import CliRunner

from vmrtool.assets import cache, listing, registry
from vmrtool.assets.cache import cached
from vmrtool.assets.registry import ASSETS, Asset, Source
from vmrtool.cli import app, models

BODY = b"weights " * 100_000
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


def run(*words: str, code: int = 0) -> Any:
    """What `vmrtool models WORDS` prints, read as JSON; its stderr where it fails."""
    done = CliRunner().invoke(app, ["models", *words])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout else done.stderr


@pytest.fixture
def i3d(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """The weights of i3d, published on the loopback server."""
    source = Source(loopback.add("/rgb_imagenet.pt", BODY))
    known = replace(ASSETS["i3d"], checksum=SHA256, size=len(BODY), sources=(source,))
    known_too = replace(ASSETS["i3d-r50"], sources=(Source(loopback.base + "/gone"),))
    small = {"i3d": known, "i3d-r50": known_too}
    for room in (registry, cache, listing):
        monkeypatch.setattr(room, "ASSETS", small)
    return known


def test_list_says_what_is_known_and_here(i3d: Asset) -> None:
    told = run("list")
    [blocks] = [row for row in told["models"] if row["name"] == "blocks"]
    assert blocks["backbone"] == "blocks"
    assert Path(blocks["weights"]).is_file() and Path(blocks["card"]).is_file()
    weights, unknown = told["assets"]
    assert (weights["licence"], weights["size"], weights["path"]) == ("Apache-2.0", len(BODY), None)
    assert weights["dim"] == 1024
    assert weights["preprocessing"] == {
        "fps": 24.0, "frames": 64, "resize": ["short", 256], "crop": [224, 224],
        "scaling": "[-1,1]",
    }  # fmt: skip
    assert (unknown["checksum"], unknown["checksum_published"]) == (None, False)
    run("pull", "i3d")
    assert run("list")["assets"][0]["path"] == str(cached(i3d))


def test_pull_downloads_once_and_tells_the_terms(i3d: Asset, loopback: Loopback) -> None:
    told = run("pull", "i3d", "blocks")
    assert told["failed"] == []
    [weights, blocks] = told["assets"]
    assert weights == {
        "name": "i3d", "path": str(cached(i3d)), "size": len(BODY), "checksum": SHA256,
        "licence": "Apache-2.0",
    }  # fmt: skip
    assert Path(blocks["path"]).name == "model.safetensors"
    run("pull", "i3d")
    assert len(loopback.requests) == 1


def test_pull_goes_on_after_a_failure_and_says_so(i3d: Asset) -> None:
    told = run("pull", "i3d-r50", "i3d", code=1)
    assert [row["name"] for row in told["assets"]] == ["i3d"]
    [failed] = told["failed"]
    assert failed["name"] == "i3d-r50" and "404" in failed["error"]
    assert "vmrtool models add" in failed["remedy"]
    assert "answers 404" in run("pull", "i3d-r50", code=3)
    assert "no asset 'vgg'" in run("pull", "vgg", code=3)


def test_info(i3d: Asset) -> None:
    told = run("info", "i3d")
    assert (told["intact"], told["urls"]) == (None, list(i3d.urls))
    run("pull", "i3d")
    assert run("info", "i3d")["intact"] is True
    cached(i3d).write_bytes(b"damaged")
    assert run("info", "i3d")["intact"] is False
    assert run("info", "blocks")["settings"]["network"]["variant"] == "ci-mha"
    assert "i3d-r50" in run("info", "vgg", code=3)


def test_verify(i3d: Asset) -> None:
    assert run("verify")["assets"] == []
    assert "models pull i3d" in run("verify", "i3d", code=3)
    run("pull", "i3d")
    [row] = run("verify")["assets"]
    assert row["intact"] and row["found"] == row["expected"] == SHA256
    cached(i3d).write_bytes(b"damaged")
    [row] = run("verify", "i3d", code=1)["assets"]
    assert not row["intact"] and row["found"] != row["expected"] == SHA256


def test_add(i3d: Asset, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(BODY)
    assert "--name" in run("add", str(tmp_path / "mine.bin"), code=3)
    told = run("add", str(tmp_path / "mine.bin"), "--name", "i3d")
    assert (told["path"], told["checksum"]) == (str(cached(i3d)), SHA256)
    assert cached(i3d).read_bytes() == BODY
    # Nobody has published a checksum of this one, so it is what others are held to.
    told = run("add", str(tmp_path / "mine.bin"), "--name", "i3d-r50")
    assert told["checksum"] == SHA256
    assert run("info", "i3d-r50")["checksum_published"] is False


def test_tables(i3d: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_as_json", lambda *_: False)
    monkeypatch.setenv("COLUMNS", "140")

    def shown(*words: str) -> str:
        done = CliRunner().invoke(app, ["models", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    listed = shown("list")
    for text in ("blocks", "backbone weights", "64 frames at 24 a second", "not here", "not known"):
        assert text in listed
    assert "not published" in shown("info", "i3d-r50")
    assert f"i3d: {cached(i3d)} (Apache-2.0)" in shown("pull", "i3d")
    told = shown("info", "i3d")
    for text in ("shorter side to 256, 224x224 from the centre", "intact", SHA256, "1024-d"):
        assert text in told
    assert "recipe" in shown("info", "blocks")
    assert shown("verify") == f"i3d: intact ({SHA256})\n"
    assert shown("add", str(cached(i3d))).startswith("i3d: ")
