"""What a file holds, as a hash: how renames, copies and changes are told apart."""

import hashlib
from pathlib import Path

_BLOCK = 1 << 20


def content_hash(path: Path) -> str:
    """BLAKE2b-256 of the whole file, in hexadecimal. Reads it in blocks of 1 MiB.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
