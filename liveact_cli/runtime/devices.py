"""Which devices there are to compute on."""

import torch

from liveact_cli.core.errors import DeviceError


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
