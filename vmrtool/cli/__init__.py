"""The command line: one module a command, each of which parses, calls the library and renders.

Nothing here imports torch, faiss, av or sqlite_utils before a command needs them, so that
`vmrtool --help` answers at once.
"""

import ctypes
import os
import sys
import time
import traceback
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from vmrtool.cli import (
    catalog_upkeep,
    config,
    console,
    data,
    demo,
    doctor,
    extract,
    index,
    models,
    search,
    settings,
    supervision,
    train,
)
from vmrtool.cli import eval as evaluate
from vmrtool.errors import VmrtoolError


def report_error(message: str, remedy: str | None = None) -> None:
    """Print an error, and under it what to do next, to stderr."""
    from vmrtool.catalog.paths import printable

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    said = ["\n".join(map(printable, text.split("\n"))) for text in (message, remedy or "")]
    console.print(f"[bold red]error:[/] {escape(said[0])}")
    if remedy:
        console.print(f"[dim]{escape(said[1])}[/]")


def _debugging() -> bool:
    return os.environ.get("VMRTOOL_DEBUG", "").lower() not in ("", "0", "false", "no", "off")


ANYWHERE = ("--quiet", "-q", "--verbose", "-v", "--debug")  # before the command or after it


def _told(error: Exception) -> typer.Exit:
    """Tells of an error; returns what ends the program with its exit code."""
    if _debugging():
        traceback.print_exc()
    if isinstance(error, VmrtoolError):
        report_error(str(error), error.remedy)
        return typer.Exit(error.exit_code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        report_error(f"{where}{error.strerror or error}")
        return typer.Exit(3)
    report_error(
        f"unexpected {type(error).__name__}: {error}",
        "This is a defect; `vmrtool --debug …` shows where it comes from.",
    )
    return typer.Exit(1)


class _Commands(TyperGroup):
    """Turns errors into one to three lines on stderr and DESIGN's exit codes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        first = [word for word in args[:end] if word in ANYWHERE]
        args = first + [word for word in args[:end] if word not in ANYWHERE] + args[end:]
        # A file that is wrong must not keep anybody from reading the help.
        if not ctx.resilient_parsing and not {"-h", "--help", "--version"} & set(args[:end]):
            try:
                ctx.default_map = settings.load(self, ctx, args).values
            except VmrtoolError as error:
                raise _told(error) from error
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            own = type(error).__module__.partition(".")[0] == "typer"  # usage errors, exits
            if own or isinstance(error, BrokenPipeError):
                raise
            raise _told(error) from error


app = typer.Typer(
    name="vmrtool",
    cls=_Commands,
    help="Find moments in a video archive from a sentence.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from vmrtool.cli.version import lines

        typer.echo("\n".join(lines()))
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the versions of vmrtool, torch, CUDA and FFmpeg.",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", envvar="VMRTOOL_QUIET", help="Only results and errors."),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", envvar="VMRTOOL_VERBOSE", help="Also each video, time and memory."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="VMRTOOL_DEBUG", help="Show tracebacks.")
    ] = False,
) -> None:
    """Options of all commands; they may stand before the command or after it."""
    console.quiet, console.verbose = quiet, verbose and not quiet
    if debug:
        os.environ["VMRTOOL_DEBUG"] = "1"
    if console.verbose:
        began = time.monotonic()
        context.call_on_close(lambda: _tell_costs(time.monotonic() - began))


def _tell_costs(seconds: float) -> None:
    """What a command took, on stderr."""
    told = f"{seconds:.1f} s"
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        told += f", at most {peak / 1e6:,.0f} MB of memory"
    console.message_console().print(told, style="dim", markup=False)


app.command("index", cls=index.IndexCommand)(index.index)
app.command("extract")(extract.extract)
app.command("search")(search.search)
app.command("train")(train.train)
app.command("eval")(evaluate.eval)
app.command("doctor")(doctor.doctor)
app.command("config")(config.config)
app.add_typer(catalog_upkeep.catalog_app, name="catalog")
app.add_typer(data.data_app, name="data")
app.add_typer(models.models_app, name="models")
app.add_typer(demo.demo_app, name="demo")


def _keep_freed_memory() -> None:
    """Has the process keep freed memory for its next large array, where the system is glibc's.

    Otherwise what each layer computes is given back and taken again, page by page, which is a
    tenth of the time of a clip.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold, never = -1, -3, 2**31 - 1
        library.mallopt(mmap_threshold, never)
        library.mallopt(trim_threshold, never)


def main() -> None:
    """Entry point of the `vmrtool` command."""
    # Threads that wait for each other must not spin: on a busy machine that costs tenfold, while
    # sleeping costs a few percent on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _keep_freed_memory()
    if hasattr(sys.stdout, "reconfigure"):
        # File names need not be UTF-8; printing one must not end the program.
        sys.stdout.reconfigure(errors="surrogateescape")
    supervision.enable(sys.argv[1:])
    app(prog_name="vmrtool")
