"""From a name to a checked file: where it is looked for, and what is done about wrong ones."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import Loopback, wait_for

from vmrtool.assets import cache, registry
from vmrtool.assets.cache import add, cached, expected, here, obtain, weights_path
from vmrtool.assets.checksum import checksum_of, fits
from vmrtool.assets.progress import Progress
from vmrtool.assets.registry import ASSETS, Asset, Source, annotation_files, find_asset
from vmrtool.errors import AssetError, MissingError

BODY = bytes(range(256)) * 4000
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


def asset(*urls: str, checksum: str | None = SHA256, **facts: object) -> Asset:
    made = Asset(
        name="net",
        kind="weights",
        folder="weights",
        file="net.pt",
        sources=tuple(Source(url) for url in urls),
        homepage="https://example.org",
        licence="MIT",
        description="a network",
        checksum=checksum,
    )
    return replace(made, **facts)


class Notes(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


# Checksums -------------------------------------------------------------------------------------


def test_checksums_are_those_of_the_tools(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"hello\n")
    # As sha256sum, md5sum and `git hash-object` print them.
    assert checksum_of(path) == (
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )
    assert checksum_of(path, "md5") == "md5:b1946ac92492d2347c6235b4d2611184"
    assert checksum_of(path, "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"
    assert fits(path, "git:CE013625030BA8DBA906F756967F9E9CA394464A")
    assert not fits(path, "md5:b1946ac92492d2347c6235b4d2611185")
    with pytest.raises(ValueError, match="crc"):
        checksum_of(path, "crc")


def test_the_registry_is_sound() -> None:
    for name, known in ASSETS.items():
        assert known.name == name
        assert known.file == Path(known.file).name
        assert all(url.startswith("https://") for url in known.urls)
        assert known.non_commercial == ("non-commercial" in known.licence)
        if known.checksum:
            algorithm, _, digits = known.checksum.partition(":")
            assert len(digits) == {"sha256": 64, "git": 40, "md5": 32}[algorithm]
            assert int(digits, 16)
    assert len({known.file for known in ASSETS.values()}) == len(ASSETS)
    with pytest.raises(MissingError, match="no asset 'vgg'"):
        find_asset("vgg")


def test_annotations_of_the_registry_are_the_real_ones(real_data: Path) -> None:
    folders = {"charades": "charades-sta", "activitynet": "activitynet-captions"}
    for dataset, folder in folders.items():
        files = annotation_files(dataset)
        assert len(files) == {"charades": 4, "activitynet": 3}[dataset]
        for known in files:
            path = real_data / folder / known.file
            assert path.stat().st_size == known.size
            assert fits(path, known.checksum or "")


# Where it is looked for ------------------------------------------------------------------------


def test_download_then_cache(loopback: Loopback) -> None:
    known = asset(loopback.add("/net.pt", BODY))
    notes = Notes()
    assert here(known) is None
    path = obtain(known, progress=notes)
    assert path == cached(known) == here(known)
    assert path.read_bytes() == BODY
    assert notes.lines == [f"downloading net.pt from {loopback.base.removeprefix('http://')}"]
    assert obtain(known) == path
    assert len(loopback.requests) == 1


def test_a_named_folder_comes_first(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = asset(loopback.add("/net.pt", BODY))
    obtain(known)
    monkeypatch.setenv("VMRTOOL_ASSETS", str(tmp_path / "mirror"))
    assert obtain(known) == cached(known)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "net.pt").write_bytes(BODY)
    assert obtain(known) == tmp_path / "mirror" / "net.pt" == here(known)
    (tmp_path / "mirror" / "net.pt").write_bytes(b"something else")
    with pytest.raises(AssetError, match=r"mirror/net.pt: not the published net.pt: its checksum"):
        obtain(known)


def test_a_named_base_url_is_asked_before_the_sources(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = asset(loopback.add("/public/net.pt", BODY))
    loopback.add("/mirror/net.pt", BODY)
    monkeypatch.setenv("VMRTOOL_ASSETS", f"{loopback.base}/mirror/")
    obtain(known)
    assert [path for path, _ in loopback.requests] == ["/mirror/net.pt"]
    cached(known).unlink()
    loopback.add("/mirror/net.pt", b"a mirror out of date")
    assert obtain(known).read_bytes() == BODY
    assert [path for path, _ in loopback.requests[1:]] == ["/mirror/net.pt", "/public/net.pt"]


def test_a_named_mirror_may_be_plain_http_and_nothing_else_may(
    monkeypatch: pytest.MonkeyPatch, loopback: Loopback
) -> None:
    asked = []
    monkeypatch.setattr(cache, "download", lambda url, *_, plain, **__: asked.append((url, plain)))
    monkeypatch.setenv("VMRTOOL_ASSETS", "http://mirror.lan/assets")
    cache._download(asset(), "http://mirror.lan/assets/net.pt", Path("net.pt"), Progress())
    cache._download(asset(), "http://elsewhere.lan/net.pt", Path("net.pt"), Progress())
    assert asked == [
        ("http://mirror.lan/assets/net.pt", True),
        ("http://elsewhere.lan/net.pt", False),
    ]


def test_the_next_source_where_one_fails(loopback: Loopback) -> None:
    wrong = loopback.add("/wrong/net.pt", b"x" + BODY[1:])
    known = asset(loopback.base + "/gone/net.pt", wrong, loopback.add("/net.pt", BODY))
    assert obtain(known).read_bytes() == BODY


def test_what_to_do_where_none_has_it(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = loopback.add("/wrong/net.pt", b"x" + BODY[1:])
    known = asset(loopback.base + "/gone/net.pt", wrong)
    monkeypatch.setitem(ASSETS, "net", known)
    with pytest.raises(AssetError, match=r"answers 404.*; .*its checksum is sha256:") as caught:
        obtain(known)
    for way in (known.urls[0], "vmrtool models add FILE --name net", "$VMRTOOL_ASSETS"):
        assert way in (caught.value.remedy or "")
    assert here(known) is None


def test_without_a_network_by_choice(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    known = asset(loopback.add("/net.pt", BODY))
    monkeypatch.setenv("VMRTOOL_OFFLINE", "1")
    with pytest.raises(AssetError, match=r"\$VMRTOOL_OFFLINE forbids"):
        obtain(known)
    assert loopback.requests == []


def test_a_damaged_file_in_the_cache_is_fetched_again(loopback: Loopback) -> None:
    known = asset(loopback.add("/net.pt", BODY))
    path = obtain(known)
    path.write_bytes(BODY[:-1])
    notes = Notes()
    assert obtain(known, progress=notes).read_bytes() == BODY
    assert "damaged" in notes.lines[0] and "fetched again" in notes.lines[0]


# A checksum nobody has published ---------------------------------------------------------------


def test_the_first_file_seen_is_held_to(loopback: Loopback) -> None:
    known = asset(loopback.add("/net.pt", BODY), checksum=None)
    assert expected(known) is None
    path = obtain(known)
    assert expected(known) == SHA256
    # The record can be checked with sha256sum.
    assert path.with_name("net.pt.sha256").read_text() == f"{SHA256[7:]}  net.pt\n"
    path.unlink()
    loopback.add("/net.pt", b"x" + BODY[1:])
    with pytest.raises(AssetError, match="as when it was first seen"):
        obtain(known)
    path.write_bytes(b"tampered with")
    loopback.add("/net.pt", BODY)
    assert obtain(known).read_bytes() == BODY


def test_a_named_folder_may_have_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = asset(checksum=None)
    monkeypatch.setenv("VMRTOOL_ASSETS", str(tmp_path))
    (tmp_path / "net.pt").write_bytes(BODY)
    assert obtain(known) == tmp_path / "net.pt"
    assert expected(known) == SHA256
    (tmp_path / "net.pt").write_bytes(b"another")
    with pytest.raises(AssetError, match="first seen"):
        obtain(known)


# In an archive ---------------------------------------------------------------------------------


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in files.items():
            archive.writestr(f"{name}.pt", body)
    return buffer.getvalue()


def test_a_member_of_an_archive_that_is_fetched_once(loopback: Loopback) -> None:
    url = loopback.add("/all.zip", zipped(**{"__MACOSX/net": b"not it", "in/net": BODY, "b": b"b"}))
    first = asset(sources=(Source(url, member="net.pt"),))
    other = replace(first, name="b", file="b.pt", checksum=None)
    other = replace(other, sources=(Source(url, member="b.pt"),))
    assert obtain(first).read_bytes() == BODY
    assert obtain(other).read_bytes() == b"b"
    assert loopback.gets("/all.zip") == [None]


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (zipped(net=BODY[1:]), "its checksum is"),
        (zipped(other=BODY), "there is no net.pt in it"),
        (b"no archive", "not a zip archive"),
        (zipped(net=BODY)[:-30], "not a zip archive"),
    ],
)
def test_wrong_archives(loopback: Loopback, archive: bytes, why: str) -> None:
    url = loopback.add("/all.zip", archive)
    known = asset(sources=(Source(url, member="net.pt"),))
    with pytest.raises(AssetError, match=why):
        obtain(known)
    # A copy of the file itself is the way out.
    known = replace(known, sources=(*known.sources, Source(loopback.add("/net.pt", BODY))))
    assert obtain(known).read_bytes() == BODY


def test_an_archive_in_the_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMRTOOL_ASSETS", str(tmp_path))
    (tmp_path / "all.zip").write_bytes(zipped(net=BODY))
    known = asset(sources=(Source("https://example.org/all.zip", member="net.pt"),))
    assert obtain(known).read_bytes() == BODY


# By hand ---------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Asset:
    """The one asset of a registry."""
    known = asset("https://example.org/net.pt")
    for room in (registry, cache):
        monkeypatch.setattr(room, "ASSETS", {"net": known})
    return known


def test_a_file_given_by_hand(small: Asset, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(BODY)
    assert add(tmp_path / "net.pt") == (small, cached(small))
    assert weights_path("net").read_bytes() == BODY
    assert add(cached(small)) == (small, cached(small))  # it is there already
    (tmp_path / "download(1)").write_bytes(BODY)
    assert add(tmp_path / "download(1)", "net") == (small, cached(small))


def test_wrong_files_given_by_hand(small: Asset, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"another")
    with pytest.raises(AssetError, match=r"not the published net\.pt"):
        add(tmp_path / "net.pt")
    (tmp_path / "mine.pt").write_bytes(b"mine")
    with pytest.raises(AssetError, match="does not tell which"):
        add(tmp_path / "mine.pt")
    with pytest.raises(MissingError, match="no asset 'mine'"):
        add(tmp_path / "mine.pt", "mine")
    with pytest.raises(AssetError, match="no such file"):
        add(tmp_path / "none.pt")
    assert here(small) is None


# Several processes -----------------------------------------------------------------------------

CODE = """
import sys
from vmrtool.assets.cache import obtain
from vmrtool.assets.progress import Progress
from vmrtool.assets.registry import Asset, Source

