"""A case study as a section of the HTML page: the truth and every method's answers on one line."""

from pathlib import Path

from vmrtool.catalog.paths import display, path_key
from vmrtool.errors import MediaError
from vmrtool.media.stills import as_jpeg, moment_stills
from vmrtool.report.cases import Answer, Case
from vmrtool.report.html import Card, Fact, Section
from vmrtool.report.timeline import Row, Span

READING = (
    "Cases are evenly spaced over all queries, from the best answered to the worst. IoU is how "
    "much of the first answer and of the truth is common to both, from 0 to 1."
)
_PICTURES = 6
_HEIGHT = 180  # pixels
_SHORTEST = 0.1  # seconds
_COLOURS = 4  # of methods, in page.css


def case_section(case: Case, file: Path | None) -> Section:
    """The section of one case: a card of the first method's first answer, else of the truth.

    `file` is the video, None where it is not here.
    """
    first = case.answers[0].moments[:1]
    start, end = (first[0] if first else case.truth[0])[:2]
    # Other systems' answers are scored as they come; a picture needs a stretch of a video.
    start = max(0.0, start)
    end = max(end, start + _SHORTEST)
    pictures: list[bytes] = []
    problem = None if file else "The video is not here."
    if file is not None:
        try:
            stills = moment_stills(file, start, end, count=_PICTURES, height=_HEIGHT)
            pictures = [as_jpeg(still) for still in stills]
        except MediaError as error:
            problem = f"No pictures: {error}"
    truth = Row("truth", "truth", tuple(Span(*window) for window in case.truth))
    card = Card(
        title=case.vid,
        path=case.vid if file is None else display(path_key(file)),
        file=file,
        start=start,
        end=end,
        duration=case.duration,
        facts=tuple(_fact(answer) for answer in case.answers),
        rows=(truth, *(_row(answer, place) for place, answer in enumerate(case.answers))),
        curves=case.curves,
        pictures=tuple(pictures),
        n_parts=_PICTURES,
        problem=problem,
    )
    return Section(case.query, (card,), f"video {case.vid}")


def _row(answer: Answer, place: int) -> Row:
    """A method's answers; `place` among the methods has them told apart by colour."""
    spans = (Span(start, end, n == 0) for n, (start, end, _) in enumerate(answer.moments))
    return Row(answer.method, f"found m{place % _COLOURS}", tuple(spans))


def _fact(answer: Answer) -> Fact:
    meaning = "IoU of the first answer with the truth" if answer.moments else "nothing found"
    return Fact(answer.method, f"{answer.iou:.2f}", meaning, answer.iou)
