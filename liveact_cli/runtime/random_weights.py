"""A transformer of any size with random weights, made on its device: for measuring without files.

Numbers keep one size on their way through the layers, as in a trained model, so that power,
rounding and the softmax behave as they do there. Nothing is ever whole in the host's memory.
"""

import torch
from torch import Tensor

from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.fp8 import FP8Linear, FP8Plan
from liveact_cli.runtime.fp8_numbers import quantise_rows
from liveact_cli.runtime.loader import place_parameter, precision_of, swap_planned


def random_transformer(
    config: TransformerConfig,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    fp8: FP8Plan | None = None,
    seed: int = 0,
) -> LiveActTransformer:
    """Build like `load_transformer`, from a seed instead of files."""
    device = torch.device(device)
    with torch.device("meta"):
        transformer = LiveActTransformer(config)
    shapes = {name: p.shape for name, p in transformer.named_parameters()}
    if fp8 is not None:
        swap_planned(transformer, fp8, dtype)
    generator = torch.Generator(device).manual_seed(seed)
    for name, shape in shapes.items():
        value = _drawn(name, shape, precision_of(name, dtype), generator)
        module, _, leaf = name.rpartition(".")
        if leaf == "weight" and isinstance(transformer.get_submodule(module), FP8Linear):
            rounded = quantise_rows(value)
            place_parameter(transformer, name, rounded.values)
            place_parameter(transformer, f"{module}.scale", rounded.scale)
        else:
            place_parameter(transformer, name, value)
    return transformer.eval().requires_grad_(False)


def _drawn(name: str, shape: torch.Size, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    device = generator.device
    leaf = name.rpartition(".")[2]
    if leaf == "bias":
        return torch.zeros(shape, dtype=dtype, device=device)
    if leaf == "weight" and len(shape) == 1:  # of a norm
        return torch.ones(shape, dtype=dtype, device=device)
    if leaf in ("fold_k", "fold_v"):
        return torch.full(shape, 1 / shape[0], dtype=dtype, device=device)
    value = torch.randn(shape, dtype=dtype, device=device, generator=generator)
    return value.mul_(shape[-1] ** -0.5)
