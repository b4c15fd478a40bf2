"""Replaying recorded numbers: does this machine, kernel or precision compute what was recorded?"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from liveact_cli.core.budget import Offload
from liveact_cli.core.errors import MediaError, UsageError
from liveact_cli.core.geometry import ChunkPlan, ChunkSpan, MemoryPolicy
from liveact_cli.core.placement import OFFLOADS
from liveact_cli.core.verification import (
    Comparison,
    Golden,
    Kind,
    RollOutInputs,
    Subject,
    Verified,
    relative_error,
)
from liveact_cli.engine.conditioning import Conditioner, Reference
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.models import load_shared
from liveact_cli.engine.noise import RecordedNoise
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.adapting import AdaptivePlan
from liveact_cli.runtime.build import Options
from liveact_cli.runtime.crew import Crew


@dataclass(frozen=True)
class RecordedRows:
    """Audio rows `[frames, layers, channels]` that lie in memory (an `AudioRows`)."""

    rows: Tensor

    def window(self, start: int, stop: int) -> Tensor:
        """Return rows with their indices clamped to the recording."""
        return self.rows[torch.arange(start, stop).clamp(0, len(self.rows) - 1)]


@dataclass(frozen=True)
class _RecordedPrompts:
    """One text in some chunks, another in the rest (a `PromptTrack`)."""

    inputs: RollOutInputs

    def context(self, span: ChunkSpan) -> Tensor:
        other = self.inputs.other_text
        if other is not None and span.index in self.inputs.other_chunks:
            return other
        return self.inputs.text


@dataclass
class CheckpointSubject:
    """A released checkpoint folder (a `Subject`); the transformer is loaded once for all files.

    Several devices share the work; then close it in the end, with a with block.
    """

    checkpoint: Path
    devices: Sequence[torch.device] = (torch.device("cpu"),)
    dtype: torch.dtype = torch.float32
    options: Options | None = None
    _exits: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """End the processes on other devices."""
        self._exits.__exit__(kind, error, trace)

    @property
    def device(self) -> torch.device:
        """Where everything but the transformer is computed."""
        return self.devices[0]

    @cached_property
    def transformer(self) -> LiveActTransformer:
        """The transformer of the checkpoint."""
        options = self.options or Options(self.dtype)
        loaded = load_shared(self.checkpoint, options, self.devices)
        if isinstance(loaded, Crew):
            return self._exits.enter_context(loaded).transformer
        return loaded

    def roll_out(self, golden: Golden, inputs: RollOutInputs) -> Iterator[dict[str, Tensor]]:
        """Decode the chunks whose noise is recorded; yield each one's results, then the memory."""
        transformer, policy = self.transformer, MemoryPolicy()
        _check_fit(golden, inputs, transformer.config, policy)
        settings = DecodeSettings(
            fold="mean" if inputs.mean_memory else "shared", audio_guidance=inputs.audio_guidance
        )
        conditioner = Conditioner(
            transformer,
            policy,
            RecordedRows(inputs.rows),
            _RecordedPrompts(inputs),
            Reference(inputs.image, inputs.y),
            guided=settings.guided,
        )
        height, width = golden.tensors["chunk0.noise_init"].shape[-2:]
        memory = DecodeMemory(transformer, policy, (height, width), settings)
        plan = ChunkPlan.of_chunks(policy, golden.chunks)
        noise = RecordedNoise(golden.tensors)
        for chunk in decode_chunks(transformer, plan, conditioner, noise, memory, settings):
            name = f"chunk{chunk.span.index}"
            steps = {f"{name}.step{i}.velocity": v for i, v in enumerate(chunk.velocities)}
            yield steps | {f"{name}.latent": chunk.latent}
        yield {
            f"final_cache.{name}": value for name, value in memory.main.state(whole=True).items()
        }


def ways_to_run(
    checkpoint: Path,
    precision: str,
    kv_precision: str,
    offload: str,
    variables: Mapping[str, str],
) -> Options:
    """Return how a transformer is run for a proof; raises UsageError for a word that is none.

    Kernels and attention are those of the variables `LIVEACT_KERNELS` and `LIVEACT_ATTENTION`.
    """
    words = {
        "precision": (precision, ("fp32", "bf16", "fp8")),
        "kv-precision": (kv_precision, ("exact", "bf16", "fp8")),
        "offload": (offload, OFFLOADS),
    }
    for name, (value, allowed) in words.items():
        if value not in allowed:
            raise UsageError(f"--{name} {value}: choose {', '.join(allowed)}", "liveact verify -h")
    return Options(
        torch.float32 if precision == "fp32" else torch.bfloat16,
        AdaptivePlan(checkpoint).plan if precision == "fp8" else None,
        fp8_memory=kv_precision == "fp8",
        offload=cast(Offload, offload),
        kernels=variables.get("LIVEACT_KERNELS") or "auto",
        attention=variables.get("LIVEACT_ATTENTION") or "auto",
    )


