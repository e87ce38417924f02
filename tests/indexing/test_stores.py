"""Archives in stores: S3 as moto serves it, a web server, and file://."""

import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from indexing_fakes import FakeExtractor, write_video
from moto_server import WHY, s3_served
from tiny_zoo import write_zoo
from typer.testing import CliRunner, Result

from vmrtool.addresses import Address
from vmrtool.assets import models
from vmrtool.catalog import Catalog
from vmrtool.catalog.paths import absolute
from vmrtool.cli import app
from vmrtool.errors import MediaError, StoreError, UsageError
from vmrtool.indexing.extraction import extract
from vmrtool.indexing.pipeline import index
from vmrtool.indexing.report import IndexReport, Noted
from vmrtool.media import at_hand, stores

pytest.importorskip("fsspec", reason=WHY.format("fsspec"))
pytestmark = pytest.mark.usefixtures("one_thread")


class Archive:
    """A folder of small videos, and the same in a store at `root`."""

    def __init__(self, folder: Path, root: str) -> None:
        self.folder, self.root = folder, root

    def address(self, name: str) -> Path:
        return absolute(f"{self.root}/{name}")

    def put(self, name: str, data: bytes) -> None:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        raise NotImplementedError

    def video(self, name: str, seed: int, frames: int = 12) -> bytes:
        data = write_video(self.folder / name, seed, frames).read_bytes()
        self.put(name, data)
        return data

    def index(self, catalog: Path, extractor: FakeExtractor | None = None, **how: Any) -> Any:
        made = extractor or FakeExtractor()
        return index([how.pop("root", self.root)], catalog, made.source, **how), made


class Bucket(Archive):
    def __init__(self, folder: Path, client: Any, name: str) -> None:
        super().__init__(folder, f"s3://{name}/archive")
        self.client, self.bucket = client, name
        client.create_bucket(Bucket=name)

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"archive/{name}", Body=data)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"archive/{name}")


class Pages(Archive):
    """A web server's folder; what is served lies in `served`."""

    def __init__(self, folder: Path, served: Path, base: str) -> None:
        super().__init__(folder, f"{base}/archive")
        self.served = served / "archive"

    def put(self, name: str, data: bytes) -> None:
        path = self.served / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.served / name).unlink()


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_served() as client:
        yield client


BUCKETS = itertools.count(1)


