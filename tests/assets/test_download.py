"""One file over HTTP: whole, interrupted and resumed, corrupted, gone, on a full disk."""

import errno
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from loopback import Loopback

from vmrtool.assets import download as room
from vmrtool.assets.download import download
from vmrtool.assets.progress import Progress
from vmrtool.errors import AssetError, DiskError

BODY = bytes(range(256)) * 4000  # a megabyte


class Told(Progress):
    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int | None]] = []

    def at(self, file: str, done: int, total: int | None) -> None:
        self.steps.append((file, done, total))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_body(path: Path) -> str | None:
    return None if path.read_bytes() == BODY else "another file"


def test_a_whole_file(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", BODY)
    told = Told()
    download(url, tmp_path / "new" / "w.pt", check=is_body, progress=told)
    assert (tmp_path / "new" / "w.pt").read_bytes() == BODY
    assert left(tmp_path / "new") == ["w.pt"]
    assert told.steps[0] == ("w.pt", 0, len(BODY))
    assert told.steps[-1] == ("w.pt", len(BODY), len(BODY))


@pytest.mark.parametrize("how", [{}, {"tag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_a_broken_transfer_goes_on_where_it_broke_off(
    loopback: Loopback, tmp_path: Path, how: dict[str, Any]
) -> None:
    url = loopback.add("/w.pt", BODY, cuts=[300_000, 1, 400_000], **how)
    download(url, tmp_path / "w.pt", check=is_body)
    assert loopback.gets("/w.pt") == [None, "bytes=300000-", "bytes=300001-", "bytes=700001-"]
    assert left(tmp_path) == ["w.pt"]


def test_a_later_run_goes_on_too(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", BODY, cuts=[300_000, 0, 0, 0])
    with pytest.raises(AssetError, match=r"broke off after 0.3 MB of 1.0 MB; 0.3 MB have come"):
        download(url, tmp_path / "w.pt", check=is_body)
    assert left(tmp_path) == ["w.pt.part", "w.pt.part.json"]
    download(url, tmp_path / "w.pt", check=is_body)
    assert loopback.gets("/w.pt")[-1] == "bytes=300000-"
    assert left(tmp_path) == ["w.pt"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", b"x" * 500_000, cuts=[300_000, 0, 0, 0])
    with pytest.raises(AssetError):
        download(url, tmp_path / "w.pt")
    loopback.add("/w.pt", BODY, tag='"2"')
    download(url, tmp_path / "w.pt", check=is_body)
    assert loopback.gets("/w.pt")[-1] == "bytes=300000-"  # answered with the whole new file


@pytest.mark.parametrize(
    "how",
    [{"ranges": False}, {"tag": 'W/"1"'}, {"tag": None}],
    ids=["no ranges", "weak tag", "no version"],
)
def test_servers_that_cannot_resume(
    loopback: Loopback, tmp_path: Path, how: dict[str, Any]
) -> None:
    url = loopback.add("/w.pt", BODY, cuts=[300_000], **how)
    download(url, tmp_path / "w.pt", check=is_body)
    assert len(loopback.gets("/w.pt")) == 2


def test_the_beginning_of_a_file_from_elsewhere_is_not_continued(
    loopback: Loopback, tmp_path: Path
) -> None:
    other = loopback.add("/other.pt", b"x" * 500_000, cuts=[300_000, 0, 0, 0])
    with pytest.raises(AssetError):
        download(other, tmp_path / "w.pt")
    download(loopback.add("/w.pt", BODY), tmp_path / "w.pt", check=is_body)
    assert loopback.gets("/w.pt") == [None]


def test_all_had_come_before_the_program_was_killed(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", BODY)
    (tmp_path / "w.pt.part").write_bytes(BODY)
    (tmp_path / "w.pt.part.json").write_text(f'{{"url": "{url}", "version": "\\"1\\""}}')
    download(url, tmp_path / "w.pt", check=is_body)
    assert loopback.gets("/w.pt") == [f"bytes={len(BODY)}-"]
    # Longer than the server's file: it is another one.
    (tmp_path / "w.pt").rename(tmp_path / "w.pt.part")
    with (tmp_path / "w.pt.part").open("ab") as file:
        file.write(b"more")
    (tmp_path / "w.pt.part.json").write_text(f'{{"url": "{url}", "version": "\\"1\\""}}')
    download(url, tmp_path / "w.pt", check=is_body)
    assert left(tmp_path) == ["w.pt"]


def test_a_file_without_a_length(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", BODY, length=False)
    told = Told()
    download(url, tmp_path / "w.pt", check=is_body, progress=told)
    assert told.steps[-1] == ("w.pt", len(BODY), None)


def test_a_corrupted_file_is_refused_and_nothing_left(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", b"x" + BODY[1:])
    (tmp_path / "w.pt").write_bytes(b"what was here before")
    with pytest.raises(AssetError, match="another file"):
        download(url, tmp_path / "w.pt", check=is_body)
    assert left(tmp_path) == ["w.pt"]
    assert (tmp_path / "w.pt").read_bytes() == b"what was here before"


def test_a_corrupted_beginning_is_fetched_anew(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", BODY)
    (tmp_path / "w.pt.part").write_bytes(b"damaged by a fault of the disk")
    (tmp_path / "w.pt.part.json").write_text(f'{{"url": "{url}", "version": "\\"1\\""}}')
    download(url, tmp_path / "w.pt", check=is_body)
    assert loopback.gets("/w.pt") == ["bytes=30-", None]


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_file_that_is_not_there(loopback: Loopback, tmp_path: Path, code: int) -> None:
    url = loopback.add("/w.pt", BODY, fails=[code])
    with pytest.raises(AssetError, match=f"answers {code}"):
        download(url, tmp_path / "w.pt")
    assert left(tmp_path) == []
    assert len(loopback.requests) == 1


def test_a_server_that_is_busy_for_a_while(loopback: Loopback, tmp_path: Path) -> None:
    url = loopback.add("/w.pt", BODY, fails=[503, 429])
    download(url, tmp_path / "w.pt", check=is_body)
    loopback.add("/w.pt", BODY, fails=[500] * 9)
    with pytest.raises(AssetError, match="answers 500"):
        download(url, tmp_path / "w.pt")
    assert len(loopback.requests) == 6


def test_a_server_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PAUSE_S", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(AssetError, match=r"cannot be reached \(Connection refused\)"):
        download(f"http://127.0.0.1:{port}/w.pt", tmp_path / "w.pt")
    assert left(tmp_path) == []


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(room, "PAUSE_S", 0.0)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(AssetError, match=r"cannot be reached .*Name or service not known"):
        download("https://example.org/w.pt", tmp_path / "w.pt")


def test_a_silent_server_is_given_up(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "TIMEOUT_S", 0.1)
    url = loopback.add("/w.pt", BODY, delay_s=0.5)
    with pytest.raises(AssetError, match="timed out"):
        download(url, tmp_path / "w.pt")


class Disk(NamedTuple):
    free: int


def test_a_disk_too_small_is_told_before_it_is_filled(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Disk(1000))
    with pytest.raises(DiskError, match=r"disk is full \(1.0 MB are still to come\)") as caught:
        download(loopback.add("/w.pt", BODY), tmp_path / "w.pt")
    assert "goes on" in caught.value.remedy
    assert not (tmp_path / "w.pt").exists()


def test_a_disk_that_fills_up_on_the_way(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = loopback.add("/w.pt", BODY)
    written = room._Part.open

    class Full:
        """Takes the first 512 KiB."""

        def __init__(self, file: Any) -> None:
            self.file = file
            self.free = 1 << 19

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, block: bytes) -> None:
            self.file.write(block[: self.free])
            if len(block) > self.free:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.free -= len(block)

    monkeypatch.setattr(room._Part, "open", lambda part: Full(written(part)))
    with pytest.raises(DiskError, match="the disk is full"):
        download(url, tmp_path / "w.pt", check=is_body)
    assert left(tmp_path) == ["w.pt.part", "w.pt.part.json"]
    monkeypatch.setattr(room._Part, "open", written)
    download(url, tmp_path / "w.pt", check=is_body)
    assert loopback.gets("/w.pt") == [None, f"bytes={1 << 19}-"]


def test_a_folder_that_cannot_be_made(loopback: Loopback, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DiskError, match="cannot be written"):
        download(loopback.add("/w.pt", BODY), tmp_path / "taken" / "w.pt")


@pytest.mark.parametrize(
    "url",
    ["http://example.org/w.pt", "ftp://example.org/w.pt", "file:///etc/passwd", "w.pt"],
)
def test_only_https_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(AssetError, match="only https"):
        download(url, tmp_path / "w.pt")


def test_redirections_are_followed_to_safe_places_only(loopback: Loopback, tmp_path: Path) -> None:
    loopback.add("/w.pt", BODY)
    download(loopback.add("/old", b"", redirect="/w.pt"), tmp_path / "w.pt", check=is_body)
    for target in ("http://example.org/w.pt", "file:///etc/passwd"):
        with pytest.raises(AssetError, match=r"only https|answers 302"):
            download(loopback.add("/bad", b"", redirect=target), tmp_path / "x.pt")
