"""Which processors and which precision to use, and why."""

import torch

from vmrtool.errors import UsageError
from vmrtool.features.published import PRECISIONS


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


def choose_devices(requested: str) -> tuple[list[torch.device], str]:
    """As `choose_device`, but all CUDA devices for "auto" and "cuda" without a number.

    Raises:
        UsageError: no such device here.
    """
    device, reason = choose_device(requested)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if count == 1 or ":" in requested:
        return [device], reason
    return [torch.device("cuda", index) for index in range(count)], f"{reason}, {count} in all"


def choose_precision(requested: str, device: torch.device) -> tuple[str, str]:
    """ "float32" or "bfloat16" on a device, and the reason in words.

    "auto" is bfloat16 where the hardware multiplies it, which takes half the time or less; where
    it does not, bfloat16 is slower than float32.

    Raises:
        UsageError: no such precision.
    """
    if requested in PRECISIONS:
        return requested, "asked for"
    if requested != "auto":
        raise UsageError(
            f"precision '{requested}' is not known", remedy=f"Use auto, {' or '.join(PRECISIONS)}."
        )
    reason = _multiplies_bfloat16(device)
    if reason is None:
        return "float32", "bfloat16 is slower here"
    return "bfloat16", reason


def _multiplies_bfloat16(device: torch.device) -> str | None:
    """What there is that multiplies bfloat16 faster than float32; None where nothing is."""
    if device.type == "cuda":
        ampere = (8, 0)
        capable = torch.cuda.get_device_capability(device) >= ampere
        return "this GPU multiplies it" if capable else None
    if torch.cpu._is_amx_tile_supported():
        return "this processor has AMX"
    return "this processor has AVX-512 BF16" if torch.cpu._is_avx512_bf16_supported() else None
