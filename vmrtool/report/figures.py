"""An evaluation's document as tables of text, for a terminal or as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FigureTable:
    """A table ready to be drawn: a title, columns, rows of cells, and notes to stand below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def figure_tables(document: Mapping[str, Any]) -> list[FigureTable]:
    """The tables of a `vmrtool.eval/1` document: within the video, over the archive, by group.

    Where the document has printed rows they come first, then what needs no training, then the rest.
    """
    rows = document["rows"]
    within = [name for name in rows[0] if name.startswith(("R@", "mIoU"))]
    title = f"{document['dataset']}: {document['pairs']} queries, {document['truth']} truth"
    tables = [_within(title, document, within)]
    if searched := [row for row in rows if "video_R@1" in row]:
        over = [name for name in searched[0] if name.startswith(("video_", "corpus_R@1_"))]
        hit = (
            "any occurrence of the event" if document["hit"] == "event" else "the annotated moment"
        )
        title = f"over the whole archive; a hit is {hit}"
        columns = ("method", *(name.removeprefix("corpus_") for name in over))
        tables.append(FigureTable(title, columns, tuple(_row(row, over) for row in searched)))
    if "searches" in document:
        tables.append(_searches(document))
    if "breakdown" in document:
        short = [name for name in within if name.startswith("R@1_")] + ["mIoU"]
        grouped = document["breakdown"]["rows"]
        cells = [
            (row["method"], row["group"], str(row["pairs"]), *_row(row, short)[1:])
            for row in grouped
        ]
        title = f"by {document['breakdown']['by']}"
        tables.append(FigureTable(title, ("method", "group", "queries", *short), tuple(cells)))
    return tables


def to_markdown(table: FigureTable) -> str:
    """The table in Markdown, under its title and over its notes."""
    numbers = ["---"] + ["---:" for _ in table.columns[1:]]
    lines = [_line(table.columns), _line(numbers), *(_line(row) for row in table.rows)]
    notes = "".join(f"\n- {note}" for note in table.notes)
    return f"{table.title}\n\n" + "\n".join(lines) + (f"\n{notes}" if notes else "") + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _within(title: str, document: Mapping[str, Any], names: Sequence[str]) -> FigureTable:
    rows = document["rows"]
    baselines = document["baselines"]
    first = [row for row in rows if row["method"] in baselines]
    told = [_protocol(row, baselines[row["method"]]) for row in first] + document["notes"]
    printed = document.get("printed")
    if printed is None:
        cells = [_row(row, names) for row in rows]
        return FigureTable(title, ("method", *names), tuple(cells), tuple(told))
    ours = [row for row in rows if row["method"] not in baselines]
    cells = [
        (f"{row['method']} (printed)", *(_printed(row.get(name)) for name in names))
        for row in printed["rows"]
    ]
    cells += [_row(row, names) for row in first]
    notes = [f"printed: {printed['source']}; {printed['note']}"]
    if blind := printed["blind"]:
        # In a table of runs the blind twin is the first of ours: the two stand side by side.
        cells.append(("blind (published)", *(_about(blind.get(name)) for name in names)))
        notes.append(f"blind (published): approximate, {blind['source']}")
    cells += [_row(row, names) for row in ours]
    seeds = {row["seeds"] for row in ours}
    if seeds - {1}:
        count = "/".join(map(str, sorted(seeds)))
        notes.append(f"trained here: mean and standard deviation over {count} seeds")
    return FigureTable(title, ("method", *names), tuple(cells), (*notes, *told))


def _protocol(row: Mapping[str, Any], protocol: str) -> str:
    """What a row without a model does, and of how many draws its figures are where it is chance."""
    draws = f"; mean and standard deviation over {row['seeds']} draws" if row["seeds"] > 1 else ""
    return f"{row['method']}: {protocol}{draws}"


def _searches(document: Mapping[str, Any]) -> FigureTable:
    rows = document["searches"]
    figures = [name for name in rows[0] if name.startswith(("video_R", "corpus_R"))]
    figures = [name for name in figures if not name.endswith("IoU0.3")]
    cells = []
    for row in rows:
        way = f"{row['search']}, {row['pooling']}"
        if len({other["dataset"] for other in rows}) > 1:
            way = f"{row['dataset']}: {way}"
        cells.append((way, f"{row['ms']:.0f}", *(f"{row[name]['mean']:.2f}" for name in figures)))
    title = f"ways to search the archive, {rows[0]['pairs']} queries; ms is the median of a query"
    columns = ("search", "ms", *(name.removeprefix("corpus_") for name in figures))
    return FigureTable(title, columns, tuple(cells))


def _row(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    return (row["method"], *(_cell(row[name], row["seeds"]) for name in names))


def _cell(figure: Mapping[str, float], seeds: int) -> str:
    spread = f" ± {figure['std']:.1f}" if seeds > 1 else ""
    return f"{figure['mean']:.2f}{spread}"


def _about(figure: float | None) -> str:
    return "–" if figure is None else f"~{figure:.0f}"


def _printed(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.2f}"
