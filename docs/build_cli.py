"""Write docs/cli.md from the commands' own `--help`.

    python docs/build_cli.py

A test calls `reference()` and fails when the page is out of date.
"""

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# The command line

Every command's `--help`, as it prints it; `python docs/build_cli.py` writes this page. How the
commands work together is in the [guide](guide.md), what they print in [formats](formats.md).

Exit codes: 0 done; 1 done, but some inputs failed, each listed with its reason; 2 wrong usage;
3 nothing to work with (no catalog, no such model, …); 130 interrupted.
"""


def help_of(*command: str) -> str:
    """What `vmrtool COMMAND --help` prints, 96 columns wide, without colours."""
    environment = {**os.environ, "COLUMNS": "96", "TERM": "dumb", "NO_COLOR": "1"}
    environment["XDG_CONFIG_HOME"] = os.devnull
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", "vmrtool", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def subcommands(*command: str) -> list[str]:
    """Names of the commands below `command`, in the order of its help."""
    from typer.main import get_command

    from vmrtool.cli import app

    group = get_command(app)
    for name in command:
        group = group.commands[name]
    return list(getattr(group, "commands", {}))


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    pending: list[tuple[str, ...]] = [()]
    while pending:
        command = pending.pop(0)
        title = " ".join(("vmrtool", *command))
        parts.append(f"## {title}\n\n```text\n{help_of(*command)}\n```\n")
        pending = [(*command, name) for name in subcommands(*command)] + pending
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
