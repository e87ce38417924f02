"""The command line: one module a command, each of which parses, calls the library and renders.

Nothing here imports torch, faiss, av or sqlite_utils before a command needs them, so that
`vmrtool --help` answers at once.
"""

import ctypes
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from vmrtool.cli import catalog, data, demo, extract, index, models, search, supervision, train
from vmrtool.cli import eval as evaluate
from vmrtool.errors import VmrtoolError


def report_error(message: str, remedy: str | None = None) -> None:
    """Print an error, and under it what to do next, to stderr."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(message)}")
    if remedy:
        console.print(f"[dim]{escape(remedy)}[/]")


def _debugging() -> bool:
    return os.environ.get("VMRTOOL_DEBUG", "").lower() not in ("", "0", "false", "no", "off")


class _Commands(TyperGroup):
    """Turns errors into one to three lines on stderr and DESIGN's exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            own = type(error).__module__.partition(".")[0] == "typer"  # usage errors, exits
            if own or isinstance(error, BrokenPipeError):
                raise
            if _debugging():
                traceback.print_exc()
            if isinstance(error, VmrtoolError):
                report_error(str(error), error.remedy)
                raise typer.Exit(error.exit_code) from error
            if isinstance(error, OSError):
                where = f"{error.filename}: " if error.filename else ""
                report_error(f"{where}{error.strerror or error}")
                raise typer.Exit(3) from error
            report_error(
                f"unexpected {type(error).__name__}: {error}",
                "This is a defect; `vmrtool --debug …` shows where it comes from.",
            )
            raise typer.Exit(1) from error


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
        from vmrtool import __version__

        typer.echo(f"vmrtool {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="VMRTOOL_DEBUG", help="Show tracebacks.")
    ] = False,
) -> None:
    """Options that come before the command."""
    if debug:
        os.environ["VMRTOOL_DEBUG"] = "1"


app.command("index")(index.index)
app.command("extract")(extract.extract)
app.command("search")(search.search)
app.command("train")(train.train)
app.command("eval")(evaluate.eval)
app.add_typer(catalog.catalog_app, name="catalog")
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
