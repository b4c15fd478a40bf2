"""A transformer from a checkpoint, or of random numbers, as it shall run: everything applied.

The order matters: precision while loading, then the memory's storage, the attention's kernel, the
kernels between matrix products, and last where the weights lie.
"""

import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor

from liveact_cli.core.budget import Offload
from liveact_cli.core.errors import UsageError
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime import kernels
from liveact_cli.runtime.attention import AUTO, FP8Places, attend_with, resolve
from liveact_cli.runtime.fallbacks import fall_back
from liveact_cli.runtime.fp8 import FP8Plan, keep_precision
from liveact_cli.runtime.fp8_memory import FP8Storage
from liveact_cli.runtime.fp8_numbers import E4M3, check_device, quantise_rows
from liveact_cli.runtime.fuse import fuse
from liveact_cli.runtime.graphs import GRAPHS, Graphs, graphs_of, use_graphs
from liveact_cli.runtime.loader import (
    load_transformer,
    original_weight,
    place_parameter,
    precision_of,
    swap_planned,
)
from liveact_cli.runtime.offload import HostStorage, OffloadedBlocks
from liveact_cli.runtime.transformer_engine import use_transformer_engine

KERNELS: Final = ("auto", "triton", "compile", "eager")
FP8Backend = Literal["own", "te"]
_OFFLOADED: Final = "offloaded"


@dataclass(frozen=True)
class Options:
    """How a transformer is run; it pickles, so that every rank builds the same.

    `fp8` names the linear layers that are rounded (None: none). `kernels` says what runs between
    the matrix products: "triton" fused kernels, "compile" torch's compiler, "eager" the blocks as
    they are written; "auto" is Triton on a GPU that has it. `graphs` records whole calls as CUDA
    graphs (on one GPU).
    """

    dtype: torch.dtype
    fp8: FP8Plan | None = None
    fp8_memory: bool = False
    offload: Offload = "none"
    kernels: str = AUTO
    attention: str = AUTO
    fp8_backend: FP8Backend = "own"
    places: FP8Places = field(default_factory=FP8Places)
    graphs: Graphs = "auto"

    @property
    def blocks_offloaded(self) -> bool:
        """Whether the blocks' weights lie in the host's memory."""
        return self.offload in ("blocks", "all")


def build(checkpoint: Path, options: Options, *, device: torch.device) -> LiveActTransformer:
    """Load a checkpoint's transformer and have it run as `options` say.

    Raises WeightsError for what is missing or does not fit, DeviceError for what this device
    cannot do.
    """
    own = options.fp8 is None or options.fp8_backend == "own"
    if not own:
        check_engine(options.offload)
    if options.fp8 is not None:
        check_device(device)
    transformer = load_transformer(
        checkpoint,
        dtype=options.dtype,
        device=device,
        fp8=options.fp8 if own else None,
        blocks=torch.device("cpu") if options.blocks_offloaded or not own else device,
    )
    if options.fp8 is not None and not own:
        use_transformer_engine(transformer, options.fp8, device)
        if not options.blocks_offloaded:
            transformer.to(device)
    equip(transformer, options, device)
    return transformer


def check_engine(offload: str | None) -> None:
    """Refuse what Transformer Engine cannot do; raises UsageError."""
    if offload in ("blocks", "all"):
        raise UsageError(
            "Transformer Engine keeps its weights on the GPU, so blocks cannot be offloaded",
            "fp8-backend = own, or --offload none or cache",
        )


def without_graphs(options: Options) -> Options:
    """Return how each of several processes runs: their exchanges are not recorded as graphs."""
    if options.graphs == "on":
        fall_back("CUDA graphs", "kernel after kernel", "several GPUs exchange inside a call")
    return replace(options, graphs="off")


