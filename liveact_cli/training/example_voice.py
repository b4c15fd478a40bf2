"""Speak the recording that `make demo` animates: hibari's natural voice, our own words.

python -m liveact_cli.training.example_voice examples/audio.wav
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

WORDS = (
    "Hello! A moment ago, I was only a picture.",
    "Then somebody gave me a voice, and my lips began to move.",
    "Maybe people believe what they see; so please, be honest about how I was made.",
)
_RATE = 24000
_SPEED = 1.06


def speak() -> np.ndarray:
    """About 13 s of sound at 24 kHz, peak 0.7."""
    from hibari import Hibari

    voice = Hibari()
    pause = np.zeros(int(0.28 * _RATE), np.float32)
    parts = [pause]
    for seed, sentence in enumerate(WORDS):
        parts += [voice(sentence, speed=_SPEED, seed=seed), pause]
    sound = np.concatenate([*parts, pause])
    return np.asarray(sound / np.abs(sound).max() * 0.7)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--stereo", action="store_true", help="the voice left of the middle")
    options = parser.parse_args()
    sound = speak()
    if options.stereo:
        sound = np.stack([sound, 0.4 * sound], 1)
    soundfile.write(options.target, sound, _RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
