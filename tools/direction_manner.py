"""What does being told do that curves do not? The manner of moving under emotions.

    python tools/direction_manner.py [--emotions excited sad] [--seeds 4]

Only the transformer is told; no curve is corrected. Head speed and spread, blinks, gaze, jaw and
the share of the jaw's motion at 4 to 5 Hz, which is laughter, with standard errors over seeds.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import torch
from direction_timing import Stage
from emotions_on_frames import script_of
from numpy.typing import NDArray

from liveact_cli.mini.direction import MiniDirection
from liveact_cli.mini.model import load_mini
from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS
from liveact_cli.mini.response import response_of
from liveact_cli.weights.resolve import MINI_FILE, data_file

Floats = NDArray[np.floating]
NAMES: Final = ("head deg/s", "head sd", "blinks/min", "gaze x", "gaze y", "jaw", "4-5 Hz")
SHUT: Final = 0.6
LAUGHTER: Final = (4.0, 5.2)


def figures(motion: Floats) -> list[float]:
    """Return the numbers of `NAMES` for a recording's motion `[frames, NUM_CHANNELS]`."""
    head = motion[:, [CHANNEL_INDEX[name] for name in ("yaw", "pitch", "roll")]]
    lids, jaw = (motion[:, CHANNEL_INDEX[name]] for name in ("eyeBlinkLeft", "jawOpen"))
    blinks = np.count_nonzero((lids[1:] > SHUT) & (lids[:-1] <= SHUT))
    power = np.abs(np.fft.rfft(jaw - jaw.mean())) ** 2
    hertz = np.fft.rfftfreq(len(jaw), 1 / MOTION_FPS)
    laughing = (hertz > LAUGHTER[0]) & (hertz < LAUGHTER[1])
    return [
        float(np.abs(np.diff(head, axis=0)).sum(axis=1).mean() * MOTION_FPS),
        float(head.std(axis=0).mean()),
        blinks * 60 * MOTION_FPS / len(motion),
        float(motion[:, CHANNEL_INDEX["gazeX"]].mean()),
        float(motion[:, CHANNEL_INDEX["gazeY"]].mean()),
        float(jaw.mean()),
        float(power[laughing].sum() / power.sum()),
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, default=Path("examples/podcast.wav"))
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=4)
    chosen = ["excited", "sad", "calm", "embarrassed", "thinking", "laughing"]
    parser.add_argument("--emotions", nargs="*", default=chosen)
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = options.weights or data_file(MINI_FILE)
    stage, response = Stage(options.audio, load_mini(weights)), response_of(weights)
    print(f"{'':12}" + " ".join(f"{name:>16}" for name in NAMES))
    for emotion in ["neutral", *options.emotions]:
        rows = []
        for seed in range(options.seeds):
            if emotion == "neutral":
                rows.append(figures(stage.undirected(seed)))
            else:
                script = script_of(emotion, 1.0, stage.seconds)
                rows.append(figures(stage.motion(MiniDirection(script, response), seed)))
        mean, error = np.mean(rows, axis=0), np.std(rows, axis=0) / np.sqrt(options.seeds)
        cells = (f"{m:9.2f} +- {e:4.2f}" for m, e in zip(mean, error, strict=True))
        print(f"{emotion:12}" + " ".join(cells), flush=True)


if __name__ == "__main__":
    main()