@pytest.fixture
def bucket(s3: Any, tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "here", s3, f"bucket-{next(BUCKETS)}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    pytest.importorskip("aiohttp", reason=WHY.format("aiohttp"))
    served = tmp_path_factory.mktemp("served")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield served, f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


@pytest.fixture
def pages(server: tuple[Path, str], tmp_path: Path) -> Iterator[Pages]:
    served, base = server
    yield Pages(tmp_path / "here", served, base)
    shutil.rmtree(served / "archive", ignore_errors=True)


@pytest.fixture(params=["bucket", "pages"])
def archive(request: pytest.FixtureRequest) -> Archive:
    return request.getfixturevalue(request.param)


def counts(report: IndexReport) -> dict[str, int]:
    told = report.to_dict()
    names = ("indexed", "unchanged", "renamed", "copies", "missing")
    return {name: told[name] for name in names if told[name]} | (
        {"failed": len(report.failed)} if report.failed else {}
    )


def names(catalog: Path, state: str) -> list[str]:
    with Catalog.open(catalog) as opened:
        return [str(row.path) for row in opened.videos(state=state)]


def stored(catalog: Path) -> list[tuple]:
    db = sqlite3.connect(catalog)
    try:
        sql = (
            "SELECT v.path, size, content_hash, duration_s, width, codec, container, state, n, "
            "dim, data, seen, cells FROM videos AS v LEFT JOIN features USING (content_hash)"
        )
        return sorted(db.execute(sql).fetchall(), key=repr)
    finally:
        db.close()


# What becomes of objects -----------------------------------------------------------------------


def test_objects_are_what_files_are(archive: Archive, tmp_path: Path) -> None:
    """Found by name or content, indexed, known again, renamed, changed, gone."""
    catalog = tmp_path / "v.db"
    first = archive.video("a.mp4", 1)
    archive.video("sub/b.mp4", 2)
    archive.put("sub/no suffix", first)
    archive.put("text.mp4", b"no video")
    for name, data in (("notes.txt", b"x" * 600), (".hidden.mp4", first), ("song.m4a", first)):
        archive.put(name, data)
    report, made = archive.index(catalog)
    assert counts(report) == {"indexed": 2, "copies": 1, "failed": 1}
    failure = report.failed[0]
    assert failure.path == archive.address("text.mp4") and str(tmp_path) not in failure.error
    assert failure.error.startswith("not a video")
    kept = names(catalog, "indexed")
    assert [kept[0], kept[1]] == [f"{archive.root}/a.mp4", f"{archive.root}/sub/b.mp4"]
    assert len(made.asked) == 2

    again, made = archive.index(catalog)
    assert counts(again) == {"unchanged": 3, "failed": 1} and made.asked == []

    archive.put("moved.mp4", first)
    archive.remove("a.mp4")
    archive.remove("sub/b.mp4")
    archive.remove("sub/no suffix")
    archive.video("text.mp4", 3)
    last, made = archive.index(catalog)
    assert counts(last) == {"indexed": 1, "renamed": 1, "missing": 2} and len(made.asked) == 1
    assert names(catalog, "missing")[0] == f"{archive.root}/sub/b.mp4"
    assert not list(Path(stores._folder()).glob("[0-9]*"))  # no copy is left


def test_an_object_that_changed_is_read_again(bucket: Bucket, tmp_path: Path) -> None:
    """Also within a second and to the same length: the ETag tells."""
    bucket.put("a.mp4", b"0" * 100)
    catalog = tmp_path / "v.db"
    before, _ = bucket.index(catalog)
    bucket.put("a.mp4", b"1" * 100)
    after, _ = bucket.index(catalog)
    assert counts(before) == counts(after) == {"failed": 1}
    assert stored(catalog)[0][2] == hashlib.blake2b(b"1" * 100, digest_size=32).hexdigest()


def test_single_objects_and_nothing_there(archive: Archive, tmp_path: Path) -> None:
    archive.video("a.mp4", 1)
    archive.video("b.mp4", 2)
    catalog = tmp_path / "v.db"
    one, _ = archive.index(catalog, root=f"{archive.root}/a.mp4")
    assert counts(one) == {"indexed": 1}
    for address in (f"{archive.root}/c.mp4", f"{archive.root}/nowhere/"):
        with pytest.raises(UsageError, match="no such bucket, folder or object"):
            archive.index(catalog, root=address)
    both, _ = archive.index(catalog, exclude=["b*"])
    assert counts(both) == {"unchanged": 1}


def test_a_bucket_that_is_not_there(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="s3://no-such-bucket-at-all: no such bucket"):
        bucket.index(tmp_path / "v.db", root="s3://no-such-bucket-at-all")
    assert not (tmp_path / "v.db").exists()


def test_names_that_no_path_keeps_are_told(bucket: Bucket, tmp_path: Path) -> None:
    data = bucket.video("a.mp4", 1)
    bucket.put("x//b.mp4", data)
    told: list[object] = []
    report, _ = bucket.index(tmp_path / "v.db", on_event=told.append)
    assert counts(report) == {"indexed": 1}
    assert any(
        isinstance(event, Noted) and "1 objects are left out" in event.text for event in told
    )


# A store that fails ----------------------------------------------------------------------------


def test_a_store_that_does_not_answer_changes_nothing(
    pages: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.video("a.mp4", 1)
    catalog = tmp_path / "v.db"
    pages.index(catalog)
    with Catalog.open(catalog, readonly=False) as opened:
        # The same archive at an address where nobody listens.
        opened.relocate(absolute(pages.root), absolute("http://127.0.0.1:9/archive"))
    with pytest.raises(StoreError, match="cannot be read") as caught:
        pages.index(catalog, root="http://127.0.0.1:9/archive")
    assert caught.value.exit_code == 3 and "nothing" not in str(caught.value)
    assert caught.value.remedy and "credentials" in caught.value.remedy
    assert names(catalog, "missing") == []


def refusal(code: str, text: str) -> Exception:
    """What s3fs raises for an answer of S3."""
    answer = {"Error": {"Code": code, "Message": text}}
    error = pytest.importorskip("botocore.exceptions").ClientError(answer, "GetObject")
    return pytest.importorskip("s3fs.errors").translate_boto_error(error)


def test_keys_that_s3_does_not_know(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise refusal("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist")

    bucket.video("a.mp4", 1)
    catalog = tmp_path / "v.db"
    bucket.index(catalog)
    bucket.video("b.mp4", 2)
    files = stores._of_scheme("s3")
    monkeypatch.setattr(stores, "PAUSE_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(files, "get_file", refuse)
        with pytest.raises(StoreError, match="access denied: The AWS Access Key"):
            bucket.index(catalog)
    with monkeypatch.context() as patch:
        patch.setattr(files, "find", refuse)
        with pytest.raises(StoreError, match="access denied"):
            bucket.index(catalog)
    assert names(catalog, "indexed") == [f"{bucket.root}/a.mp4"] and not names(catalog, "missing")
    assert counts(bucket.index(catalog)[0]) == {"indexed": 1, "unchanged": 1}


def test_copying_is_tried_again_and_what_is_denied_or_gone_is_a_failure(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("breaks.mp4", "denied.mp4", "gone.mp4")):
        bucket.video(name, number)
    files, tried = stores._of_scheme("s3"), []
    get_file = files.get_file

    def unreliable(source: str, target: str) -> None:
        tried.append(Path(source).name)
        if source.endswith("breaks.mp4") and tried.count("breaks.mp4") < 3:
            Path(target).write_bytes(b"half")
            raise ConnectionResetError("the line is dead")
        if source.endswith("denied.mp4"):
            raise refusal("AccessDenied", "Access Denied")
        if source.endswith("gone.mp4"):
            raise FileNotFoundError(source)
        get_file(source, target)

    monkeypatch.setattr(files, "get_file", unreliable)
    monkeypatch.setattr(stores, "PAUSE_S", 0.0)
    report, _ = bucket.index(tmp_path / "v.db")
    assert counts(report) == {"indexed": 1, "failed": 2}
    assert tried == ["breaks.mp4"] * 3 + ["denied.mp4", "gone.mp4"]
    reasons = {failure.path.name: failure.error for failure in report.failed}
    assert "access denied" in reasons["denied.mp4"] and "no such object" in reasons["gone.mp4"]


def test_what_brought_a_decoder_down_is_not_copied_again(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the supervisor knows of a copy whose it is, after the process that made it."""
    bucket.video("a.mp4", 1)
    address = Address(f"{bucket.root}/a.mp4")
    local = stores.LocalFile(address)
    assert stores.original(local.path) == address and stores.original(tmp_path) == tmp_path
    quarantine = {os.fsencode(address): "the decoder died of it (SIGSEGV)"}
    monkeypatch.setattr(at_hand, "_quarantine", quarantine)
    local.close()
    with pytest.raises(MediaError, match="died of it"):
        _ = stores.LocalFile(address).path
    report, made = bucket.index(tmp_path / "v.db")
    assert report.failed[0].error == "the decoder died of it (SIGSEGV)" and made.asked == []


def test_copies_of_a_killed_process_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(stores.tempfile, "mkdtemp", lambda prefix: made(tmp_path / f"{prefix}new"))
    left, young, busy = (tmp_path / f"{stores._COPIES}{n}" for n in ("left", "young", "busy"))
    for folder in (left, young, busy):
        made(folder)
        (folder / "lock").touch()
        if folder != young:
            os.utime(folder, (1, 1))
    with stores.held(busy / "lock"):
        assert stores._folder.__wrapped__() == tmp_path / f"{stores._COPIES}new"
    assert not left.exists() and young.exists() and busy.exists()


def made(folder: Path) -> str:
    folder.mkdir()
    return str(folder)


# Through the command ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zoo(tmp_path_factory.mktemp("zoo"), trained=True)


def run(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_the_same_catalog_as_on_disk(
    archive: Archive, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit; and searches show addresses, cut clips, and make pages that say what is not."""
    monkeypatch.setattr(models, "zoo_folder", lambda: zoo)
    for number in range(2):
        archive.video(f"{number}.mp4", number, frames=40)
    here, there, by_file = (tmp_path / f"{name}.db" for name in ("here", "there", "file"))
    words = ["index", "--model", "blocks", "--device", "cpu", "--catalog"]
    run(*words, here, archive.folder)
    run(*words, by_file, archive.folder.as_uri())
    told = json.loads(run(*words, there, archive.root).stdout)
    assert told["indexed"] == 2
    assert stored(there) == stored(here) == stored(by_file)
    assert names(by_file, "indexed") == names(here, "indexed")

    ask = ["search", "red circle", "--top", "2", "--per-video", "1", "--device", "cpu"]
    page, clips = tmp_path / "page.html", tmp_path / "clips"
    found = run(
        *(*ask, "--catalog", there, "--html", page),
        *("--clips", clips, "--thumbnails", tmp_path / "pictures"),
    )
    moments = json.loads(found.stdout)["moments"]
    videos = [moment["video"] for moment in moments]
    assert sorted(videos) == [f"{archive.root}/0.mp4", f"{archive.root}/1.mp4"]
    local = json.loads(run(*ask, "--catalog", here).stdout)["moments"]
    assert [(m["start"], m["score"]) for m in moments] == [(m["start"], m["score"]) for m in local]
    assert len(list(clips.glob("*.mp4"))) == 2 == len(list((tmp_path / "pictures").iterdir()))
    assert page.read_text().count("This video is in a store") == 2
    assert archive.root in run(*ask, "--catalog", there, "--format", "edl").stdout
    one = run("search", "red", "--catalog", there, "--video", "*/1.mp4", "--format", "paths")
    assert one.stdout == f"{archive.root}/1.mp4\n"

    # No secret of the store is in the catalog.
    assert b"nobody" not in there.read_bytes()
    assert json.loads(run("catalog", "info", "--catalog", there).stdout)["roots"] == [
        {"path": archive.root, "videos": 2}
    ]
    run("catalog", "show", archive.address("0.mp4"), "--catalog", there)
    run("catalog", "verify", "--catalog", there)


def test_features_alone(bucket: Bucket, tmp_path: Path) -> None:
    bucket.video("sub/a.mp4", 1)
    bucket.put("text.mp4", b"no video")
    for unchanged in (0, 1):
        report = extract([bucket.root], tmp_path / "out", FakeExtractor().source)
        assert len(report.unchanged) == unchanged and len(report.extracted) == 1 - unchanged
        assert report.failed[0].path == bucket.address("text.mp4")
    assert (tmp_path / "out" / "sub" / "a.npy").exists()


def test_errors_of_the_command(
    bucket: Bucket, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "zoo_folder", lambda: zoo)
    monkeypatch.chdir(tmp_path)
    signed = run("index", "https://host/a.mp4?sig=s3cr3t", code=2)
    assert "s3cr3t" not in signed.output and "query" in signed.stderr
    assert "no such bucket" in run("index", "s3://no-such-bucket-at-all", code=2).stderr
    assert "cannot be read" in run("index", "http://127.0.0.1:9/", code=3).stderr
    bucket.put("notes.txt", b"nothing")
    empty = run("index", bucket.root, "--model", "blocks")
    assert f"note: no videos in {bucket.root}" in empty.stderr
    assert json.loads(empty.stdout)["indexed"] == 0


def test_what_reads_stores_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    stores._of_scheme.cache_clear()
    result = run("index", "s3://bucket", "--catalog", tmp_path / "v.db", code=3)
    assert "s3fs, which is not installed" in result.stderr and "vmrtool[remote]" in result.stderr
    stores._of_scheme.cache_clear()
