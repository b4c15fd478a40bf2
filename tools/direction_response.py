"""Measure how liveact-mini's weights answer every word; direction corrects by what this writes.

    python tools/direction_response.py [--audio examples/audio.wav] [--seeds 4] [-o FILE]

Run it after every training: what was measured on other weights is not used. Each word is told to
the transformer at several moments of a recording and under several seeds; what it changes against
the same seeds without the word, averaged from the first frame that knows of it, is the answer.
About a minute on two idle cores.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from liveact_cli.core.geometry import ChunkPlan, ChunkSpan, frames_of
from liveact_cli.engine.conditioning import Conditioner, Reference
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.media.audio import AudioSource
from liveact_cli.mini.decoder import MotionDecoder
from liveact_cli.mini.direction import told_from
from liveact_cli.mini.model import LATENT_SIZE, MiniModel, load_mini
from liveact_cli.mini.motion import MOTION_FPS, NUM_CHANNELS
from liveact_cli.mini.performer.direction import Cue, Direction, intensity_track, sampled_frames
from liveact_cli.mini.performer.expression import ACTION_TEMPLATES, MANNERS, action_frames
from liveact_cli.mini.response import (
    ACTION_TAIL,
    BEFORE,
    EMOTION_FRAMES,
    RESPONSE_NAME,
    Response,
    channels_of,
)
from liveact_cli.mini.vocabulary import context_rows
from liveact_cli.weights.resolve import MINI_FILE, PACKAGE, data_file, example_file

HELD = 110
"""Frames that an emotion lasts in a measurement."""
FIRST, STEP = 45, 7
"""Where the first cue begins, and how it moves from seed to seed (latent frames have 4)."""
JITTER = 1.0
"""Frames (sigma) over which averages are smoothed: fewer than any movement has."""


class Told:
    """Cues as contexts by latent frame (a `PromptTrack`)."""

    def __init__(self, cues: list[Cue], frames: int) -> None:
        """Hold the cues of a recording."""
        self.track = intensity_track(Direction(tuple(cues)), frames + 64)

    def context(self, span: ChunkSpan) -> torch.Tensor:
        """Return the contexts of a chunk."""
        frames = sampled_frames(span.latent_stop)[span.latent_start :]
        return torch.from_numpy(context_rows(self.track[frames]))


class Laboratory:
    """The model on one recording."""

    def __init__(self, audio: Path, model: MiniModel) -> None:
        """Load the sound."""
        source = AudioSource(audio)
        self.blocks = list(source.blocks())
        self.frames = frames_of(source.seconds, MOTION_FPS)
        self.model = model
        self.plain: dict[int, NDArray[np.float32]] = {}

    def motion(self, cues: list[Cue], seed: int) -> NDArray[np.float32]:
        """Return the motion `[frames, NUM_CHANNELS]` under `cues`."""
        model = self.model
        plan = ChunkPlan(model.policy, self.frames)
        rows = model.audio_encoder.stream(iter(self.blocks), self.frames, MOTION_FPS)
        track = Told(cues, self.frames)
        conditioner = Conditioner(model.transformer, model.policy, rows, track, Reference())
        settings = DecodeSettings(model.schedule, model.fold)
        memory = DecodeMemory(model.transformer, model.policy, LATENT_SIZE, settings)
        decoder = MotionDecoder(model.codec)
        noise = PhiloxNoise(seed)
        chunks = decode_chunks(model.transformer, plan, conditioner, noise, memory, settings)
        return np.concatenate([decoder.decode(chunk.latent) for chunk in chunks])[: self.frames]

    def change(self, cues: list[Cue], seed: int) -> NDArray[np.float32]:
        """Return what the cues change."""
        if seed not in self.plain:
            self.plain[seed] = self.motion([], seed)
        return self.motion(cues, seed) - self.plain[seed]


def measure_action(lab: Laboratory, word: str, seeds: int) -> NDArray[np.float32]:
    """Return the answer to an action's cue."""
    length = BEFORE + action_frames(word) + ACTION_TAIL
    answers = []
    for seed in range(seeds):
        starts = range(FIRST + STEP * seed, lab.frames - length - 4, length + 40)
        change = lab.change([Cue(word, s, s + action_frames(word)) for s in starts], seed)
        answers += [change[told_from(s) - BEFORE :][:length] for s in starts]
    return clean(word, np.mean(answers, axis=0))


def measure_emotion(
    lab: Laboratory, word: str, seeds: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the way of an emotion to its lasting offset, and its way back to nothing."""
    onsets, offsets = [], []
    length, half = BEFORE + EMOTION_FRAMES, EMOTION_FRAMES // 2
    for seed in range(seeds):
        starts = range(FIRST + STEP * seed, lab.frames - HELD - EMOTION_FRAMES - 4, HELD + 90)
        change = lab.change([Cue(word, s, s + HELD) for s in starts], seed)
        onsets += [change[told_from(s) - BEFORE :][:length] for s in starts]
        offsets += [change[told_from(s + HELD) - BEFORE :][:length] for s in starts]
    up, down = (clean(word, np.mean(parts, axis=0)) for parts in (onsets, offsets))
    # The lasting offset is what both ways share; the ends are made to meet it and nothing.
    lasting = np.mean((up[-half:].mean(axis=0), down[: BEFORE // 2].mean(axis=0)), axis=0)
    settle = np.linspace(0.0, 1.0, half)[:, None]
    up[-half:] += settle * (lasting - up[-half:])
    down[-half:] *= 1.0 - settle
    return up, down


def clean(word: str, answer: NDArray[np.floating]) -> NDArray[np.float32]:
    """Keep the channels that a word is meant to move; the rest differs by chance."""
    kept = np.zeros((len(answer), NUM_CHANNELS), np.float32)
    channels = channels_of(word)
    kept[:, channels] = gaussian_filter1d(answer[:, channels], JITTER, axis=0, mode="nearest")
    return kept


def main() -> None:
    """Measure all words and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, default=example_file("audio.wav"))
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("-o", "--output", type=Path, default=PACKAGE / "data" / RESPONSE_NAME)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.monotonic()
    weights = options.weights or data_file(MINI_FILE)
    lab = Laboratory(options.audio, load_mini(weights))
    ways, actions = {}, {}
    for word in MANNERS:
        if word != "neutral":
            ways[word] = measure_emotion(lab, word, options.seeds)
            print(f"{word:12} {time.monotonic() - begun:5.0f} s", flush=True)
    for word in ACTION_TEMPLATES:
        actions[word] = measure_action(lab, word, options.seeds)
        print(f"{word:12} {time.monotonic() - begun:5.0f} s", flush=True)
    onsets = {word: up for word, (up, _) in ways.items()}
    offsets = {word: down for word, (_, down) in ways.items()}
    Response(onsets, offsets, actions).save(options.output, weights)
    print(options.output)


if __name__ == "__main__":
    main()
