"""Measures the motion of liveact-mini's weights: life, seams, steps, memory and drift.

    python -m liveact_cli.training.evaluate --weights FILE --sound FILE.wav [FILE.wav ...]
        [--minutes 10] [--seeds 2] [--json OUT]

Lips are judged by tools/lip_sync.py against forced alignment; this module measures everything else.
The sounds are joined and repeated up to `--minutes`. Prints one table per question.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveact_cli.core.geometry import ChunkPlan
from liveact_cli.core.protocols import AudioRows
from liveact_cli.engine.conditioning import Conditioner, FixedPrompt, Reference
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.mini.decoder import MotionDecoder
from liveact_cli.mini.model import LATENT_SIZE, MiniModel, load_mini
from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS, lip_aperture
from liveact_cli.model.attention import Kernel, attend_memory
from liveact_cli.model.memory import Fold, LayerMemory
from liveact_cli.model.rope import RopeTable
from liveact_cli.model.schedule import StepSchedule

Motion = NDArray[np.float32]
SAMPLE_RATE = 16000
BLINK = 0.5
"""Lid closure above which an eye is shut."""


def attend_alone(
    q: Tensor, k: Tensor, v: Tensor, *, memory: LayerMemory, rope: RopeTable, kernel: Kernel
) -> Tensor:
    """Attend to the chunk itself only, as if there were no memory."""
    k_all, _ = memory.append(k, v)
    first = k_all.shape[1] - q.shape[1]
    return kernel(rope.rotate(q, first), rope.rotate(k, first), v)


@dataclass(frozen=True)
class Settings:
    """One way to run the model."""

    schedule: StepSchedule
    fold: Fold
    alone: bool = False
    mend: bool = True


def shipped(model: MiniModel) -> Settings:
    """Return the settings of the weights file."""
    return Settings(model.schedule, model.fold)


def generate(
    model: MiniModel, rows: AudioRows, frames: int, seed: int, settings: Settings, prompt: str = ""
) -> Motion:
    """Return the motion `[frames, NUM_CHANNELS]` of a recording given as audio rows."""
    plan = ChunkPlan(model.policy, frames)
    tokens = FixedPrompt(model.prompt_encoder.encode(prompt))
    conditioner = Conditioner(model.transformer, model.policy, rows, tokens, Reference())
    decode = DecodeSettings(settings.schedule, settings.fold)
    memory = DecodeMemory(model.transformer, model.policy, LATENT_SIZE, decode)
    decoder = MotionDecoder(model.codec, mend=settings.mend)
    model.transformer.attend = attend_alone if settings.alone else attend_memory
    parts = [
        decoder.decode(chunk.latent)
        for chunk in decode_chunks(
            model.transformer, plan, conditioner, PhiloxNoise(seed), memory, decode
        )
    ]
    model.transformer.attend = attend_memory
    return np.concatenate(parts)[:frames]


def hear(model: MiniModel, samples: NDArray[np.float32]) -> tuple[AudioRows, int]:
    """Return the audio rows of 16 kHz mono samples and the number of video frames."""
    frames = max(1, round(len(samples) / SAMPLE_RATE * MOTION_FPS))
    blocks: Iterator[NDArray[np.float32]] = iter([samples])
    return model.audio_encoder.stream(blocks, frames, MOTION_FPS), frames


def read_sounds(paths: list[Path], seconds: float) -> NDArray[np.float32]:
    """Join sounds (16 kHz mono) with half a second between them, repeated to `seconds`."""
    parts: list[NDArray[np.float32]] = []
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        if rate != SAMPLE_RATE or samples.ndim != 1:
            raise SystemExit(f"{path} must be {SAMPLE_RATE} Hz mono ({rate} Hz, {samples.ndim}-d)")
        parts += [samples, np.zeros(SAMPLE_RATE // 2, np.float32)]
    joined = np.concatenate(parts)
    wanted = int(seconds * SAMPLE_RATE)
    return np.tile(joined, -(-wanted // len(joined)))[:wanted]


def column(motion: Motion, name: str) -> NDArray[np.float32]:
    """Return one channel `[frames]`."""
    return motion[:, CHANNEL_INDEX[name]]


def blink_starts(motion: Motion) -> NDArray[np.int64]:
    """Return the frames at which the eyes shut."""
    shut = (column(motion, "eyeBlinkLeft") > BLINK).astype(int)
    return np.flatnonzero(np.diff(shut) == 1) + 1


def seam_ratio(motion: Motion, model: MiniModel, names: tuple[str, ...]) -> float:
    """Return the mean change across chunk boundaries over that inside chunks, by channel mean."""
    plan = ChunkPlan(model.policy, len(motion))
    seams = np.array([span.frame_start for span in plan.spans(1)])
    ratios = []
    for name in names:
        step = np.abs(np.diff(column(motion, name)))
        inside = np.delete(step, seams - 1)
        ratios.append(step[seams - 1].mean() / max(inside.mean(), 1e-9))
    return float(np.mean(ratios))


def jerk_ratio(motion: Motion, model: MiniModel, names: tuple[str, ...]) -> float:
    """Like `seam_ratio` for second differences: kinks rather than jumps."""
    plan = ChunkPlan(model.policy, len(motion))
    seams = np.array([span.frame_start for span in plan.spans(1)])
    seams = seams[seams < len(motion) - 1]
    near = np.concatenate([seams - 2, seams - 1])
    ratios = []
    for name in names:
        bend = np.abs(np.diff(column(motion, name), 2))
        ratios.append(bend[near].mean() / max(np.delete(bend, near).mean(), 1e-9))
    return float(np.mean(ratios))


HEAD = ("yaw", "pitch", "roll")
LIPS = ("jawOpen", "mouthClose", "mouthPucker")


def life(motion: Motion, model: MiniModel) -> dict[str, float]:
    """Return how alive a motion is, with the units in the names."""
    minutes = len(motion) / MOTION_FPS / 60
    starts = blink_starts(motion)
    gaps = np.diff(starts) / MOTION_FPS
    values = {
        "blinks/min": len(starts) / minutes,
        "blink gap median s": float(np.median(gaps)) if len(gaps) else float("nan"),
        "blink depth": float(np.percentile(column(motion, "eyeBlinkLeft"), 99)),
        "seam head": seam_ratio(motion, model, HEAD),
        "kink head": jerk_ratio(motion, model, HEAD),
        "seam lips": seam_ratio(motion, model, LIPS),
        "seam brows": seam_ratio(motion, model, ("browInnerUp", "browOuterUpLeft")),
        "sd brow": float(column(motion, "browOuterUpLeft").std()),
        "sd gazeX": float(column(motion, "gazeX").std()),
        "sd aperture": float(lip_aperture(motion).std()),
    }
    for name in HEAD:
        values[f"sd {name} deg"] = float(column(motion, name).std())
        values[f"speed {name} deg/s"] = float(
            np.abs(np.diff(column(motion, name))).mean() * MOTION_FPS
        )
    return values


def drift(motion: Motion, model: MiniModel) -> dict[str, dict[str, float]]:
    """Return the life of the first and the last third of a long motion."""
    third = len(motion) // 3
    whole = 32 * (third // 32)
    return {"first third": life(motion[:whole], model), "last third": life(motion[-whole:], model)}


def variants(model: MiniModel) -> dict[str, Settings]:
    """Return the step counts and the memories that are compared."""
    base = shipped(model)
    sigmas = model.schedule.sigmas

    def steps(levels: tuple[float, ...]) -> Settings:
        audio = (True,) * len(levels)
        return replace(base, schedule=StepSchedule(levels, audio, model.schedule.sampler))

    def spread(count: int) -> tuple[float, ...]:
        last = sigmas[-1] if model.schedule.sampler == "renoise" else sigmas[-1] / count * 2
        places = np.linspace(0, 1, count)
        return tuple(float(s) for s in np.interp(places, [0, 0.5, 1], [sigmas[0], sigmas[1], last]))

    return {
        "1 step": steps(sigmas[:1]),
        "2 steps": steps((sigmas[0], sigmas[1])),
        f"{len(sigmas)} steps (shipped)": base,
        "8 steps": steps(spread(8)),
        "50 steps": steps(spread(50)),
        "mean memory": replace(base, fold="mean"),
        "no memory": replace(base, alone=True),
        "no mending": replace(base, mend=False),
        "mean memory, no mending": replace(base, fold="mean", mend=False),
        "no memory, no mending": replace(base, alone=True, mend=False),
    }


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print rows of named numbers."""
    names = list(next(iter(rows.values())))
    width = max(map(len, rows))
    print(f"\n{title}\n" + " " * width + "  " + " | ".join(names))
    for label, values in rows.items():
        print(f"{label:{width}}  " + " | ".join(f"{values[name]:.3g}" for name in names))


def evaluate(
    model: MiniModel, samples: NDArray[np.float32], seeds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return all tables for one long sound."""

    def run(settings: Settings, seed: int, sound: NDArray[np.float32] = samples) -> Motion:
        rows, frames = hear(model, sound)
        return generate(model, rows, frames, seed, settings)

    base = shipped(model)
    short = samples[: 120 * SAMPLE_RATE]
    long = [run(base, seed) for seed in range(seeds)]
    return {
        "life": {f"seed {seed}": life(motion, model) for seed, motion in enumerate(long)},
        "drift": drift(long[0], model),
        "silence": {
            "two minutes": life(run(base, 0, np.zeros(120 * SAMPLE_RATE, np.float32)), model)
        },
        "variants": {
            name: life(run(settings, 0, short), model) for name, settings in variants(model).items()
        },
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure the motion of liveact-mini.")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--sound", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_mini(given.weights)
    tables = evaluate(model, read_sounds(given.sound, 60 * given.minutes), given.seeds)
    for title, rows in tables.items():
        print_table(title, rows)
    if given.json:
        given.json.write_text(json.dumps(tables, indent=1), encoding="utf8")


if __name__ == "__main__":
    main()
