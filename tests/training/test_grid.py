from pathlib import Path

import pytest

from vmrtool.errors import UsageError
from vmrtool.training.grid import plan_runs
from vmrtool.training.settings import make_settings

SKIPPING = make_settings({"network": {"variant": "ci-mha", "reading": "skip", "dim": 64}})


def told(cells: list) -> list[tuple[str, str, str, int, bool]]:
    return [
        (c.folder.as_posix(), c.settings.network["variant"], c.settings.network["reading"],
         c.seed, c.blind)
        for c in cells
    ]  # fmt: skip


def test_a_single_run_and_several_seeds() -> None:
    (only,) = plan_runs(make_settings({}), [3], variant="mha", blind=True)
    assert (only.folder, only.seed, only.blind) == (Path(), 3, True)
    assert only.settings.network == {"variant": "mha"}
    two = plan_runs(make_settings({}), [0, 1])
    assert [cell.folder for cell in two] == [Path("seed-0"), Path("seed-1")]


def test_a_grid_of_variants_goes_seed_by_seed_and_adds_the_blind_twin() -> None:
    cells = plan_runs(SKIPPING, [0, 1], variant="all", blind=True)
    assert told(cells[:5]) == [
        ("ci-mha/seed-0", "ci-mha", "skip", 0, False),
        ("ci-mha-no-ms/seed-0", "ci-mha-no-ms", "skip", 0, False),
        ("mha/seed-0", "mha", "skip", 0, False),
        ("mha-ms/seed-0", "mha-ms", "skip", 0, False),
        ("blind/seed-0", "ci-mha", "skip", 0, True),
    ]  # fmt: skip
    assert [cell.seed for cell in cells] == [0] * 5 + [1] * 5
    assert all(cell.settings.network["dim"] == 64 for cell in cells)


def test_grids_of_one_experiment_share_what_they_have_in_common() -> None:
    variants = {c.folder: c.settings for c in plan_runs(SKIPPING, [0], variant="all")}
    readings = {
        c.folder: c.settings for c in plan_runs(SKIPPING, [0], variant="ci-mha", reading="all")
    }
    assert {path.parts[0] for path in readings} == {
        "ci-mha", "ci-mha-aligned", "ci-mha-broadcast",
    }  # fmt: skip
    shared = Path("ci-mha/seed-0")
    assert variants.keys() & readings.keys() == {shared}
    assert variants[shared] == readings[shared]
    both = plan_runs(SKIPPING, [0], variant="all", reading="all", blind=True)
    assert len(both) == len({cell.folder for cell in both}) == 4 * 3 + 1


@pytest.mark.parametrize("asked", [{"variant": "mha+"}, {"reading": "mean"}])
def test_unknown_names_are_refused(asked: dict[str, str]) -> None:
    (name,) = asked.values()
    with pytest.raises(UsageError, match=rf"{name}: it can be .* or all".replace("+", r"\+")):
        plan_runs(SKIPPING, [0], **asked)
