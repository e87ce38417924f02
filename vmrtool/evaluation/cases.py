"""Case studies of an evaluation: some queries, right ones and wrong ones, each as a picture."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.samples import Sample
from vmrtool.errors import MediaError, UsageError
from vmrtool.evaluation.evaluate import Contestant, Evaluation
from vmrtool.evaluation.metrics import truths_of
from vmrtool.files import safe_name, whole
from vmrtool.grounding.checkpoint import GroundingModel
from vmrtool.media.probe import VIDEO_SUFFIXES, probe
from vmrtool.media.stills import stills
from vmrtool.report.cases import Answer, Case, draw_case, still_count
from vmrtool.report.cases_page import READING, case_section
from vmrtool.report.html import Page, section_html, write_page
from vmrtool.search.curves import Curves, snippet_curves

SCHEMA = "vmrtool.cases/1"
_LONGEST_NAME = 40  # bytes of a query's id in a picture's name
_STILL_PIXELS = 160  # height of a key frame


@dataclass(frozen=True)
class CasesWritten:
    """The index of the cases, and of which videos no key frames could be read, and why."""

    index: Path
    failed: tuple[tuple[Path, str], ...]


def choose_cases(ious: NDArray[np.float64], count: int) -> list[int]:
    """The numbers of `count` queries, from the best answered to the worst.

    All queries are ranked by the IoU of their first answer, equal ones in the data set's order.
    Chosen are places evenly spaced over that ranking, the first and the last among them (the
    middle one for a single case): so right and wrong answers come in their true proportion.

    Args:
        ious: (Q,) the IoU of every query's first answer.
        count: how many; all where there are fewer.
    """
    ranking = np.argsort(-ious, kind="stable")
    ends = (0, len(ious) - 1) if count > 1 else (len(ious) // 2, len(ious) // 2)
    places = np.unique(np.rint(np.linspace(*ends, min(count, len(ious)))).astype(int))
    return [int(ranking[place]) for place in places]


def write_cases(
    folder: Path,
    parts: Sequence[Dataset],
    contestants: Sequence[Contestant],
    evaluation: Evaluation,
    count: int,
    *,
    truth: str = "raw",
    zeroed: bool = False,
    shuffled: bool = False,
    videos: Mapping[str, Path] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> CasesWritten:
    """Draws `count` queries of an evaluation into a folder, beside cases.json and a page of them.

    Curves are those of the first model. Key frames come from where the data set or its catalog say
    the video is, or from `videos`; cases are then chosen among the queries whose video is there.

    Args:
        folder: made where it is not there; files of the same names are replaced.
        parts: the data sets that were evaluated.
        contestants: the models that were.
        evaluation: what came of it: answers of at least one model or other system.
        count: how many queries, see `choose_cases`.
        truth: "raw" or "clipped", as they were scored.
        zeroed: whether every model was shown zeros.
        shuffled: whether every model was shown snippets in random order.
        videos: what `videos_in` gives, or None.
        progress: is told how many more cases are drawn.

    Raises:
        OSError: the folder cannot be written to.
    """
    samples = [sample for part in parts for sample in part.samples]
    part_of = [(number, i) for number, part in enumerate(parts) for i in range(len(part))]
    truths = truths_of(samples, truth)
    rows = evaluation.rows[: len(evaluation.answers)]
    among = [q for q, sample in enumerate(samples) if videos is None or sample.vid in videos]
    chosen = [among[place] for place in choose_cases(rows[0].runs[0]["mIoU"][among], count)]
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(chosen)))
    entries: list[dict[str, Any]] = []
    sections: list[tuple[str, str]] = []
    failed: dict[Path, str] = {}
    for number, q in enumerate(chosen, start=1):
        sample = samples[q]
        answers = tuple(
            Answer(row.method, tuple(answer[q])[:5], float(row.runs[0]["mIoU"][q]) / 100)
            for row, answer in zip(rows, evaluation.answers, strict=True)
        )
        part, index = part_of[q]
        curves, file = None, sample.video
        if contestants:
            dataset = parts[part].select([index])
            seen = contestants[0].shown(dataset, zeroed=zeroed, shuffled=shuffled).videos[0]
            model = contestants[0].models[0]
            if isinstance(model, GroundingModel):  # the zero-shot model has no such curves
                curves = snippet_curves(model, seen.features, seen.cells, sample.query)
            file = seen.file
        file = videos[sample.vid] if videos is not None else file
        pictures: list[NDArray[np.uint8]] = []
        n_parts = 0
        if file is not None and file.is_file() and file not in failed:
            try:
                info = probe(file)
                n_parts = still_count(info.width, info.height)
                pictures = stills(file, n_parts, seconds=sample.duration, height=_STILL_PIXELS)
            except MediaError as error:
                failed[file] = str(error)
        case = Case(
            sample.vid, sample.query, sample.duration, tuple(truths[q]), answers, curves,
            tuple(pictures), n_parts,
        )  # fmt: skip
        name = f"case-{number:0{digits}d}-{safe_name(str(sample.qid), _LONGEST_NAME)}.png"
        draw_case(case, folder / name)
        here = file if file is not None and file.is_file() else None
        section = case_section(case, here)
        sections.append((case.query, section_html(section, number)))
        entries.append(_entry(name, sample, case, file if pictures else None))
        progress(1)
    document = {
        "schema": SCHEMA,
        "dataset": " + ".join(part.name for part in parts),
        "truth": truth,
        "chosen_by": rows[0].method,
        "cases": entries,
    }
    target = folder / "cases.json"
    with whole(target) as place:
        place.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    page = Page(f"{len(sections)} cases of {document['dataset']}", sections, READING)
    write_page(folder / "cases.html", page, [document])
    return CasesWritten(target, tuple(failed.items()))


def videos_in(folder: Path, samples: Sequence[Sample]) -> dict[str, Path]:
    """The videos of the samples that are in a folder or below it: vid -> the one file so named.

    Raises:
        UsageError: there is no such folder, or none of the videos in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--videos {folder}: no such folder")
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            found[path.stem].append(path)
    wanted = {sample.vid for sample in samples}
    named = {vid: paths[0] for vid, paths in found.items() if vid in wanted and len(paths) == 1}
    if not named:
        raise UsageError(
            f"--videos {folder}: none of the data set's videos is there, once and by its name",
            remedy=f"a file is looked for whose name without suffix is {samples[0].vid}",
        )
    return named


def _entry(name: str, sample: Sample, case: Case, file: Path | None) -> dict[str, Any]:
    """A case as cases.json has it."""
    return {
        "picture": name,
        "qid": sample.qid,
        "vid": sample.vid,
        "query": sample.query,
        "duration": sample.duration,
        "truth": [list(window) for window in case.truth],
        "answers": [
            {
                "method": answer.method,
                "IoU": answer.iou,
                "moments": [list(moment) for moment in answer.moments],
            }
            for answer in case.answers
        ],
        "curves": None if case.curves is None else _curves(case.curves),
        "video": None if file is None else str(file),
    }


def _curves(curves: Curves) -> dict[str, Any]:
    return {
        "cells": curves.cells.tolist(),
        "start": curves.start.tolist(),
        "end": curves.end.tolist(),
        "inside": None if curves.inside is None else curves.inside.tolist(),
    }
