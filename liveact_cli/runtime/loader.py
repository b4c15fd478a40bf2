"""Weights files -> a finished transformer on a device, at a precision.

The transformer is built on the meta device and every tensor goes straight to its place, so the
peak is the model's own size.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from liveact_cli.core.errors import WeightsError
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.adapter import NEVER_HEARD, config_of, sources_of
from liveact_cli.runtime.fp8 import FP8Linear, FP8Plan
from liveact_cli.runtime.fp8_cache import FP8Cache

STEM = "diffusion_pytorch_model"
LAYOUT_HINT = f"a checkpoint folder holds config.json and {STEM}*.safetensors"

KEEP_FLOAT32 = (
    "time_embedding.*",
    "time_projection.*",
    "*.modulation",
    "*.norm_context.*",
    "*.norm_audio.*",
)
"""What stays in float32 at any precision: it is small, and the residual stream follows it."""


def precision_of(name: str, dtype: torch.dtype, keep: Iterable[str] = KEEP_FLOAT32) -> torch.dtype:
    """Return the precision that parameter `name` has when the arithmetic runs in `dtype`."""
    return torch.float32 if any(fnmatchcase(name, pattern) for pattern in keep) else dtype


def set_precision(module: nn.Module, dtype: torch.dtype) -> None:
    """Run `module` in `dtype`, keeping what `KEEP_FLOAT32` names."""
    for name, parameter in module.named_parameters():
        parameter.data = parameter.data.to(precision_of(name, dtype))


class TensorFiles:
    """The tensors of one or several safetensors files under their names, read when asked for."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Open the files; raises WeightsError when one is missing or damaged."""
        self._open = ExitStack()
        self._places: dict[str, Any] = {}
        self.shapes: dict[str, list[int]] = {}
        for file in files:
            try:
                handle = self._open.enter_context(safe_open(file, framework="pt"))
            except (OSError, SafetensorError) as error:
                self._open.close()
                raise WeightsError(
                    f"{file.name} cannot be read: {error}",
                    "download it again; an interrupted download leaves a short file",
                ) from error
            for name in handle.keys():  # noqa: SIM118 (the handle is no mapping)
                self._places[name] = handle
                self.shapes[name] = handle.get_slice(name).get_shape()

    def __enter__(self) -> Self:
        """Be closed at the end of a with block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the files."""
        self._open.close()

    def get(self, name: str) -> Tensor:
        """Read one tensor to the CPU."""
        tensor: Tensor = self._places[name].get_tensor(name)
        return tensor


def transformer_files(checkpoint: Path) -> list[Path]:
    """Return the transformer's files in a checkpoint folder: one, or all that the index names."""
    index = checkpoint / f"{STEM}.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(_read_json(index).get("weight_map", {}).values()))
        files = [checkpoint / shard for shard in shards]
        if absent := [file.name for file in files if not file.is_file()]:
            raise WeightsError(
                f"{checkpoint} lacks {len(absent)} of {len(files)} shards: {', '.join(absent)}",
                "download the missing files again",
            )
    else:
        files = sorted(checkpoint.glob(f"{STEM}*.safetensors"))
    if not files:
        raise WeightsError(f"{checkpoint} holds no {STEM}*.safetensors", LAYOUT_HINT)
    return files


def load_transformer(
    checkpoint: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    fp8: FP8Plan | None = None,
    blocks: torch.device | str | None = None,
) -> LiveActTransformer:
    """Load a released checkpoint folder, strictly: nothing may be missing or left over.

    `blocks` is where the blocks' weights go, if not to `device` too.

    The layers that `fp8` names are rounded one by one as they come, so that their old precision
    is never whole in memory; the rounded ones are kept in the folder for the next time.
    Raises WeightsError that lists what does not fit.
    """
    settings = _read_json(checkpoint / "config.json")
    files = transformer_files(checkpoint)
    with TensorFiles(files) as tensors, ExitStack() as stack:
        config = config_of(tensors.shapes, settings)
        with torch.device("meta"):
            transformer = LiveActTransformer(config)
        _check_complete(transformer, tensors.shapes)
        parameters = list(transformer.named_parameters())
        rounded = None
        if fp8 is not None:
            swap_planned(transformer, fp8, dtype)
            shapes = {name: tuple(transformer.get_parameter(f"{name}.weight").shape)
                      for name in fp8.names}  # fmt: skip
            rounded = stack.enter_context(FP8Cache(checkpoint, files, shapes))
        for name, parameter in parameters:
            place = blocks if blocks is not None and name.startswith("blocks.") else device
            read = partial(_assembled, tensors, name, parameter.shape, place)
            module, _, leaf = name.rpartition(".")
            if rounded is not None and leaf == "weight" and module in rounded.shapes:
                values = rounded.get(module, read)
                place_parameter(transformer, name, values.values.to(place))
                place_parameter(transformer, f"{module}.scale", values.scale.to(place))
            else:
                place_parameter(transformer, name, read().to(precision_of(name, dtype)))
    return transformer.eval().requires_grad_(False)


def swap_planned(transformer: LiveActTransformer, plan: FP8Plan, dtype: torch.dtype) -> None:
    """Put empty FP8 layers where `plan` wants them in a transformer on the meta device."""
    for name in plan.names:
        linear = transformer.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        transformer.set_submodule(name, FP8Linear.empty(linear, dtype))


def read_config(checkpoint: Path) -> TransformerConfig:
    """Read a checkpoint's sizes without its tensors."""
    with TensorFiles(transformer_files(checkpoint)) as tensors:
        return config_of(tensors.shapes, _read_json(checkpoint / "config.json"))


def original_weight(checkpoint: Path, layer: str) -> Tensor:
    """Read one linear layer's weight as the checkpoint has it, by our name."""
    with TensorFiles(transformer_files(checkpoint)) as tensors:
        sources, assemble = sources_of(f"{layer}.weight")
        return assemble([tensors.get(source) for source in sources])


def _assembled(
    tensors: TensorFiles, name: str, shape: torch.Size, device: torch.device | str
) -> Tensor:
    sources, assemble = sources_of(name)
    value = assemble([tensors.get(source) for source in sources])
    if value.shape != shape:
        raise WeightsError(
            f"{' + '.join(sources)} gives {list(value.shape)}, the model needs {list(shape)}"
        )
    return value.to(device)


def place_parameter(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a tensor where a parameter (on the meta device or not) stands."""
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, nn.Parameter(value, requires_grad=False))


def _check_complete(transformer: LiveActTransformer, shapes: Iterable[str]) -> None:
    present = set(shapes)
    wanted = {s for name, _ in transformer.named_parameters() for s in sources_of(name)[0]}
    missing, unknown = sorted(wanted - present), sorted(present - wanted - set(NEVER_HEARD))
    if missing or unknown:
        parts = [
            f"{len(names)} tensors {what}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
            for what, names in (("are missing", missing), ("have no place", unknown))
            if names
        ]
        raise WeightsError(f"the weights do not fit: {'; '.join(parts)}", LAYOUT_HINT)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}", LAYOUT_HINT) from error
    except ValueError as error:
        raise WeightsError(f"{file} is not JSON: {error}", "download it again") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{file} holds no settings", "download it again")
    return values
