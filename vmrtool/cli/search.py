"""`vmrtool search`: find moments in an indexed archive."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmrtool.cli import completion
from vmrtool.cli.console import message_console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from vmrtool.report.moment_files import MomentFolder
    from vmrtool.search.result import SearchResult


_TOGETHER = 32  # queries of a file that are answered in one go


class Format(StrEnum):
    """How answers are written."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"
    m3u = "m3u"
    mpv = "mpv"
    vtt = "vtt"
    srt = "srt"
    edl = "edl"
    paths = "paths"


def search(
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="What to look for, as a sentence.")
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Answer one query a line."),
    ] = None,
    catalog: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The catalog, or several; else the nearest vmrtool.db."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|RUN|FILE",
            help="The grounding model; else the catalog's own.",
            autocompletion=completion.models,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Most moments in all.")] = 10,
    shortlist: Annotated[int, typer.Option(min=1, help="Videos to look into.")] = 50,
    windows_per_video: Annotated[
        int, typer.Option(min=1, help="Windows to look into, of each video.")
    ] = 4,
    per_video: Annotated[int, typer.Option(min=1, help="Most moments of one video.")] = 3,
    video: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Only videos whose name or path fits.",
            autocompletion=completion.videos,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Only files changed since: 2026-11-24, or 12h, 7d, 2w."),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(metavar="MIN-MAX", help="Only videos so long, in seconds; 30-, -120 do too."),
    ] = None,
    index_factory: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="FAISS's name of the index for the shortlist: Flat, IVF4096,SQ8, ...",
            show_default="by the number of vectors",
        ),
    ] = None,
    nprobe: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Of an IVF index: lists to look into.",
            show_default="an eighth",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    keep_encoded: Annotated[
        bool | None,
        typer.Option(
            "--keep-encoded/--no-keep-encoded",
            help="Keep videos encoded by the model: faster queries, a larger catalog.",
            show_default="as the catalog remembers, else not",
        ),
    ] = None,
    output: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How to answer.", show_default="table on a terminal, else json"
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write a page to look at: pictures, curves, videos."
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also cut the moments out, each with a JSON file."),
    ] = None,
    pad: Annotated[
        float, typer.Option(metavar="S", min=0, help="With --clips: seconds more on either side.")
    ] = 0.0,
    reencode: Annotated[
        bool,
        typer.Option("--reencode", help="With --clips: exact cuts, encoded anew (H.264, AAC)."),
    ] = False,
    thumbnails: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write a picture of each moment, as JPEG."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    file: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file, in the format of its suffix unless told; vtt and srt also to "
            "DIR/, a file for each video.",
        ),
    ] = None,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="With --format paths: end each with a NUL byte.")
    ] = False,
) -> None:
    """Find the moments that a sentence describes, best first."""

    from vmrtool.errors import UsageError
    from vmrtool.search.query import query_words

    if (query is None) == (queries is None):
        raise UsageError(
            "give a query, or --queries FILE, not both"
            if query is not None
            else "nothing to look for: give a query, or --queries FILE",
            remedy='For example: vmrtool search "person opens a door"',
        )
    asked: Iterable[str]
    if query is not None:
        query_words(query)
        asked = [query]
    else:
        asked = _read_queries(str(queries))
    if clips is None and (pad or reencode):
        raise UsageError("--pad and --reencode go with --clips DIR")
    write = _writer(output, file, as_json=as_json, many=queries is not None, null=null)
    messages = message_console()

    with _kept_for_good():
        from vmrtool.search.shards import open_archive

    with _pooling_shown(messages) as on_vectors:
        searcher = open_archive(
            catalog or (),
            model,
            device,
            index_factory=index_factory,
            nprobe=nprobe,
            keep_encoded=keep_encoded,
            on_vectors=on_vectors,
            on_index=lambda step: messages.print(f"{step} ...", style="dim", markup=False),
        )
    with searcher:
        # What needs a decoder is imported by those who ask for it.
        page = None
        if html is not None:
            from vmrtool.report.answers import AnswersPage

            page = AnswersPage(html, searcher.evidence, Path.cwd())
        many = queries is not None
        folders: list[MomentFolder] = []
        if clips is not None:
            from vmrtool.report.clips import ClipFolder

            folders.append(ClipFolder(clips, many, pad=pad, reencode=reencode))
        if thumbnails is not None:
            from vmrtool.report.thumbnails import ThumbnailFolder

            folders.append(ThumbnailFolder(thumbnails, many))
        for note in searcher.notes:
            messages.print(f"note: {note}", style="yellow", markup=False)
        if searcher.index:
            messages.print(f"shortlist: {searcher.index}", style="dim", markup=False)

        def answers() -> Iterator[SearchResult]:
            # Bytes that are not UTF-8 come in as surrogates, which JSON cannot carry.
            texts = (
                text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in asked
            )
            # From stdin one at a time: whoever asks may wait for each answer before asking on.
            size = 1 if queries == "-" else _TOGETHER
            while some := list(islice(texts, size)):
                results = searcher.search_many(
                    some,
                    top=top,
                    shortlist=shortlist,
                    windows_per_video=windows_per_video,
                    per_video=per_video,
                    video=video,
                    since=since,
                    duration=duration,
                )
                for result in results:
                    _warn(messages, result)
                    if page is not None:
                        page.add(result)
                    for folder in folders:
                        folder.add(result)
                    yield result

        write(answers())
        if page is not None:
            page.write()
            messages.print(f"page: {html}", markup=False)
        _tell_folders(messages, folders)


