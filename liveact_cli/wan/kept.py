"""Results that are kept on disk because what makes them is large and slow to load."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_NAME: Final = "value"


class Kept:
    """Tensors in a folder (None keeps nothing), each under what it was made from."""

    def __init__(self, folder: Path | None, kind: str) -> None:
        """`kind` names the sort of result: a folder of its own below `folder`."""
        self._folder = folder / kind if folder else None

    def get(self, origin: Path, parts: tuple[object, ...], make: Callable[[], Tensor]) -> Tensor:
        """Return what `make` gave for the weights file `origin` and `parts`, on the CPU.

        A file that cannot be read is made again, one that cannot be written is done without.
        """
        if self._folder is None:
            return make().cpu()
        path = self._folder / f"{_key(origin, parts)}.safetensors"
        with contextlib.suppress(OSError, SafetensorError, KeyError):
            return load_file(path)[_NAME]
        value = make().cpu()
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            save_file({_NAME: value.contiguous()}, partial)
            partial.replace(path)
        return value


def _key(origin: Path, parts: tuple[object, ...]) -> str:
    """The weights by name, size and time (reading 11 GB would take longer than it saves)."""
    stat = origin.stat()
    identity = (origin.name, stat.st_size, stat.st_mtime_ns, *parts)
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