class Notes(Progress):
    def note(self, text):
        print(text, flush=True)

url, checksum = sys.argv[1:]
made = Asset("net", "weights", "weights", "net.pt", (Source(url),), "", "", "", checksum)
print(obtain(made, progress=Notes()), flush=True)
"""


def start(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, url, SHA256],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )


def test_two_processes_download_once(loopback: Loopback) -> None:
    known = asset(loopback.add("/net.pt", BODY, pause_s=0.1))
    first = start(known.urls[0])
    wait_for(lambda: len(loopback.requests) == 1)
    second = start(known.urls[0])
    said = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], said
    assert loopback.gets("/net.pt") == [None]
    assert "another process is downloading net.pt; waiting" in said[1]
    assert said[1].splitlines()[-1] == str(cached(known))
    assert cached(known).read_bytes() == BODY


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_killed_process_leaves_no_lock_and_its_bytes(loopback: Loopback) -> None:
    known = asset(loopback.add("/net.pt", BODY, pause_s=0.2))
    part = cached(known).with_name("net.pt.part")
    process = start(known.urls[0])
    wait_for(lambda: part.is_file() and part.stat().st_size > 0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    had = part.stat().st_size
    assert 0 < had < len(BODY)
    loopback.add("/net.pt", BODY)
    assert obtain(known).read_bytes() == BODY
    assert loopback.gets("/net.pt") == [None, f"bytes={had}-"]
