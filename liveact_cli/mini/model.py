"""liveact-mini, loaded: the transformer and its codecs, ready for `engine.decode_chunks`."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from liveact_cli.core.errors import WeightsError
from liveact_cli.core.geometry import ChunkSpan, MemoryPolicy
from liveact_cli.mini.audio import AudioNetConfig, LogMelAudioEncoder
from liveact_cli.mini.codec import LATENT_CHANNELS, MotionCodec
from liveact_cli.mini.motion import NUM_GROUPS
from liveact_cli.mini.performer.direction import Direction, intensity_track, sampled_frames
from liveact_cli.mini.vocabulary import context_rows, intensities, read_prompt
from liveact_cli.mini.weights import MiniSettings, read_mini
from liveact_cli.model.memory import Fold
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.model.transformer import LiveActTransformer

WEIGHTS_NAME: Final = "liveact-mini.safetensors"
LATENT_SIZE: Final = (1, NUM_GROUPS)


class VocabularyPromptEncoder:
    """Reads free text as emotions and actions (a `PromptEncoder`); unknown words say nothing."""

    def encode(self, prompt: str) -> Tensor:
        """Return the context `[CONTEXT_ROWS, words]` of a prompt; without known words, neutral."""
        return torch.from_numpy(context_rows(intensities(read_prompt(prompt))))


class DirectionTrack:
    """Emotions and actions over time, one context per latent frame (a `PromptTrack`)."""

    def __init__(self, direction: Direction, frames: int) -> None:
        """Hold the direction of a recording of `frames` video frames."""
        self._track = intensity_track(direction, frames)

    def context(self, span: ChunkSpan) -> Tensor:
        """Return `[F, CONTEXT_ROWS, words]` for the latent frames of a chunk."""
        frames = sampled_frames(span.latent_stop)[span.latent_start :]
        return torch.from_numpy(context_rows(self._track[frames.clip(max=len(self._track) - 1)]))


@dataclass(frozen=True)
class MiniModel:
    """Every part of liveact-mini that does not depend on the picture."""

    settings: MiniSettings
    transformer: LiveActTransformer
    audio_encoder: LogMelAudioEncoder
    prompt_encoder: VocabularyPromptEncoder
    codec: MotionCodec

    @property
    def schedule(self) -> StepSchedule:
        """The denoising steps that the weights were distilled for."""
        return self.settings.schedule

    @property
    def policy(self) -> MemoryPolicy:
        """What a chunk remembers."""
        return self.settings.policy

    @property
    def fold(self) -> Fold:
        """How the memory folds."""
        return self.settings.fold


def load_mini(path: Path | None = None, dtype: torch.dtype = torch.float32) -> MiniModel:
    """Load liveact-mini from a file, a folder that holds `WEIGHTS_NAME`, or the package.

    Raises `WeightsError` where the weights are missing or do not fit this version.
    """
    if path is not None:
        return _load(path / WEIGHTS_NAME if path.is_dir() else path, dtype)
    with as_file(files("liveact_cli") / "data" / WEIGHTS_NAME) as packaged:
        return _load(packaged, dtype)


def _load(path: Path, dtype: torch.dtype) -> MiniModel:
    weights = read_mini(path)
    settings = weights.settings
    # Not on the meta device: that imports sympy, which takes longer than everything else here.
    transformer = LiveActTransformer(settings.transformer)
    if settings.transformer.out_dim != LATENT_CHANNELS:
        raise WeightsError(
            f"{path} makes latents of {settings.transformer.out_dim} channels, "
            f"motion needs {LATENT_CHANNELS}"
        )
    state = {name: value.to(dtype) for name, value in weights.transformer.items()}
    try:
        transformer.load_state_dict(state, assign=True)
        audio_encoder = LogMelAudioEncoder.from_state(
            weights.audio_encoder, _audio_config(settings.audio_encoder)
        )
    except (RuntimeError, TypeError) as error:
        raise WeightsError(
            f"{path} does not fit this version of liveact-mini ({error})",
            "reinstall liveact-cli: it carries the weights that fit",
        ) from error
    transformer.eval().requires_grad_(False)
    return MiniModel(
        settings,
        transformer,
        audio_encoder,
        VocabularyPromptEncoder(),
        MotionCodec.from_state(weights.codec),
    )


def _audio_config(values: dict[str, Any]) -> AudioNetConfig:
    """JSON turns tuples into lists; the config wants tuples."""
    fixed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return AudioNetConfig(**fixed)
