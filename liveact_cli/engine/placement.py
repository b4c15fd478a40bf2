"""Where and how exactly a render's model computes: chosen from its bytes before anything is loaded.

Nothing is allocated here; of the weights only names and sizes are read.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

import torch

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.budget import (
    DRAWING,
    CodecSizes,
    DecodeSizes,
    Layout,
    Precision,
    drawing_sizes,
)
from liveact_cli.core.errors import DeviceError
from liveact_cli.core.placement import Choice, Wishes, choose
from liveact_cli.core.units import Size, format_bytes
from liveact_cli.model.config import LIVEACT_18B, TransformerConfig
from liveact_cli.runtime.build import Options, check_engine
from liveact_cli.runtime.devices import choose_devices, examine_machine
from liveact_cli.runtime.loader import read_config
from liveact_cli.runtime.transformer_engine import transformer_engine
from liveact_cli.weights.registry import FULL, ModelRow
from liveact_cli.weights.resolve import ResolvedModel
from liveact_cli.weights.store import AUDIO_WEIGHTS, find_audio_encoder, find_decoder, wan_files

LARGEST_ON_CPU: Final = 4_000_000_000
"""Bytes of weights that are still tried without a GPU: checkpoints for tests and studies."""
SPATIAL_STRIDE: Final = 8
"""Pixels a side of a latent pixel of the Wan VAE."""
RELEASED_VAE, RELEASED_TEXT, RELEASED_AUDIO = 254_000_000, 11_400_000_000, 760_000_000
"""Bytes of the released encoders on a GPU, for planning before they are there."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What was chosen: on which kind of device, and with which numbers (none on a CPU)."""

    layout: Layout
    device: str
    choice: Choice | None = None

    @property
    def note(self) -> str | None:
        """What to tell the user, in one line."""
        return None if self.choice is None else str(self.choice)

    def rows(self) -> list[tuple[str, str]]:
        """Return what to show of it: names and texts."""
        if self.choice is None:
            return [("device", f"{self.device}, {self.layout.precision}")]
        needs = self.choice.needs
        return [("GPU", str(self.choice)), ("bytes", str(needs.device)), ("host", str(needs.host))]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {"device": self.device, **asdict(self.layout)}
        if self.choice is not None:
            values["reason"] = self.choice.reason
            for place, budget in self.choice.needs._asdict().items():
                values[f"{place}_bytes"] = {part.name: part.nbytes for part in budget.parts}
        return values

    def record(self) -> dict[str, Any]:
        """Return what decides the numbers of a video."""
        layout = self.layout
        made: dict[str, Any] = {"precision": layout.precision, "kv_precision": layout.kv_precision}
        return made if layout.tile is None else made | {"tile": layout.tile}


def place(
    model: ResolvedModel,
    settings: RenderSettings,
    size: Size,
    begun: Mapping[str, Any] | None = None,
) -> Placement:
    """Choose for a render at `size` (width, height).

    `begun` is the `record` of the unfinished render that goes on, whose precision is kept. Raises
    DeviceError with the numbers when nothing fits.
    """
    settings = _as_begun(settings, begun)
    devices = choose_devices(settings.gpus, settings.device)
    rounds = settings.precision == "fp8" or (not settings.precision and devices[0].type == "cuda")
    engine = rounds and settings.fp8_backend == "te"
    if engine:
        check_engine(settings.offload)
        transformer_engine()
    if devices[0].type == "cpu":
        _check_host_memory(model)
        return Placement(_on_processors(settings, len(devices)), "cpu")
    config = read_config(model.path)
    sizes = sizes_of(config, model.row, settings, size)
    wishes = replace(_wishes(settings), resident=engine)
    choice = choose(sizes, codec_sizes(model, settings, size), examine_machine(), wishes)
    return Placement(choice.layout, "cuda", choice)


