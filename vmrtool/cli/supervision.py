"""Running a command below a supervisor, so that a decoder which dies does not end the work.

The supervisor is this program without torch or libav in it. It starts the command again as a
process of its own and waits. Where that process is ended by a fault (a segmentation fault in a
decoder, say), the files that were being read then are tried one by one, each in another process;
those that bring it down are kept from the command, which is started once more, goes on where it
was, and records them as failures.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from vmrtool.media.at_hand import PIPE, QUARANTINE, apply, as_environment

# The ways in which a process ends itself by mistake. Being killed or told to stop is none of them.
_FAULTS = frozenset(
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")
    if hasattr(signal, name)
)  # fmt: skip
_TRIAL_S = 600.0
_BLAME_AFTER = 2  # faults that no file brings about by itself

# Unlike -m alone, -P keeps what lies in the folder that the user is in from being imported.
_PYTHON = (sys.executable, "-P", "-m")

_arguments: list[str] | None = None


def enable(arguments: list[str]) -> None:
    """Tells the command line that is run next, so that it can be started again."""
    global _arguments
    if sys.platform != "win32" and not os.environ.get(PIPE):
        _arguments = arguments


def supervised() -> None:
    """Does the command in a process of its own, unless it is in it already, or none is wanted.

    Raises:
        typer.Exit: the command is done; with its exit code.
    """
    if _arguments is not None:
        raise typer.Exit(supervise([*_PYTHON, "vmrtool", *_arguments]))


def supervise(command: list[str]) -> int:
    """Runs a command to its end, over as many processes as it takes; returns its exit code."""
    quarantine: dict[Path, str] = {}
    faults = 0
    while True:
        code, at_hand = _run(command, quarantine)
        if code >= 0:
            return code
        number = signal.Signals(-code)
        if number not in _FAULTS:
            if number == signal.SIGKILL:
                _tell("killed from outside, or for want of memory; the same command goes on")
            return 128 + number
        from vmrtool.media.stores import original  # only after a fault: it takes a while to import

        suspects = [path for path in dict.fromkeys(at_hand) if original(path) not in quarantine]
        if suspects:
            _tell(f"the decoder died ({number.name}); trying each video that was open")
        guilty = [path for path in suspects if _dies_of(path)]
        faults += not guilty
        if not guilty and faults >= _BLAME_AFTER:
            guilty = suspects
        if not guilty and (not suspects or faults >= _BLAME_AFTER):
            _tell(f"the program died ({number.name}), and of no video; the same command goes on")
            return 128 + number
        for path in guilty:
            quarantine[original(path)] = f"the decoder died of it ({number.name})"
        _tell(f"going on without {len(quarantine)} videos that the decoder dies of")


def _run(command: list[str], quarantine: dict[Path, str]) -> tuple[int, list[Path]]:
    """One process: how it ended, and the files that it had at hand then."""
    at_hand: list[Path] = []
    read, write = os.pipe()
    variables = {PIPE: str(write), QUARANTINE: as_environment(quarantine)}
    child = subprocess.Popen(command, env=_environment(**variables), pass_fds=[write])
    os.close(write)
    with _passing_on_signals(child), os.fdopen(read, "rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                apply(line, at_hand)
        return child.wait(), at_hand


def _environment(**variables: str) -> dict[str, str]:
    """This process's variables, with which another Python finds this very package."""
    package = os.fspath(Path(__file__).parent.parent.parent)
    paths = [*filter(None, [os.environ.get("PYTHONPATH")]), package]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}


@contextmanager
def _passing_on_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leaves it to the child what to do when the user wants to stop."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child.poll() is None:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _dies_of(path: Path) -> bool:
    """Whether a process of its own dies of decoding the file."""
    trial = [*_PYTHON, "vmrtool.media.trial", os.fspath(path)]
    try:
        done = subprocess.run(
            trial, timeout=_TRIAL_S, stdout=subprocess.DEVNULL, env=_environment()
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode < 0


def _tell(text: str) -> None:
    typer.secho(f"note: {text}", fg="yellow", err=True)
