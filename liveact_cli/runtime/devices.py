"""Which devices there are to compute on."""

import torch

from liveact_cli.core.errors import DeviceError
from liveact_cli.core.machine import available_memory
from liveact_cli.core.placement import Machine

FP8_CAPABILITY = (8, 9)
"""The first GPUs with e4m3 arithmetic."""


def choose_devices(gpus: int | None, kind: str | None = None) -> list[torch.device]:
    """Return `gpus` devices (one, if that is not said) to compute on.

    `kind` "cpu" computes on the processor, in as many processes; without it GPUs are taken where
    there are any. Raises DeviceError when there are too few.
    """
    count, there = gpus or 1, torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (gpus is None and kind is None and there == 0):
        return [torch.device("cpu")] * count
    if count > there:
        found = "no GPU that torch can use" if there == 0 else f"{there}"
        raise DeviceError(
            f"{count} GPUs are asked for, and this machine has {found}"
            if count > 1
            else f"a GPU is asked for, and this machine has {found}",
            "`liveact doctor` shows what there is; without --gpus the choice is made for you",
        )
    return [torch.device("cuda", index) for index in range(count)]


def device_with_room(device: torch.device, nbytes: int) -> torch.device:
    """Return `device`, or the processor where `nbytes` more do not fit on a GPU now."""
    if device.type != "cuda":
        return device
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + idle
    return device if nbytes <= free else torch.device("cpu")


def examine_machine() -> Machine:
    """Return what there is to compute on: free bytes of each GPU, this process's own included."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = [
        torch.cuda.mem_get_info(index)[0] + torch.cuda.memory_reserved(index)
        for index in range(count)
    ]
    able = all(torch.cuda.get_device_capability(index) >= FP8_CAPABILITY for index in range(count))
    return Machine(tuple(cards), available_memory(), able)
