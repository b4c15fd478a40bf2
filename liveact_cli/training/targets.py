"""Training targets of liveact-mini: the performer's motion for every stream of the corpus.

    python -m liveact_cli.training.targets --corpus DIR --out DIR/targets [--split train] [--seed 0]

writes, aligned with the corpus' `index.json` (offsets in frames at 25 fps):

    motion.npy         [frames, NUM_CHANNELS] float16
    intensities.npy    [frames, words] uint8, every word's intensity in 1/255
    codec.safetensors  statistics of the motion codec
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from liveact_cli.core.errors import UsageError
from liveact_cli.mini.codec import STRIDE, MotionCodec, video_frames
from liveact_cli.mini.motion import MOTION_FPS, NUM_CHANNELS
from liveact_cli.mini.performer import Cue, Direction, action_frames, perform
from liveact_cli.mini.performer.direction import intensity_track, sampled_frames
from liveact_cli.mini.vocabulary import ACTIONS, EMOTIONS, VOCABULARY, context_rows
from liveact_cli.mini.weights import read_mini
from liveact_cli.training.corpus import load_streams

MOODS = tuple(word for word in EMOTIONS if word != "neutral")
CODEC_STREAMS = 200
"""Streams whose motion the codec's statistics are measured on."""


def random_direction(frames: int, rng: np.random.Generator) -> Direction:
    """Draw cues for a stream: neutral about 60 % of the time, at times one mood throughout.

    Actions come in half of the streams, every few seconds.
    """
    cues: list[Cue] = []
    kind = rng.random()
    if kind < 0.2:
        cues.append(Cue(str(rng.choice(MOODS)), 0, frames, _intensity(rng)))
    elif kind < 0.75:
        now = 0
        while now < frames:
            stop = now + int(rng.uniform(3.5, 12.0) * MOTION_FPS)
            if rng.random() < 0.42:
                cues.append(Cue(str(rng.choice(MOODS)), now, stop, _intensity(rng)))
                if rng.random() < 0.1:
                    cues.append(Cue(str(rng.choice(MOODS)), now, stop, 0.5 * _intensity(rng)))
            now = stop
    if rng.random() < 0.5:
        now = int(rng.uniform(0.5, 6.0) * MOTION_FPS)
        while now < frames:
            word = str(rng.choice(ACTIONS))
            stop = now + action_frames(word)
            cues.append(Cue(word, now, stop, _intensity(rng)))
            now = stop + int(rng.uniform(1.0, 7.0) * MOTION_FPS)
    return Direction(tuple(cues))


def _intensity(rng: np.random.Generator) -> float:
    return float(np.clip(rng.uniform(0.25, 1.1), 0.0, 1.0))


def make_targets(
    corpus: Path, out: Path, split: str, seed: int, weights: Path | None = None
) -> None:
    """Perform every stream of a split and write the three files.

    The codec is measured on the motion, or taken over from a weights file.
    """
    streams = load_streams(corpus, split)
    total = sum(stream.frames for stream in streams)
    out.mkdir(parents=True, exist_ok=True)
    motion = np.lib.format.open_memmap(out / "motion.npy", "w+", np.float16, (total, NUM_CHANNELS))
    words = np.lib.format.open_memmap(
        out / "intensities.npy", "w+", np.uint8, (total, len(VOCABULARY))
    )
    started, at = time.monotonic(), 0
    for number, stream in enumerate(streams):
        rng = np.random.default_rng([seed, number])
        direction = random_direction(stream.frames, rng)
        rows = slice(at, at + stream.frames)
        motion[rows] = perform(
            stream.phones,
            np.asarray(stream.loudness),
            np.asarray(stream.pitch),
            stream.voice,
            stream.frames,
            int(rng.integers(2**31)),
            direction,
        )
        words[rows] = np.rint(255 * intensity_track(direction, stream.frames)).astype(np.uint8)
        at = rows.stop
        if number % 200 == 0:
            print(f"{number + 1} of {len(streams)} in {time.monotonic() - started:.0f} s")
    if weights:
        state = read_mini(weights).codec
    else:
        state = fit_codec(motion, [stream.frames for stream in streams]).state_dict()
    save_file(state, out / "codec.safetensors")
    print(f"{total / MOTION_FPS / 3600:.2f} h in {time.monotonic() - started:.0f} s")


