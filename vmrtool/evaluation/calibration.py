"""Whether scores are what they are called: of moments with a score of 0.7, are 70 % right?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmrtool.evaluation.corpus import Answers
from vmrtool.files import whole

BINS = 10


def calibration(answers: Answers) -> dict[str, Any]:
    """How often moments of like score are right.

    `answers` are scores in [0, 1] with whether each moment is right; there is at least one.

    Returns:
        `moments`; `error`, the mean over moments of the distance between a bin's mean score and
        its share of right ones; and `bins`, those of a tenth each that hold any moment: `from`,
        `to`, `moments`, `score` (their mean) and `right` (a share).
    """
    scores = np.array([score for score, _ in answers])
    right = np.array([hit for _, hit in answers])
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = []
    error = 0.0
    for number in range(BINS):
        members = place == number
        if members.any():
            score, share = float(scores[members].mean()), float(right[members].mean())
            error += abs(score - share) * float(members.mean())
            bins.append(
                {
                    "from": number / BINS,
                    "to": (number + 1) / BINS,
                    "moments": int(members.sum()),
                    "score": score,
                    "right": share,
                }
            )
    return {"moments": len(answers), "error": error, "bins": bins}


def draw_calibration(path: Path, methods: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Writes a reliability diagram as PNG: each method's share of right moments by score.

    Below it is how many moments there are of each score; most are of the lowest.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    shares, counts = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    shares.plot([0, 1], [0, 1], color="#555555", linestyle=":", label="as they should be")
    for name, found in methods:
        scores = [part["score"] for part in found["bins"]]
        label = f"{name}, error {found['error']:.3f}"
        shares.plot(scores, [part["right"] for part in found["bins"]], marker="o", label=label)
        counts.plot(scores, [part["moments"] for part in found["bins"]], marker="o")
    shares.set(ylabel="share of right moments (IoU 0.5)", xlim=(0, 1), ylim=(0, 1))
    shares.legend(loc="upper left")
    counts.set(xlabel="score", ylabel="moments", yscale="log")
    with whole(path) as place:
        figure.savefig(place, format="png", dpi=120)
