"""`vmrtool catalog list`, `verify`, `remove` and `vacuum`: its videos, its soundness, its size."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmrtool.cli import completion
from vmrtool.cli.catalog import CatalogOption, JsonOption, catalog_app, print_json
from vmrtool.cli.console import message_console

if TYPE_CHECKING:
    from vmrtool.catalog.verification import Fault


class Sort(StrEnum):
    """What a list of videos is ordered by."""

    path = "path"
    size = "size"
    length = "length"
    changed = "changed"


class Wanted(StrEnum):
    """States of a video."""

    indexed = "indexed"
    failed = "failed"
    pending = "pending"
    missing = "missing"


@catalog_app.command("list")
def list_(
    glob: Annotated[
        str | None,
        typer.Argument(
            metavar="[GLOB]",
            help="Only videos whose name or path fits.",
            autocompletion=completion.videos,
        ),
    ] = None,
    state: Annotated[Wanted | None, typer.Option(help="Only videos in this state.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Only files changed since: 2026-11-24, or 12h, 7d, 2w."),
    ] = None,
    sort: Annotated[Sort, typer.Option(help="What to order by.")] = Sort.path,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """The videos, a line each: state, length, size, time of last change, path."""
    from vmrtool.catalog import Catalog
    from vmrtool.catalog.listing import changed_since
    from vmrtool.catalog.listing import videos as tell
    from vmrtool.catalog.paths import printable
    from vmrtool.config import find_catalog

    after = None if since is None else changed_since(since)
    with Catalog.open(find_catalog(catalog)) as opened:
        told = tell(
            opened,
            glob,
            state=None if state is None else state.value,
            since=after,
            sort=sort.value,
            reverse=reverse,
        )
    if print_json(as_json, told):
        return
    from datetime import datetime

    for row in told["videos"]:
        length = "-" if row["duration_s"] is None else f"{row['duration_s']:.1f} s"
        changed = datetime.fromtimestamp(row["mtime_ns"] // 10**9).strftime("%Y-%m-%d %H:%M")
        size = f"{row['size'] / 1e6:,.1f} MB"
        typer.echo(f"{row['state']:8}{length:>11}{size:>13}  {changed}  {printable(row['video'])}")
    if not told["videos"]:
        typer.echo("no videos")


@catalog_app.command()
def verify(
    files: Annotated[
        bool, typer.Option("--files", help="Also read the videos, and compare their contents.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop what is wrong, so that it is made again.")
    ] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look over every row and value; exit code 1 where something is wrong and stays so."""
    from rich.progress import Progress

    from vmrtool.catalog import Catalog, verification
    from vmrtool.catalog.paths import printable
    from vmrtool.config import find_catalog
    from vmrtool.indexing.hashing import content_hash

    path = find_catalog(catalog)
    repaired = 0
    with Progress(console=message_console(), transient=True) as bar:
        task = bar.add_task("verifying", total=None)
        with Catalog.open(path, readonly=not repair) as opened:
            verdict = verification.verify(
                opened,
                hash_file=content_hash if files else None,
                on_row=lambda rows: bar.update(task, completed=rows),
            )
            left = verdict.faults
            if repair and left:
                repaired = verification.repair(opened, left)
                left = verification.verify(opened).faults
    told: dict[str, Any] = {
        "schema": "vmrtool.catalogverify/1",
        "catalog": str(path),
        "sound": not verdict.faults,
        "checked": vars(verdict.counts),
        "faults": [_fault(fault) for fault in verdict.faults],
        "repaired": repaired,
        "left": [_fault(fault) for fault in left],
    }
    if not print_json(as_json, told):
        for fault in left if repair else verdict.faults:
            typer.echo(printable(f"{fault.table} {fault.row}: {fault.error}"))
            typer.echo(f"    {fault.remedy}")
        looked = ", ".join(f"{n:,} {name}" for name, n in told["checked"].items() if n)
        typer.echo(f"{looked or 'no rows'}: {len(verdict.faults) or 'nothing'} wrong")
        if repaired:
            typer.echo(f"{repaired:,} repaired; `vmrtool index` makes again what was dropped")
    if left:
        raise typer.Exit(1)


@catalog_app.command()
def remove(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VIDEO|GLOB...]",
            help="Paths, unique names, or globs.",
            autocompletion=completion.videos,
        ),
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Those whose files are gone; of VIDEOs, or all.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take videos out of the catalog with what was made from them; files are left alone."""
    from vmrtool.catalog import Catalog, upkeep
    from vmrtool.catalog.listing import brief, find_videos
    from vmrtool.catalog.paths import printable
    from vmrtool.config import find_catalog
    from vmrtool.errors import UsageError

    if not names and not missing:
        raise UsageError(
            "nothing to remove: name videos, or say --missing",
            remedy='For example: vmrtool catalog remove "raw/*" --dry-run',
        )
    path = find_catalog(catalog)
    with Catalog.open(path, readonly=dry_run) as opened:
        rows = find_videos(opened, names) if names else opened.videos(state="missing")
        rows = [row for row in rows if not missing or row.state == "missing"]
        contents = upkeep.orphaned(opened, rows)
        if not dry_run:
            contents = upkeep.remove(opened, rows)
    told: dict[str, Any] = {
        "schema": "vmrtool.remove/1",
        "catalog": str(path),
        "dry_run": dry_run,
        "removed": [brief(row) for row in rows],
        "contents": contents,
    }
    if print_json(as_json, told):
        return
    for row in told["removed"]:
        typer.echo(printable(row["video"]))
    done = "would be removed" if dry_run else "removed"
    typer.echo(f"{len(rows):,} {done}, with the features of {contents:,} contents")


@catalog_app.command()
def vacuum(catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Give the space of what was removed back to the disk."""
    from vmrtool.catalog import Catalog, upkeep
    from vmrtool.config import find_catalog

    path = find_catalog(catalog)
    with Catalog.open(path, readonly=False) as opened:
        done = upkeep.vacuum(opened)
    told = {
        "schema": "vmrtool.vacuum/1",
        "catalog": str(path),
        "bytes_before": done.before,
        "bytes_after": done.after,
        "backups_removed": [str(place) for place in done.backups],
        "indexes_removed": [str(place) for place in done.indexes],
    }
    if not print_json(as_json, told):
        typer.echo(f"{done.before / 1e6:,.1f} MB before, {done.after / 1e6:,.1f} MB now")
        for place in (*done.backups, *done.indexes):
            typer.echo(f"removed {place}")


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "table": fault.table,
        "row": fault.row,
        "error": fault.error,
        "remedy": fault.remedy,
        "repairable": fault.drop is not None,
    }
