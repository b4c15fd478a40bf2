"""Lips on the training corpus' dev split: what thresholds and training choices are made by.

    python tools/lip_dev.py --corpus training-runs/corpus [--weights W] [--spoilt]
        [--split natural-dev | further-dev | test] [--sources librivox tale] [--seconds 110]
        [--closing 0.2 0.42] [--touching 0.12 0.3]
    python tools/lip_dev.py --corpus training-runs/corpus --performer    # from the true phones

Figures as in lip_sync.py, over utterances that nothing was trained on, joined with pauses;
`--spoilt` adds rooms, noise and codecs. The split `test` (LibriVox, French prompts) only reports:
nothing is chosen by it.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import lip_sync
import numpy as np
import torch
from lip_sync import Clip, Floats, judge, model_motion

from liveact_cli.mini import decoder
from liveact_cli.mini.performer import perform
from liveact_cli.mini.visemes import VISEME_INDEX, VISEMES
from liveact_cli.training import augment
from liveact_cli.training.corpus import SPLITS, TRAINING
from liveact_cli.training.prosody import prosody
from liveact_cli.training.rawstore import read_raw
from liveact_cli.training.streams import class_track, speech_track, viseme_of

RATE: Final = 16000
LENGTH: Final = 28.0
"""Seconds after which a clip ends."""


def dev_clips(raw: Path, source: str, seconds: float, spoilt: bool) -> list[Clip]:
    """Clips of one dev source; their phones are named by viseme."""
    rng = np.random.default_rng(5)
    clips: list[Clip] = []
    parts: list[Floats] = []
    phones: list[tuple[str, float, float]] = []
    total = at = 0
    entries = read_raw(raw, source)
    for number, entry in enumerate(entries):
        pause = int(rng.uniform(0.15, 0.8) * RATE)
        at += pause
        for label, start, stop in entry.phones:
            name = VISEMES[viseme_of(label)]
            named = "" if name == "sil" else name
            phones.append((named, start + at / RATE, stop + at / RATE))
        parts += [np.zeros(pause, np.float32), entry.sound()]
        at += entry.samples
        last = number + 1 == len(entries) or total + at > seconds * RATE
        if at > LENGTH * RATE or last:
            sound = np.concatenate(parts).astype(np.float32)
            if spoilt:
                own = np.random.default_rng(len(clips))
                sound = augment.spoil(sound, own, partial(augment.noise, rng=own))
            clips.append(Clip(f"{source}-{len(clips)}", sound, phones))
            total += at
            parts, phones, at = [], [], 0
        if last:
            break
    return clips


def performer_motion(clip: Clip) -> Floats:
    """What the performer makes of the true phones: the ceiling."""
    rows = [
        (label, VISEME_INDEX[lip_sync.VISEME_OF[label]], a, b)
        for label, a, b in clip.phones
        if label
    ]
    samples = np.pad(clip.samples, (0, -len(clip.samples) % 640))
    curves = prosody(samples, speech_track(class_track(rows, len(samples) // 160)))
    phones = [SimpleNamespace(viseme=VISEMES[v], start=a, stop=b) for _, v, a, b in rows]
    motion = perform(phones, curves[:, 0], curves[:, 1], "someone", len(curves), 0)
    return motion[: round(clip.seconds * 25)]


def line(figures: dict[str, dict[str, Any]], intervals: bool) -> str:
    """Every figure in one line."""
    shown = []
    for name, figure in figures.items():
        value = figure["value"]
        shown.append(f"{name} {'-' if value is None else format(value, '.3f')}")
        if intervals and figure.get("interval"):
            shown[-1] += " ({:.2f} to {:.2f})".format(*figure["interval"])
    return f"{', '.join(shown)} (n {figures['closure_recall']['count']})"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="default: the packaged ones")
    parser.add_argument("--performer", action="store_true")
    parser.add_argument("--spoilt", action="store_true")
    parser.add_argument("--split", choices=sorted(SPLITS.keys() - set(TRAINING)), default="dev")
    parser.add_argument("--sources", nargs="+", help="only these of the split")
    parser.add_argument("--intervals", action="store_true", help="95 %%, by bootstrap")
    parser.add_argument("--seconds", type=float, default=110.0, help="of each source")
    parser.add_argument("--closing", type=float, nargs=2, default=decoder.CLOSING)
    parser.add_argument("--touching", type=float, nargs=2, default=decoder.TOUCHING)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lip_sync.VISEME_OF.update({name: name for name in VISEMES})
    decoder.CLOSING, decoder.TOUCHING = tuple(options.closing), tuple(options.touching)  # type: ignore[misc]
    make: Callable[[Clip], Floats] = (
        performer_motion if options.performer else model_motion(options.weights, 0)
    )
    every: tuple[list[Clip], list[Floats]] = ([], [])
    for source in options.sources or SPLITS[options.split]:
        clips = dev_clips(options.corpus / "raw", source, options.seconds, options.spoilt)
        motions = [make(clip) for clip in clips]
        print(f"{source}: {line(judge(clips, motions, 25.0), options.intervals)}", flush=True)
        every[0].extend(clips)
        every[1].extend(motions)
    print(f"all: {line(judge(*every, 25.0), options.intervals)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