def options_of(placement: Placement, settings: RenderSettings) -> Options:
    """Return how the transformer is built, but for which layers run in FP8."""
    layout = placement.layout
    narrow = placement.device == "cuda" or layout.precision == "bf16"
    return Options(
        torch.bfloat16 if narrow else torch.float32,
        fp8_memory=layout.kv_precision == "fp8",
        offload=layout.offload,
        kernels=settings.kernels or "auto",
        attention=settings.attention or "auto",
        fp8_backend=settings.fp8_backend or "own",
    )


def sizes_of(
    config: TransformerConfig, row: ModelRow, settings: RenderSettings, size: Size
) -> DecodeSizes:
    """Return what decides the bytes of the transformer's work."""
    guided = settings.audio_guidance not in (None, 1.0)
    each = settings.prompt_granularity == "frame"
    return config.decode_sizes(
        row.policy,
        (size.height // SPATIAL_STRIDE, size.width // SPATIAL_STRIDE),
        texts=row.policy.chunk if each else 1,
        silent_steps=2 if guided else 0,
    )


def codec_sizes(model: ResolvedModel, settings: RenderSettings, size: Size) -> CodecSizes:
    """Return what decides the bytes around the transformer, from the files' sizes."""
    files, name = wan_files(model.path), settings.decoder or "wan"
    heard = find_audio_encoder(model.path, settings.audio_encoder)
    audio = [heard / name for name in AUDIO_WEIGHTS if (heard / name).is_file()]
    # The released VAE is stored in float32 and runs in bfloat16; the others are stored as they
    # run, wav2vec2 with as much again for what it computes.
    vae = files.vae.stat().st_size // 2
    if name != "wan":  # of the VAE only what encodes comes along, which is less than half
        vae = vae // 2 + find_decoder(model.path, name, settings.decoder_weights).stat().st_size
    drawing = drawing_sizes(name, fused=find_spec("triton") is not None)
    if settings.vae_overlap:  # one GPU draws it
        drawing = replace(drawing, shared=False)
    return CodecSizes(
        size,
        vae=vae,
        text_encoder=files.text_encoder.stat().st_size,
        audio_encoder=2 * audio[0].stat().st_size,
        drawing=drawing,
    )


def released_needs(size: Size, settings: RenderSettings) -> tuple[DecodeSizes, CodecSizes]:
    """Return what decides the bytes of the released model, whose files need not be there."""
    sizes = sizes_of(LIVEACT_18B, FULL, settings, size)
    drawing = DRAWING[settings.decoder or "wan"]
    return sizes, CodecSizes(size, RELEASED_VAE, RELEASED_TEXT, RELEASED_AUDIO, drawing)


def _as_begun(settings: RenderSettings, begun: Mapping[str, Any] | None) -> RenderSettings:
    """Leave no choice where an unfinished render has made it."""
    made = (begun or {}).get("arithmetic")
    if not made or made["precision"] == "fp32":
        return settings
    return replace(
        settings,
        precision=settings.precision or made["precision"],
        kv_precision=settings.kv_precision or made["kv_precision"],
        tiles=made.get("tile", 0) if settings.tiles is None else settings.tiles,
    )


def _wishes(settings: RenderSettings) -> Wishes:
    return Wishes(
        settings.precision,
        settings.kv_precision,
        settings.offload,
        settings.gpus,
        settings.tiles,
    )


def _on_processors(settings: RenderSettings, count: int) -> Layout:
    """Processors compute in float32 unless something else is asked for; FP8 is emulated."""
    precision: Precision = settings.precision or "fp32"
    kept = settings.kv_precision or "bf16"
    return Layout(precision, kept, settings.offload or "none", count, tile=settings.tiles or None)


def _check_host_memory(model: ResolvedModel) -> None:
    """Say that there is no GPU before a large checkpoint fills the memory; small ones run."""
    weights = sum(file.stat().st_size for file in model.path.glob("*.safetensors"))
    if weights > LARGEST_ON_CPU:
        raise DeviceError(
            f"{model.row.name} needs a GPU, and there is none here (weights of "
            f"{format_bytes(weights)})",
            "--model liveact-mini runs on a CPU",
        )
