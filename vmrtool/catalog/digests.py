"""Digests of what is stored as blobs, by which a changed bit is found.

A row's digest is BLAKE2b-128 of its `head`, the row's values as text, and its blobs one after the
other. They tell damage; whoever changes a catalog on purpose can change its digests as well.
"""

import hashlib
from typing import Any

SIZE = 16  # bytes

# The heads in SQL, for rows that were stored before there were digests.
FEATURES_HEAD = "content_hash || ' ' || chunk || ' ' || n || ' ' || dim"
VECTORS_HEAD = (
    "w.model || ' ' || w.content_hash || ' ' || w.first || ' ' || w.n || ' ' || v.n || ' ' || v.dim"
)


def digest(head: str | bytes, *blobs: bytes) -> bytes:
    """The digest of a row: `SIZE` bytes."""
    made = hashlib.blake2b(digest_size=SIZE)
    made.update(head.encode("utf-8", "replace") if isinstance(head, str) else head)
    for blob in blobs:
        made.update(blob)
    return made.digest()


def features_digest(
    content_hash: str, chunk: int, n: int, dim: int, data: bytes, seen: bytes, cells: bytes
) -> bytes:
    """The digest of a chunk of features."""
    return digest(f"{content_hash} {chunk} {n} {dim}", data, seen, cells)


def vectors_digest(
    window: tuple[str, str, int, int], n: int, dim: int, data: bytes, spans: bytes
) -> bytes:
    """The digest of the vectors of a `window`: its model, content, first snippet and snippets.

    That of its encoding is made in the same way, with cells in place of spans.
    """
    return digest(" ".join(map(str, (*window, n, dim))), data, spans)


def of_stored(head: Any, *blobs: Any) -> bytes | None:
    """`digest` as a function for SQL; NULL where a value is no blob."""
    if not all(isinstance(value, bytes) for value in (head, *blobs)):
        return None
    return digest(head, *blobs)
