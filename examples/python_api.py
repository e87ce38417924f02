"""The Python API: index a folder, search it, look closely at one video.

python examples/python_api.py VIDEOS "person opens a door" [MODEL]
"""

import sys

import vmrtool


def main(videos: str, query: str, model: str | None = None) -> None:
    """Index, search, and ask the best video for all its moments."""
    report = vmrtool.index(videos, model=model, tell=print)
    print(f"{report.indexed} videos indexed, {report.unchanged} known")
    for failure in report.failed:
        print(f"{failure.path}: {failure.error}. {failure.remedy or ''}", file=sys.stderr)

    with vmrtool.open(report.catalog) as archive:  # catalog, model and vectors stay warm
        found = archive.search(query, top=5)  # in a notebook, `found` is shown as a table
        for moment in found.moments:
            print(f"{moment.score:.3f}  {moment.start:7.1f} {moment.end:7.1f}  {moment.video}")
        for note in found.notes:
            print(f"note: {note}")
        if found.moments:
            best = found.moments[0].path
            print(f"all of {best.name}:")
            for moment in archive.ground(best, query, top=10).moments:
                print(f"{moment.score:.3f}  {moment.start:7.1f} {moment.end:7.1f}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except vmrtool.VmrtoolError as error:
        sys.exit(f"{error}\n{error.remedy or ''}")