@contextmanager
def _kept_for_good() -> Iterator[None]:
    """For imports: the garbage collector leaves what they make alone, now and later.

    Looking through all of torch again and again is an eighth of the time it takes to import it,
    and a third of what it takes to open a catalog of 24,000 videos.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _tell_folders(console: Console, folders: Iterable[MomentFolder]) -> None:
    """Says how many files there are and which there are not; these make the exit code 1."""
    from vmrtool.catalog.paths import printable

    failed: dict[str, str | None] = {}  # a clip and a thumbnail may fail for one reason
    for folder in folders:
        what = f"{folder.written} {folder.kind}{'' if folder.written == 1 else 's'}"
        console.print(f"{what} -> {folder.folder}", markup=False)
        failed |= {printable(str(error)): error.remedy for _, error in folder.failed}
    console.quiet = False  # errors are told even so
    for error, remedy in failed.items():
        console.print(f"failed {error}", style="red", markup=False)
        if remedy:
            console.print(remedy, style="dim", markup=False)
    if failed:
        raise typer.Exit(1)


def _read_queries(source: str) -> Iterable[str]:
    """The queries of a file, all of them checked; or those of stdin, one by one as they come."""
    queries = _checked(source)
    return queries if source == "-" else list(queries)


def _checked(source: str) -> Iterator[str]:
    from vmrtool.errors import UsageError
    from vmrtool.search.query import query_words

    name = "stdin" if source == "-" else source
    for number, line in enumerate(_lines(source, name), start=1):
        text = line.strip()
        try:
            query_words(text)
        except UsageError as error:
            raise UsageError(f"{name}, line {number}: {error}") from error
        yield text


def _lines(source: str, name: str) -> Iterator[str]:
    from vmrtool.errors import UsageError

    try:
        if source == "-":
            yield from sys.stdin
        else:
            with Path(source).open(encoding="utf-8-sig") as lines:
                yield from lines
    except OSError as error:
        raise UsageError(f"cannot read queries from {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 text ({error.reason})") from error


def _writer(
    output: Format | None, target: str | None, *, as_json: bool, many: bool, null: bool
) -> Callable[[Iterable[SearchResult]], None]:
    """What writes the answers: in the format asked for, else in the one that fits the place.

    Raises:
        UsageError: the options do not go together, or no format is known by the file's suffix.
    """
    from vmrtool.cli.answers import write_file, write_stdout, write_table
    from vmrtool.errors import UsageError
    from vmrtool.report.formats import FORMATS, format_of

    if as_json and output not in (None, Format.json):
        raise UsageError(f"--json and --format {output} do not go together")
    chosen = "json" if as_json else None if output is None else output.value
    file = None if target is None else Path(target)
    if target is not None and file is not None and (target.endswith("/") or file.is_dir()):
        return _cue_folder(file, chosen)
    if chosen is None:
        chosen = format_of(file) if file else "table" if sys.stdout.isatty() else "json"
    if null and chosen != "paths":
        raise UsageError("-0 goes with --format paths")
    if chosen == "table":
        return lambda answers: write_table(answers, file)
    write = FORMATS["jsonl" if chosen == "json" and many else chosen].write
    if null:
        from vmrtool.report.paths import write_paths_null

        write = write_paths_null
    if file is not None:
        return lambda answers: write_file(answers, write, file)
    return lambda answers: write_stdout(answers, write)


def _cue_folder(folder: Path, chosen: str | None) -> Callable[[Iterable[SearchResult]], None]:
    """What writes a file for each video into a folder.

    Raises:
        UsageError: the format is not one of cues, or the folder is a file.
    """
    from vmrtool.errors import UsageError
    from vmrtool.report.cues import CUE_FILES, write_cue_files

    suffix = f".{chosen}"
    if suffix not in CUE_FILES:
        raise UsageError(
            f"--output {folder}: a folder, not a file",
            remedy="Name the file itself; only --format vtt and srt write a file for each video.",
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}/: a file, not a folder")
    return lambda answers: write_cue_files(answers, folder, suffix)


@contextmanager
def _pooling_shown(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Progress of what the first search after an index has to do; seen on a terminal only."""
    if not console.is_terminal:
        yield lambda done, total: None
        return

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("reading new videos", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=console, transient=True)
    with shown:
        task = shown.add_task("", total=None, visible=False)
        yield lambda done, total: shown.update(task, completed=done, total=total, visible=True)


def _warn(console: Console, result: SearchResult) -> None:
    """Says on stderr what the answer alone does not tell."""
    from vmrtool.search.query import query_words

    if result.unknown_words:
        unknown = ", ".join(result.unknown_words)
        every = set(query_words(result.query)) == set(result.unknown_words)
        what = (
            f"model {result.model} has never seen a word of this query ({unknown}): the ranking "
            "means little"
            if every
            else f"words that model {result.model} has never seen: {unknown}"
        )
        console.print(f"warning: {what}", style="yellow", markup=False)
    for note in result.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