def fit_codec(motion: NDArray[np.float16], frames: list[int]) -> MotionCodec:
    """Measure the codec's statistics on streams spread over the corpus."""
    starts = np.concatenate(([0], np.cumsum(frames)))
    chosen = np.unique(np.linspace(0, len(frames) - 1, CODEC_STREAMS).astype(int))
    tracks = [
        torch.from_numpy(motion[starts[i] : starts[i + 1]].astype(np.float32)) for i in chosen
    ]
    return MotionCodec.fit(tracks)


@dataclass(frozen=True)
class Chains:
    """A training batch of chains of F latent frames: what `forward_chain` takes.

    `latent [B, C, F, 1, regions]`, `context [B, F, rows, words]`, `rows [B, 4F, 1, channels]`.
    """

    latent: Tensor
    context: Tensor
    rows: Tensor


class ChainData:
    """Random chains of a corpus, its audio rows and its targets; the files stay on disk."""

    def __init__(self, corpus: Path, targets: Path, rows: str, split: str = "train") -> None:
        """Open the files; `rows` names the rows file as for `load_streams`."""
        index = json.loads((corpus / "streams" / split / "index.json").read_text(encoding="utf8"))
        self.starts = np.array([item["offset"] for item in index])
        self.frames = np.array([item["frames"] for item in index])
        self.rows = np.load(corpus / "streams" / split / f"{rows}.npy", mmap_mode="r")
        self.motion = np.load(targets / "motion.npy", mmap_mode="r")
        self.words = np.load(targets / "intensities.npy", mmap_mode="r")
        self.codec = MotionCodec.from_state(load_file(targets / "codec.safetensors"))

    def sample(self, batch: int, latents: int, rng: np.random.Generator) -> Chains:
        """Draw `batch` chains of `latents` latent frames, long streams more often."""
        span = video_frames(latents)
        room = np.maximum(0, self.frames - span)
        chosen = rng.choice(len(room), batch, p=room / room.sum())
        parts = [self.chain(i, int(rng.integers(room[i] + 1)), latents) for i in chosen]
        return Chains(
            torch.stack([part.latent for part in parts]),
            torch.stack([part.context for part in parts]),
            torch.stack([part.rows for part in parts]),
        )

    def chain(self, stream: int, first: int, latents: int) -> Chains:
        """Return the chain of one stream that starts at its frame `first`, without batch axis."""
        at, span = self.starts[stream] + first, video_frames(latents)
        motion = torch.from_numpy(self.motion[at : at + span].astype(np.float32))
        words = self.words[at + sampled_frames(latents)].astype(np.float32) / 255
        heard = np.arange(first - 1, first - 1 + STRIDE * latents)
        heard = self.starts[stream] + heard.clip(0, self.frames[stream] - 1)
        rows = torch.from_numpy(self.rows[heard].astype(np.float32))
        return Chains(
            self.codec.encode(motion), torch.from_numpy(context_rows(words)), rows[:, None]
        )


class ChainMix:
    """Random chains of several splits, each drawn as often as it is long."""

    def __init__(
        self, corpus: Path, targets: Sequence[Path], rows: str, splits: Sequence[str]
    ) -> None:
        """Open every split with its targets; the first one's codec holds for all."""
        if len(targets) != len(splits):
            raise UsageError(
                f"{len(splits)} splits need as many folders of targets ({len(targets)} given)",
                "give --targets one folder for each of --split",
            )
        pairs = zip(targets, splits, strict=True)
        self.parts = [ChainData(corpus, folder, rows, split) for folder, split in pairs]
        self.codec = self.parts[0].codec
        for part in self.parts:
            part.codec = self.codec
        frames = np.array([part.frames.sum() for part in self.parts], float)
        self.shares = frames / frames.sum()

    def sample(self, batch: int, latents: int, rng: np.random.Generator) -> Chains:
        """Draw `batch` chains of `latents` latent frames."""
        counts = rng.multinomial(batch, self.shares)
        drawn = [
            part.sample(int(count), latents, rng)
            for part, count in zip(self.parts, counts, strict=True)
            if count
        ]
        return Chains(
            torch.cat([chains.latent for chains in drawn]),
            torch.cat([chains.context for chains in drawn]),
            torch.cat([chains.rows for chains in drawn]),
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Perform a corpus: motion targets for training.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codec", type=Path, help="a weights file whose codec to keep")
    given = parser.parse_args()
    torch.set_num_threads(1)
    make_targets(given.corpus, given.out, given.split, given.seed, given.codec)


if __name__ == "__main__":
    main()
