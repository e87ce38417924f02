"""Which files libav is at right now, told to a supervisor that outlives this process.

A damaged file can make a decoder write where it must not, which ends the whole process at once.
So a command that reads many files may run below a supervisor (`vmrtool.cli.supervision`), which
holds the other end of a pipe: every file is named there before libav touches it and again when it
is done. What was at hand when the process died is known, and kept from the next one.
"""

import base64
import json
import os
import select
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from vmrtool.errors import MediaError

PIPE = "VMRTOOL_AT_HAND"
QUARANTINE = "VMRTOOL_QUARANTINE"


@contextmanager
def at_hand(path: Path) -> Iterator[None]:
    """Names a file to the supervisor, if there is one, for the length of a block."""
    _tell("+", path)
    try:
        yield
    finally:
        _tell("-", path)


def quarantined(path: Path) -> str | None:
    """Why a file must not be opened; None where nothing is known against it."""
    return _quarantine.get(os.fsencode(path.absolute()))


def refuse_quarantined(path: Path) -> None:
    """Raises MediaError, stage 'decode', where something is known against a file."""
    reason = quarantined(path)
    if reason is not None:
        raise MediaError(
            f"{path}: {reason}",
            stage="decode",
            remedy="Convert it with another program, or leave it out with --exclude; "
            "--retry-failed tries it again.",
        )


def line(sign: str, path: Path) -> bytes:
    """What the pipe carries: "+" or "-" and the path's bytes in base64, a line."""
    return sign.encode() + base64.b64encode(os.fsencode(path.absolute())) + b"\n"


def apply(lines: bytes, files: list[Path]) -> None:
    """Brings the files at hand up to date with lines of the pipe; one may be there twice."""
    for told in lines.splitlines():
        path = Path(os.fsdecode(base64.b64decode(told[1:])))
        if told[:1] == b"+":
            files.append(path)
        elif path in files:
            files.remove(path)


def as_environment(reasons: Mapping[Path, str]) -> str:
    """Files not to be opened, with the reasons, as the variable `QUARANTINE` holds them."""
    return json.dumps(
        {base64.b64encode(os.fsencode(path)).decode(): why for path, why in reasons.items()}
    )


def _tell(sign: str, path: Path) -> None:
    if _pipe is not None:
        with suppress(OSError):
            os.write(_pipe, line(sign, path))


def _end_with_supervisor(pipe: int) -> None:
    """Waits until nobody holds the other end any more: this process is then nobody's."""
    poll = select.poll()
    poll.register(pipe, 0)  # errors are told always
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)


_pipe = int(os.environ[PIPE]) if os.environ.get(PIPE) else None
_quarantine = {
    base64.b64decode(key): str(why)
    for key, why in json.loads(os.environ.get(QUARANTINE) or "{}").items()
}
if _pipe is not None:
    threading.Thread(target=_end_with_supervisor, args=(_pipe,), daemon=True).start()