def build_random(
    config: TransformerConfig, options: Options, *, device: torch.device, seed: int = 0
) -> LiveActTransformer:
    """Make a transformer of random numbers on a device, to measure how fast these sizes run.

    Its weights are never whole at another precision, so what fits when loaded fits here.
    """
    with torch.device("meta"):
        transformer = LiveActTransformer(config)
    swap_planned(transformer, options.fp8 or FP8Plan(()), options.dtype)
    for name, parameter in list(transformer.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        if leaf == "scale":
            continue
        # Drawn where it is quick, also what lies in the host's memory afterwards.
        made = _random(name, parameter.shape, precision_of(name, options.dtype), device, seed)
        away = options.blocks_offloaded and name.startswith("blocks.")
        where = torch.device("cpu") if away else device
        if parameter.dtype == E4M3:
            rows = quantise_rows(made)
            place_parameter(transformer, name, rows.values.to(where))
            place_parameter(transformer, f"{owner}.scale", rows.scale.to(where))
        else:
            place_parameter(transformer, name, made.to(where))
    transformer.eval().requires_grad_(False)
    equip(transformer, options, device)
    return transformer


def equip(transformer: LiveActTransformer, options: Options, device: torch.device) -> None:
    """Have a finished transformer run as `options` say, apart from the precision of its weights."""
    storage = FP8Storage() if options.fp8_memory else transformer.storage
    if options.offload in ("cache", "all"):
        storage = HostStorage(storage)
    transformer.set_storage(storage)
    chosen = resolve(options.attention, device, options.dtype)
    attend_with(transformer, chosen, options.places)
    between = _use_kernels(transformer, options, device)
    _offload(transformer, options, device)
    graphs = _use_graphs(transformer, options, device)
    transformer.facts = {
        "precision": str(options.dtype).removeprefix("torch."),
        "fp8": None if options.fp8 is None else options.fp8.record(),
        "fp8_backend": options.fp8_backend if options.fp8 is not None else None,
        "fp8_memory": options.fp8_memory,
        "kernels": between,
        "attention": chosen.record(),
        "graphs": graphs,
    }


def offloaded(transformer: LiveActTransformer) -> OffloadedBlocks | None:
    """Return the blocks' weights in the host's memory, if they lie there."""
    found: OffloadedBlocks | None = transformer.attached.get(_OFFLOADED)
    return found


def follow_plan(
    transformer: LiveActTransformer, plan: FP8Plan, checkpoint: Path, device: torch.device
) -> None:
    """Give the layers that `plan` no longer names their precision back, wherever they lie."""
    blocks = offloaded(transformer)
    if blocks is not None:
        blocks.undo()
        del transformer.attached[_OFFLOADED]
    keep_precision(transformer, plan, lambda name: original_weight(checkpoint, name))
    if blocks is not None:
        transformer.attached[_OFFLOADED] = OffloadedBlocks(transformer, device)
    if (graphs := graphs_of(transformer)) is not None:
        graphs.forget()
    transformer.facts["fp8"] = plan.record()


def _offload(transformer: LiveActTransformer, options: Options, device: torch.device) -> None:
    if options.blocks_offloaded:
        transformer.attached[_OFFLOADED] = OffloadedBlocks(transformer, device)


def _use_kernels(transformer: LiveActTransformer, options: Options, device: torch.device) -> str:
    """Return the name of what was chosen."""
    name = options.kernels
    if name not in KERNELS:
        raise UsageError(f"there are no kernels '{name}'", f"choose {', '.join(KERNELS)}")
    if name == "compile":
        # torch's compiler takes a second and 130 MB to import, which only this needs.
        from liveact_cli.runtime.compiled import compile_blocks, compiler_works

        if compiler_works(device):
            compile_blocks(transformer)
            return name
        return "eager"
    if name != "eager" and (name == "triton" or device.type == "cuda"):
        chosen = kernels.resolve(
            device,
            name,
            rounded_weights=options.fp8 is not None,
            rounded_memory=options.fp8_memory,
        )
        if chosen.name == "triton":
            fuse(transformer, chosen)
            return "triton"
    return "eager"


def _use_graphs(transformer: LiveActTransformer, options: Options, device: torch.device) -> bool:
    """Return whether calls are recorded as graphs; what lies elsewhere changes its places."""
    if options.graphs not in GRAPHS:
        raise UsageError(f"there is no graphs '{options.graphs}'", f"choose {', '.join(GRAPHS)}")
    # `auto` is off until a GPU has told what they gain: they keep a second set of activations.
    if options.graphs != "on" or device.type != "cuda":
        return False
    if options.offload != "none":
        fall_back("CUDA graphs", "kernel after kernel", f"--offload {options.offload} moves things")
        return False
    use_graphs(transformer)
    return True


def _random(
    name: str, shape: torch.Size, dtype: torch.dtype, device: torch.device, seed: int
) -> Tensor:
    """Numbers of a size that keeps what flows through about as large as it was.

    The same at every precision, so that precisions can be compared.
    """
    owner, _, leaf = name.rpartition(".")
    if leaf == "bias":
        return torch.zeros(shape, dtype=dtype, device=device)
    if "norm" in owner and leaf == "weight":
        return torch.ones(shape, dtype=dtype, device=device)
    if leaf.startswith("fold_"):
        return torch.full(shape, 1 / shape[0], dtype=dtype, device=device)
    generator = torch.Generator(device).manual_seed(seed + zlib.crc32(name.encode()))
    values = torch.empty(shape, device=device)
    return values.normal_(0.0, float(shape[-1]) ** -0.5, generator=generator).to(dtype)
