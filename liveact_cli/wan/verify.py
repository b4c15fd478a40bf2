"""Replaying recorded components and whole pipelines: two kinds of golden file."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from liveact_cli.core.errors import MediaError
from liveact_cli.core.geometry import frames_of
from liveact_cli.core.verification import (
    Comparison,
    Golden,
    Kind,
    RollOutInputs,
    Subject,
    relative_error,
)
from liveact_cli.wan.audio_rows import SAMPLE_RATE
from liveact_cli.wan.bundle import WanModel, load_wan

COMPONENTS_TOLERANCE: Final = 1e-4
LATENT_TOLERANCE: Final = 1e-3
GREY_LEVELS: Final = 1
"""Frames are bytes: rounding may put a value on either side of a step."""

_ROWS: Final = "audio.embedding_fps"


def wan_kinds(audio_encoder: Path | None = None) -> tuple[Kind, ...]:
    """Return the kinds that this family replays; `audio_encoder` as `load_wan` takes it."""
    return (
        Kind(
            "components",
            lambda golden: {"vae.latent", "clip.context", "audio.wave"} <= golden.tensors.keys(),
            COMPONENTS_TOLERANCE,
            partial(_compare_components, audio_encoder),
        ),
        Kind(
            "pipeline",
            lambda golden: {"frames_u8", "audio.wave", "image"} <= golden.tensors.keys(),
            LATENT_TOLERANCE,
            partial(_compare_pipeline, audio_encoder),
        ),
    )


def _load(subject: Subject, audio_encoder: Path | None) -> WanModel:
    return load_wan(subject.checkpoint, audio_encoder, device=subject.device, dtype=subject.dtype)


def _compare_components(
    audio_encoder: Path | None, subject: Subject, golden: Golden
) -> Iterator[Comparison]:
    model, tensors = _load(subject, audio_encoder), golden.tensors

    def compared(name: str, ours: Tensor) -> Comparison:
        return Comparison(name, relative_error(ours, tensors[name]))

    for index, prompt in enumerate(_prompts(golden)):
        ids = torch.tensor(model.prompt_encoder.ids(prompt))
        yield compared(f"text.{index}.ids", ids)
        yield compared(f"text.{index}.context", model.prompt_encoder.encode(prompt))
    model.prompt_encoder.release()
    sight = model.see(tensors["image"][0, :, 0])
    yield compared("clip.context", sight.image_tokens)
    yield compared("vae.encoded", sight.y[model.vae.sizes.temporal_stride :])
    yield compared("vae.decoded", model.frame_decoder().video(tensors["vae.latent"][0]))
    wave = tensors["audio.wave"].numpy()
    for name in tensors:
        if name.startswith(_ROWS):
            # The encoder alone: the recording's tempo is not changed.
            frames = len(tensors[name])
            yield compared(name, model.audio_encoder.rows(iter([wave]), frames).window(0, frames))


def _prompts(golden: Golden) -> list[str]:
    try:
        prompts = json.loads(golden.settings["prompts"])
    except (KeyError, ValueError) as error:
        raise MediaError(f"{golden.path} names no prompts in its metadata") from error
    return [str(prompt) for prompt in prompts]


def _compare_pipeline(
    audio_encoder: Path | None, subject: Subject, golden: Golden
) -> Iterator[Comparison]:
    tensors = golden.tensors
    try:
        fps, prompt = float(golden.settings["fps"]), golden.settings["prompt"]
    except (KeyError, ValueError) as error:
        raise MediaError(f"{golden.path} names no fps or prompt in its metadata") from error
    model = _load(subject, audio_encoder)
    wave = tensors["audio.wave"].numpy()
    frames = frames_of(len(wave) / SAMPLE_RATE, fps)
    sight = model.see(tensors["image"][0, :, 0])
    inputs = RollOutInputs(
        rows=model.audio_encoder.stream(iter([wave]), frames, fps).window(0, frames),
        text=model.prompt_encoder.encode(prompt),
        image=sight.image_tokens,
        y=sight.y,
    )
    model.prompt_encoder.release()
    decoder, drawn, recorded = model.frame_decoder(), 0, tensors["frames_u8"].numpy()
    for results in subject.roll_out(golden, inputs):
        for name, latent in results.items():
            if not name.endswith(".latent"):
                continue
            yield Comparison(name, relative_error(latent, tensors[name]))
            for frame in decoder.decode(latent):
                yield Comparison(f"frame {drawn}", _beyond(frame, recorded, drawn))
                drawn += 1


def _beyond(frame: np.ndarray, recorded: np.ndarray, index: int) -> float:
    """Grey levels by which a frame differs beyond what rounding explains; 0 is equal."""
    if index >= len(recorded) or recorded[index].shape != frame.shape:
        return float("inf")
    difference = np.abs(recorded[index].astype(int) - frame.astype(int)).max()
    return float(max(0, int(difference) - GREY_LEVELS))
