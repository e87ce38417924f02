"""Checksums of files, written as "algorithm:hexadecimal".

"git" is git's own name for a content, the SHA-1 of "blob SIZE", a zero byte and the content: for a
file in a public repository it is known without anyone having published another checksum.
"""

import hashlib
from pathlib import Path

ALGORITHMS = ("sha256", "md5", "git")


def checksum_of(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file, as "algorithm:hexadecimal".

    Raises:
        ValueError: an algorithm that is none of `ALGORITHMS`.
        OSError: the file cannot be read.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"unknown checksum algorithm {algorithm!r}")
    with path.open("rb") as file:
        if algorithm == "git":
            digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            digest = hashlib.file_digest(file, algorithm)
    return f"{algorithm}:{digest.hexdigest()}"


def fits(path: Path, checksum: str) -> bool:
    """Whether a file has this checksum."""
    return checksum_of(path, checksum.partition(":")[0]) == checksum.lower()
