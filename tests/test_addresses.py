"""Addresses in stores, which stand where paths do."""

import os
import pickle
from pathlib import Path

import pytest

from vmrtool.addresses import Address, as_path
from vmrtool.catalog.paths import absolute, display, from_key, path_key, relative_key
from vmrtool.errors import MediaError, UsageError
from vmrtool.media.probe import probe


@pytest.mark.parametrize(
    "text",
    ["s3://bucket", "s3://bucket/a b/ü.mp4", "gs://b/x.mkv", "https://host:8000/v/x%20y.mp4"],
)
def test_an_address_is_kept_as_it_is_written(text: str) -> None:
    address = absolute(text)
    assert isinstance(address, Address) and str(address) == os.fspath(address) == text
    # As it comes from a command line that reads paths.
    assert absolute(Path(text)) == address and str(absolute(Path(text))) == text
    assert from_key(path_key(address)) == address
    assert display(path_key(address)) == text
    assert pickle.loads(pickle.dumps(address)) == address
    assert address.absolute() == address and address.is_absolute()
    assert not address.exists() and not address.is_file()


def test_it_has_the_parts_of_a_path() -> None:
    address = absolute("s3://bucket/a/b.MP4")
    assert (address.name, address.suffix, address.stem) == ("b.MP4", ".MP4", "b")
    assert str(address.parent) == "s3://bucket/a" and isinstance(address.parent, Address)
    assert str(address.relative_to(absolute("s3://bucket"))) == "a/b.MP4"
    assert absolute("s3://bucket") in address.parents
    assert absolute("s3://bucket/a/") == address.parent != absolute("s3://bucket/A")
    assert relative_key(b"s3://bucket", path_key(address)) == b"a/b.MP4"
    assert len({address, absolute("s3://bucket/a/b.MP4")}) == 1
    assert absolute("https://host/ü").as_uri() == "https://host/%C3%BC"


def test_other_paths_are_what_they_were() -> None:
    assert as_path("a/b.mp4") == Path("a/b.mp4")
    assert absolute("file:///archive/a%20b") == absolute(Path("file:///archive/a%20b"))
    assert absolute("file:///archive/a%20b") == Path("/archive/a b")
    for name in ("s3:x", "c:/x", "ftp://host/x", "https:"):
        assert not isinstance(absolute(name), Address)


@pytest.mark.parametrize(
    "text",
    [
        "https://me:secret@host/a.mp4",
        "s3://KEY:secret@bucket/a.mp4",
        "https://host/a.mp4?X-Amz-Signature=secret",
        "http://host/#secret",
    ],
)
def test_secrets_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="catalogs keep") as caught:
        absolute(text)
    assert "secret@" not in str(caught.value) and "=secret" not in str(caught.value)
    assert caught.value.remedy


def test_a_decoder_gets_no_address() -> None:
    with pytest.raises(MediaError, match=r"s3://bucket/a\.mp4: in a store") as caught:
        probe(absolute("s3://bucket/a.mp4"))
    assert "relocate" in str(caught.value.remedy)


def test_a_key_in_s3_may_hold_a_question_mark() -> None:
    assert str(absolute("s3://bucket/what?.mp4")) == "s3://bucket/what?.mp4"
