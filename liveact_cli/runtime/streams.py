"""Work on a device that goes on beside other work of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class WorkStream:
    """A CUDA stream of its own, so that drawing one chunk and making the next overlap; elsewhere
    things happen in order.

    The host waits at the end of a piece of work and nowhere inside it: what was made is complete
    for whoever uses it then, on any stream.
    """

    def __init__(self, device: torch.device) -> None:
        # torch leaves the constructor without types.
        self._stream: Any = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )

    @contextmanager
    def work(self) -> Iterator[None]:
        """Work here, after what was begun before elsewhere; wait for the end of it."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            yield
        self._stream.synchronize()


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Return `x` on a device, without waiting for what the device does."""
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
