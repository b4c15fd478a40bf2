"""What can be set for a render, checked and frozen; the layers below see only this."""

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from liveact_cli.core.units import Size
from liveact_cli.weights.registry import DEFAULT_MODEL, ModelRow


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """The settings of one render; times in seconds, sizes in pixels (width, height).

    Thread counts are settings with fixed defaults because x264's bits and torch's sums depend on
    them: the same command gives the same file however many cores there are.
    """

    model: str = DEFAULT_MODEL
    prompt: str = ""
    size: Size | None = None
    fps: Fraction = Fraction(25)
    seed: int | None = None
    start: float = 0.0
    duration: float | None = None
    face: int | None = None
    label: bool = False
    crf: int = 18
    encoder_preset: str = "veryfast"
    encoder_threads: int = 2
    torch_threads: int = 1
    segment_seconds: float = 20.0
    audio_guidance: float | None = None
    sampler: Literal["renoise", "euler"] | None = None
    memory: Literal["conv", "mean"] | None = None
    prompt_granularity: Literal["frame", "chunk"] | None = None
    audio_encoder: Path | None = None
    vae_overlap: bool | None = None
    gpus: int | None = None
    device: Literal["cpu", "cuda"] | None = None
    precision: Literal["bf16", "fp8"] | None = None
    kv_precision: Literal["bf16", "fp8"] | None = None
    offload: Literal["none", "cache", "blocks", "all"] | None = None
    kernels: Literal["triton", "compile", "eager"] | None = None
    attention: Literal["sdpa", "cudnn", "flash", "fp8", "fp8-emulated"] | None = None
    fp8_backend: Literal["own", "te"] | None = None
    decoder: Literal["wan", "taew2_1", "lightvae"] | None = None
    decoder_weights: Path | None = None
    tiles: int | None = None
    """Side of the pieces in which frames are decoded; 0 decodes them whole, None decides itself."""

    def unused(self, row: ModelRow) -> tuple[str, ...]:
        """Return the names of what is set here and has no effect on a model."""
        names = FULL_ONLY if row.family == "mini" else ()
        return tuple(name for name in names if getattr(self, name) is not None)

    def without(self, names: tuple[str, ...]) -> "RenderSettings":
        """Return settings with these left at their defaults."""
        return replace(self, **{name: DEFAULTS[name] for name in names})


FULL_ONLY: Final = (
    "audio_guidance", "sampler", "memory", "prompt_granularity", "audio_encoder", "vae_overlap",
    "gpus", "device", "tiles", "decoder", "decoder_weights", "precision", "kv_precision",
    "offload", "kernels", "attention", "fp8_backend",
)  # fmt: skip
"""Settings of models like liveact-18b; liveact-mini's weights decide these themselves."""

DEFAULTS: Final[dict[str, Any]] = {field.name: field.default for field in fields(RenderSettings)}

NOT_IN_THE_RESULT: Final = ("gpus", "device", "offload", "precision", "kv_precision")
"""Settings that say where a render is computed, not what; the precision that was chosen is recorded
by itself, whether it was asked for or not."""

SETTING_NAMES: Final = tuple(DEFAULTS)