def _check_fit(
    golden: Golden, inputs: RollOutInputs, config: TransformerConfig, policy: MemoryPolicy
) -> None:
    """Refuse a file that another model made: its tensors have other widths."""
    widths: dict[str, tuple[object, object]] = {
        "the text": (inputs.text.shape[-1], config.text_dim),
        "an audio row": (inputs.rows[0].numel(), config.audio_layers * config.audio_channels),
    }
    if inputs.image is not None:
        widths["the image tokens"] = (inputs.image.shape[-1], config.image_dim)
    if inputs.y is not None:
        widths["y"] = (inputs.y.shape[0], config.y_dim)
    for chunk in range(golden.chunks):
        recorded = tuple(golden.tensors[f"chunk{chunk}.noise_init"].shape[:2])
        widths[f"the noise of chunk {chunk}"] = (
            recorded,
            (config.out_dim, policy.chunk_size(chunk)),
        )
    for name, (given, needed) in widths.items():
        if given != needed:
            raise MediaError(
                f"{golden.path.name} was not recorded with this model: {name} has size {given}, "
                f"the model takes {needed}",
                "verify a checkpoint with files that were recorded with it",
            )


def compare_recorded(
    ours: Mapping[str, Tensor], recorded: Mapping[str, Tensor]
) -> Iterator[Comparison]:
    """Yield a comparison for every tensor of ours that was recorded."""
    for name, value in ours.items():
        if name in recorded:
            yield Comparison(name, relative_error(value, recorded[name]))


def _is_rollout(golden: Golden) -> bool:
    return {"audio_embedding", "context_a", "chunk0.noise_init"} <= golden.tensors.keys()


def _rollout_inputs(golden: Golden) -> RollOutInputs:
    tensors, settings = golden.tensors, golden.settings
    image, y = tensors.get("clip_fea"), tensors.get("y")
    try:
        chunks = frozenset(int(c) for c in settings.get("prompt_b_chunks", "").split(",") if c)
        guidance = float(settings.get("audio_cfg", "1.0"))
    except ValueError as error:
        raise MediaError(f"{golden.path} has settings that cannot be read: {error}") from error
    return RollOutInputs(
        rows=tensors["audio_embedding"],
        text=tensors["context_a"],
        image=None if image is None else image[0],
        y=None if y is None else y[0],
        other_text=tensors.get("context_b"),
        other_chunks=chunks,
        mean_memory=settings.get("mean_memory") == "True",
        audio_guidance=guidance,
    )


def _compare_rollout(subject: Subject, golden: Golden) -> Iterator[Comparison]:
    for results in subject.roll_out(golden, _rollout_inputs(golden)):
        yield from compare_recorded(results, golden.tensors)


ROLLOUT = Kind("rollout", _is_rollout, 1e-4, _compare_rollout)
KINDS: tuple[Kind, ...] = (ROLLOUT,)


def read_golden(path: Path) -> Golden:
    """Read a golden file whole; raises MediaError when it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Golden(path, tensors, file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise MediaError(
            f"{path} cannot be read as a golden file: {error}", "golden files are safetensors files"
        ) from error


@contextmanager
def exact_products() -> Iterator[None]:
    """Let float32 products be float32: by itself a GPU rounds convolutions' factors to 10 bits."""
    switches: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = False
        yield
    finally:
        for switch, allowed in zip(switches, before, strict=True):
            switch.allow_tf32 = allowed


def verify_file(
    subject: CheckpointSubject,
    path: Path,
    tolerance: float | None = None,
    kinds: Sequence[Kind] = KINDS,
) -> Verified:
    """Replay one golden file and compare every recorded result.

    `tolerance` replaces the kind's own. Raises MediaError when the file is of no known kind.
    """
    golden = read_golden(path)
    for kind in kinds:
        if kind.matches(golden):
            try:
                with exact_products():
                    comparisons = tuple(kind.compare(subject, golden))
            except KeyError as missing:
                raise MediaError(
                    f"{path} lacks {missing}", "it seems to be incomplete"
                ) from missing
            if not comparisons:
                raise MediaError(f"{path} records no results to compare with")
            limit = kind.tolerance if tolerance is None else tolerance
            return Verified(path, kind.name, limit, comparisons)
    known = ", ".join(kind.name for kind in kinds)
    raise MediaError(f"{path} is of no known kind ({known})", "see docs for the golden format")
