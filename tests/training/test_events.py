from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vmrtool.training.events import EventLog


def record(epoch: int, loss: float) -> dict:
    losses = {"loss": loss, "segment": loss / 2}
    return {
        "epoch": epoch,
        "losses": losses,
        "lr": 1e-3,
        "validation": {"R@1_IoU0.5": 10.0 * epoch},
    }


def shown(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_shows_every_epoch_once(tmp_path: Path) -> None:
    with EventLog(tmp_path, 0) as log:
        log.write(record(1, 4.0))
        log.write(record(2, 3.0))
        # A reader sees an epoch while the run goes on.
        assert shown(tmp_path, "loss/all") == [(1, 4.0), (2, 3.0)]
    # The second epoch was written, but the run was killed before it was kept.
    with EventLog(tmp_path, 1) as log:
        log.write(record(2, 2.0))
    assert shown(tmp_path, "loss/all") == [(1, 4.0), (2, 2.0)]
    assert shown(tmp_path, "loss/segment") == [(1, 2.0), (2, 1.0)]
    assert shown(tmp_path, "validation/R1_IoU0.5") == [(1, 10.0), (2, 20.0)]
    tags = set(EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"])
    assert tags == {"loss/all", "loss/segment", "validation/R1_IoU0.5", "lr"}
