"""What the lips of a neutral performance do, for every stream: a target of the audio net.

    python -m liveact_cli.training.lips --corpus DIR

writes `lips.npy` `[frames, len(LIP_CHANNELS)]` float16 beside every split's mels. Phones say what
is spoken; this says what the performer makes of it, coarticulation and loudness included.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_GROUPS
from liveact_cli.mini.performer import perform
from liveact_cli.training.corpus import SPLITS, load_streams

LIP_CHANNELS = (*MOTION_GROUPS["mouth_shape"], *MOTION_GROUPS["mouth_corners"])
_COLUMNS = [CHANNEL_INDEX[name] for name in LIP_CHANNELS]
_SEED = 77


def write_lips(corpus: Path, split: str) -> None:
    """Perform every stream of a split without direction and keep the mouth."""
    streams = load_streams(corpus, split)
    total, at = sum(stream.frames for stream in streams), 0
    partial = corpus / "streams" / split / "lips.partial.npy"
    lips = np.lib.format.open_memmap(partial, "w+", np.float16, (total, len(LIP_CHANNELS)))
    for number, stream in enumerate(streams):
        motion = perform(
            stream.phones,
            np.asarray(stream.loudness),
            np.asarray(stream.pitch),
            stream.voice,
            stream.frames,
            _SEED + number,
        )
        lips[at : at + stream.frames] = motion[:, _COLUMNS]
        at += stream.frames
    lips.flush()
    partial.rename(partial.with_name("lips.npy"))
    print(f"{split}: {total} frames", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Neutral lips of every stream of a corpus.")
    parser.add_argument("--corpus", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for split in SPLITS:
        folder = given.corpus / "streams" / split
        if (folder / "index.json").exists() and not (folder / "lips.npy").exists():
            write_lips(given.corpus, split)


if __name__ == "__main__":
    main()
