"""Reading tensors from the released files without ever running code that is in them."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from liveact_cli.core.errors import WeightsError

Module = TypeVar("Module", bound=nn.Module)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors`, `.pth` or `.bin` file as named tensors on the CPU, mapped if possible.

    A pickle is read with `weights_only=True`: one that holds anything but tensors in plain
    containers raises WeightsError, as does a file that is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f"{path} does not exist", "liveact model verify shows what is missing")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
    return _read_pickle(path)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    # Only the zip layout that torch writes since 1.6 can be mapped; an 11 GB text encoder must be.
    mapped = zipfile.is_zipfile(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower() and "unsupported" not in str(error).lower():
            raise _damaged(path, error) from error
        raise WeightsError(
            f"{path.name} is a pickle that holds more than tensors, so opening it could run code; "
            "it was not opened",
            "liveact model verify compares the file with the one that was downloaded",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise WeightsError(
            f"{path.name} holds {type(content).__name__}, not a table of named tensors",
            "liveact model verify compares the file with the one that was downloaded",
        )
    return dict(content)


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path.name} ({path.stat().st_size if path.exists() else 0} bytes) cannot be read: "
        f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
        "liveact model verify compares the file with the one that was downloaded",
    )


def build(
    make: Callable[[], Module],
    tensors: dict[str, Tensor],
    origin: str,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Module:
    """Make a module without allocating it, give it `tensors`, and move it to `dtype` and `device`.

    Names or shapes that do not fit raise WeightsError naming `origin`.
    """
    with torch.device("meta"):
        module = make()
    cast = {name: value.to(device=device, dtype=dtype) for name, value in tensors.items()}
    try:
        module.load_state_dict(cast, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{origin} does not have the expected layout: {' '.join(str(error).split())[:400]}",
            "liveact model verify compares the file with the one that was downloaded",
        ) from error
    return module.eval().requires_grad_(False)
