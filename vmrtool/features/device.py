"""Which processor to use, and why."""

import torch

from vmrtool.errors import UsageError


def choose_device(requested: str) -> tuple[torch.device, str]:
    """The device for `requested` ("auto", "cpu", "cuda", "cuda:1", …) and the reason in words.

    Raises:
        UsageError: no such device here.
    """
    if requested == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0), f"found {torch.cuda.get_device_name(0)}"
        return torch.device("cpu"), "no CUDA device found"
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise UsageError(
            f"'{requested}' is not a device", remedy="Use auto, cpu, cuda or cuda:N."
        ) from error
    if device.type == "cuda":
        index = device.index or 0
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise UsageError(
                f"device '{requested}' asked for, but "
                + (
                    f"there are {torch.cuda.device_count()} CUDA devices"
                    if torch.cuda.is_available()
                    else "no CUDA device was found"
                ),
                remedy="Use --device cpu, or check the driver with nvidia-smi.",
            )
        return torch.device("cuda", index), "asked for"
    if device.type != "cpu":
        raise UsageError(
            f"device '{requested}' is not supported", remedy="Use auto, cpu, cuda or cuda:N."
        )
    return device, "asked for"
