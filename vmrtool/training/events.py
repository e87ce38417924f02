"""TensorBoard events of a run: losses, learning rate and validation figures, once an epoch."""

from pathlib import Path
from typing import Any


class EventLog:
    """Writes an epoch's line of metrics.jsonl as scalars, with the epoch as the step.

    Use it as a context manager. Each part of a run, before and after it was resumed, has a file of
    its own; epochs that the earlier part did but did not keep are taken out of the picture.
    """

    def __init__(self, folder: Path, epochs_done: int) -> None:
        """Opens a new file in `folder`."""
        # TensorBoard takes a moment to import, and only training needs it.
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=epochs_done + 1)

    def __enter__(self) -> "EventLog":
        """Nothing to do: the file is open from the start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._writer.close()

    def write(self, record: dict[str, Any]) -> None:
        """Adds an epoch, so that TensorBoard shows it now."""
        epoch = record["epoch"]
        for group, values in (("loss", record["losses"]), ("validation", record["validation"])):
            for name, value in values.items():
                # "@" may not be part of a tag; the sum of all losses goes by the name of its group.
                tag = f"{group}/{'all' if name == group else name.replace('@', '')}"
                self._writer.add_scalar(tag, value, epoch)
        self._writer.add_scalar("lr", record["lr"], epoch)
        self._writer.flush()
