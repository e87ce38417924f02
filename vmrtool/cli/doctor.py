"""`vmrtool doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vmrtool.cli.catalog import CatalogOption, JsonOption, print_json

if TYPE_CHECKING:
    from vmrtool.doctor import Finding

_MARKS = {
    "ok": ("✓", "green"),
    "note": ("·", "dim"),
    "missing": ("!", "yellow"),
    "broken": ("✗", "red"),
}


def doctor(
    context: typer.Context, catalog: CatalogOption = None, as_json: JsonOption = False
) -> None:
    """What this machine has, what is missing and the remedy; 3 where nothing can work."""
    from vmrtool.cli.config import effective
    from vmrtool.doctor import diagnose

    told = effective(context.find_root(), [f"--catalog={catalog}"] if catalog else [])
    options = [
        (" ".join((*row["command"], f"--{row['option']}")), row["value"], row["source"])
        for row in told["options"]
        if row["source"] != "default"
    ]
    diagnosis = diagnose(catalog, options)
    if not print_json(as_json, diagnosis.to_dict()):
        print_findings(diagnosis.findings)
    if not diagnosis.works:
        raise typer.Exit(3)


def print_findings(findings: tuple[Finding, ...]) -> None:
    """The findings by topic, a line each and the remedy under it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vmrtool.catalog.paths import printable

    out = Console(highlight=False)
    grid = Table.grid(padding=(0, 2))
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            grid.add_row("", Text(topic, style="bold"))
        mark, style = _MARKS[finding.state]
        text = Text(printable(finding.found), overflow="fold")
        if finding.remedy and finding.state != "ok":
            text.append(f"\n{printable(finding.remedy)}", style="dim")
        grid.add_row(Text(mark, style=style), finding.name, text)
    out.print(grid)
