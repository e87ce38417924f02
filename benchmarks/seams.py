"""How much what is found depends on where a long video is cut into windows.

    vmrtool demo render archive --videos 8 --seed 9
    vmrtool index archive --model blocks --catalog archive/vmrtool.db
    python benchmarks/seams.py --catalog archive/vmrtool.db --queries archive/queries.jsonl

Videos of the archive are joined, one after the other, to one of so many snippets, and searched for
their queries. Then its first snippets are left out, a different number each time, so that every
window begins elsewhere, and the best moment of each query in the whole video is looked for among
those found then. What is asked for may happen several times, and another time come first.
"""

import argparse
from pathlib import Path

import numpy as np

from vmrtool.datasets.load import load_parts
from vmrtool.evaluation.evaluate import load_contestant
from vmrtool.features.device import choose_device
from vmrtool.search.archive import Archive
from vmrtool.search.merging import Candidate

SHIFTS = (9, 18, 27, 36, 45, 54, 63)  # snippets left out; two windows begin 64 or less apart
SURE = 0.5  # a score from which a moment is an answer rather than the best of a bad lot


def main() -> None:
    """Prints how many best moments stay where they were."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--model", default="blocks")
    parser.add_argument("--snippets", type=int, default=397)
    parser.add_argument("--asked", type=int, default=35, help="queries asked")
    chosen = parser.parse_args()
    device, _ = choose_device("cpu")
    stores = [chosen.catalog]
    (dataset,) = load_parts([str(chosen.queries)], stores, use="test")
    model = load_contestant(chosen.model, device, None, lambda: stores).models[0]

    features = np.concatenate([video.features for video in dataset.videos])[: chosen.snippets]
    if len(features) < chosen.snippets:
        parser.error(f"the archive has {len(features)} snippets in all, not {chosen.snippets}")
    ends = np.cumsum([video.duration for video in dataset.videos])
    cells = np.concatenate(
        [
            video.cells + end - video.duration
            for video, end in zip(dataset.videos, ends, strict=True)
        ]
    )[: chosen.snippets]
    inside = sum(end <= cells[-1, 1] for end in ends)
    asked = [
        sample.query
        for sample, video in zip(dataset.samples, dataset.video_of, strict=True)
        if video < inside
    ][: chosen.asked]
    print(f"{len(features)} snippets of {inside} whole videos, {len(asked)} queries")

    def moments(left_out: int) -> list[list[Candidate]]:
        shown = {"v": (features[left_out:], cells[left_out:])}
        archive = Archive.in_memory(model, shown)
        every = len(features)  # more windows than there are
        return [archive.find(model, query, windows_per_video=every).moments["v"] for query in asked]

    whole = moments(0)
    rows = []
    for left_out in SHIFTS:
        for uncut, cut in zip(whole, moments(left_out), strict=True):
            if uncut and uncut[0].first >= left_out:  # else it is not there any more
                same = [stays(uncut[0], moment, left_out) for moment in cut]
                rows.append((any(same[:1]), any(same), uncut[0].score >= SURE))
    if not rows:
        parser.error(f"the model {chosen.model} finds nothing of it")
    first, among, sure = np.array(rows).T
    print(
        f"cut at {len(SHIFTS)} other places, {len(rows)} best moments, {sure.sum()} of them with a"
    )
    print(
        f"score of {SURE} and more. Stay where they were, and the best: {100 * first.mean():.1f} %,"
    )
    print(f"of the sure {100 * first[sure].mean():.1f} %; among the best three:", end=" ")
    print(f"{100 * among.mean():.1f} %, of the sure {100 * among[sure].mean():.1f} %")


def stays(uncut: Candidate, cut: Candidate, left_out: int) -> bool:
    """Whether a moment is the same: an IoU of 0.7, and both ends within one snippet."""
    apart = max(abs(uncut.first - cut.first - left_out), abs(uncut.last - cut.last - left_out))
    shared = min(uncut.end, cut.end) - max(uncut.start, cut.start)
    return apart <= 1 and shared >= 0.7 * (max(uncut.end, cut.end) - min(uncut.start, cut.start))


if __name__ == "__main__":
    main()
