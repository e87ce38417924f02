"""What the paper prints in its tables, to stand beside what is measured here."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PrintedTable:
    """A table of the paper: R@1 in percent by method, at IoU 0.3, 0.5 and 0.7; None: not printed.

    `source` says where it stands, `note` what a reader must know to compare with it. `blind` is
    what others published of a model that never saw a video: about so many percent at IoU 0.3, 0.5
    and 0.7, and where.
    """

    source: str
    note: str
    rows: tuple[tuple[str, float | None, float | None, float | None], ...]
    blind: tuple[float, float, float, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """The table as it stands in `vmrtool.eval/1`."""
        rows = [
            {"method": method, "R@1_IoU0.3": low, "R@1_IoU0.5": middle, "R@1_IoU0.7": high}
            for method, low, middle, high in self.rows
        ]
        blind = None
        if self.blind is not None:
            low, middle, high, source = self.blind
            figures = {"R@1_IoU0.3": low, "R@1_IoU0.5": middle, "R@1_IoU0.7": high}
            blind = {"source": source, "approximate": True, **figures}
        return {"source": self.source, "note": self.note, "rows": rows, "blind": blind}


PRINTED = {
    "charades": PrintedTable(
        source="the CI-MHA paper (Yu, Malmir et al.), Table 1: Charades-STA",
        note="MAN, DRN and the paper's own rows are not said to share features; its Random comes "
        "near random-windows; MHA may be mha or mha-ms",
        rows=(
            ("Random", None, 8.51, 3.03),
            ("LOGAN", 51.67, 34.68, 14.54),
            ("MLVI", None, 35.60, 15.80),
            ("ExCL", None, 44.10, 22.40),
            ("MAN", None, 46.23, 22.72),
            ("DRN", None, 53.09, 31.75),
            ("MHA", 60.85, 51.04, 30.49),
            ("CI-MHA w/o MS", 62.78, 52.41, 31.39),
            ("CI-MHA", 69.87, 54.68, 35.27),
        ),
        blind=(
            *(42.0, 28.0, 12.0),
            "Otani et al. 2020, Uncovering Hidden Challenges in Query-Based Video Moment Retrieval",
        ),
    ),
    "activitynet": PrintedTable(
        source="the CI-MHA paper (Yu, Malmir et al.), Table 2: ActivityNet Captions",
        note="the paper does not say which split it tests; MHA may be mha or mha-ms",
        rows=(
            ("MLVI", 45.30, 27.70, 13.60),
            ("TripNet", 45.42, 32.19, 13.93),
            ("ExCL", 62.21, 41.46, 23.9),
            ("DRN", None, 43.78, 23.24),
            ("MHA", 59.73, 40.80, 21.76),
            ("CI-MHA w/o MS", 60.49, 41.73, 23.41),
            ("CI-MHA", 61.49, 43.97, 25.13),
        ),
    ),
}
"""The paper's tables, by data set."""
