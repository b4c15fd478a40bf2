"""Does one see in the frames what the script asks for? Every word, read off rendered pictures.

    python tools/direction_on_frames.py                 # every emotion and action, ~20 minutes
    python tools/direction_on_frames.py --words happy nod --seeds 2 --ref portrait.png

Each word is scripted over speech, rendered, and compared with the same seeds without it, over three
portraits. What is compared are actions of the face and the head's pose, measured on the landmarks
of each frame (tools/face_actions.py): those that the word moves most, each in the direction that it
asks for. Times are those of tools/direction_timing.py: where the change passes half of its height,
against the script.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from direction_timing import ALLOWED_MS, FIRST, LARGE, STEP, Stage, judge
from face_actions import as_channels
from numpy.typing import NDArray
from portraits import read_picture

from liveact_cli.mini.direction import REPEATED, STRETCHED, MiniDirection
from liveact_cli.mini.face.controls import OTHER_SIDE
from liveact_cli.mini.face.fit import face_landmarker, fit_face
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.model import load_mini
from liveact_cli.mini.motion import MOTION_CHANNELS, MOTION_FPS
from liveact_cli.mini.response import Response, response_of
from liveact_cli.script.words import WORDS, Word
from liveact_cli.weights.resolve import MINI_FILE, data_file, example_file

Floats = NDArray[np.floating]
SIDE: Final = 384
BEFORE: Final = 40
SHARE: Final = 0.6
"""Channels count that a word moves at least this share as far as its clearest one."""
CLEAR: Final = 0.05
"""Changes below this share of what faces do are not called seen."""
UNSEEN: Final = frozenset({"tongueOut", "mouthClose", "tx", "ty"})
"""Channels that landmarks do not show, or that mean nothing by themselves."""
AFTER: Final = 40
REFERENCES: Final = (
    example_file("face.png"),
    *(Path(__file__).parents[1] / "tests" / "data" / "portraits" / name
      for name in ("joconde.jpg", "segoyewatha.png")),
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One word on frames; `change` is in script units, `noise` the change outside its window."""

    word: str
    channels: tuple[str, ...]
    change: float
    noise: float
    start_ms: float
    stop_ms: float

    @property
    def right(self) -> bool:
        """Whether the change goes the intended way, clearly."""
        return self.change > max(CLEAR, 3 * self.noise)

    @property
    def on_time(self) -> bool:
        """Whether both ends are within what is allowed."""
        return max(abs(self.start_ms), abs(self.stop_ms)) <= ALLOWED_MS


class Watcher:
    """One portrait, drawn and looked at."""

    def __init__(self, path: Path) -> None:
        """Fit the face."""
        self.renderer = FaceRenderer(fit_face(read_picture(path)), SIDE, SIDE)
        self.plain: dict[int, Floats] = {}

    def watch(self, motion: Floats) -> Floats:
        """Draw frames and read every channel off them `[frames, NUM_CHANNELS]`; unseen ones 0."""
        landmarker = face_landmarker()
        seen, region = [], None
        for frame in motion.astype(np.float32):
            picture = self.renderer.render(frame)
            if region is None:
                region = landmarker.detect(picture)[0].region
            # Two passes: the region of the frame before must not lag behind a fast head.
            face = landmarker.track(picture, region, passes=2)
            region = face.region
            known = as_channels(face)
            names = [OTHER_SIDE.get(n, n) if self.renderer.mirrored else n for n in MOTION_CHANNELS]
            seen.append([known.get(name, 0.0) for name in names])
        return np.array(seen)

    def undirected(self, seed: int, motion: Floats) -> Floats:
        """Return what is seen without a word; `motion` is that of the seed, drawn as needed."""
        known = self.plain.get(seed, np.zeros((0, len(MOTION_CHANNELS))))
        if len(known) < len(motion):
            self.plain[seed] = np.concatenate([known, self.watch(motion[len(known) :])])
        return self.plain[seed][: len(motion)]


def measure(
    stage: Stage, watchers: list[Watcher], word: Word, seeds: int, response: Response
) -> Seen:
    """Draw one word under several seeds and on every portrait, with and without it."""
    changes: list[Floats] = []
    wanted: list[Floats] = []
    window = 0
    for seed in range(seeds):
        script = stage.script(word, FIRST + STEP * seed)
        span = script.spans[-1]
        window = window or BEFORE + AFTER + (span.stop - span.start)
        rows = slice(span.start - BEFORE, span.start - BEFORE + window)
        direction = MiniDirection(script, response)
        wanted.append(direction.wanted(0, stage.frames)[rows])
        told = direction.apply(stage.motion(direction, seed).astype(np.float32), 0)[rows]
        plain = stage.undirected(seed)[rows]
        changes += [w.watch(told) - w.undirected(seed, plain) for w in watchers]
    target, change = np.mean(wanted, axis=0), np.mean(changes, axis=0)
    units = np.array([LARGE.get(name, 1.0) for name in MOTION_CHANNELS])
    size = np.abs(target).max(axis=0) / units
    size[[name in UNSEEN for name in MOTION_CHANNELS]] = 0.0
    # What goes to and fro is compared by its course: one channel's, not a mixture.
    share = 1.0 if word.motion[0][0] in REPEATED | STRETCHED else SHARE
    chosen = np.flatnonzero(size >= share * size.max())
    signs = np.sign(target[np.abs(target).argmax(axis=0), np.arange(len(size))])[chosen]
    curve = (change / units)[:, chosen] @ signs / len(chosen)
    aimed = (target / units)[:, chosen] @ signs / len(chosen)
    _, start, stop = judge(word, curve, aimed)
    inside = np.abs(aimed) > 0.5 * np.abs(aimed).max()
    outside = np.concatenate([curve[: BEFORE - 12], curve[-AFTER + 20 :]])
    return Seen(
        word.name,
        tuple(MOTION_CHANNELS[c] for c in chosen),
        float(np.mean(curve[inside] * np.sign(aimed[inside]))),
        float(np.sqrt(np.mean(outside**2))),
        (start - BEFORE) * 1000 / MOTION_FPS,
        (stop - (window - AFTER)) * 1000 / MOTION_FPS,
    )


def chosen_words(names: list[str] | None) -> list[Word]:
    """Every emotion and action once, or those named."""
    known = [w for w in WORDS if w.exact and len(w.motion) == 1 and w.motion[0][1] == 1.0]
    singles = {w.motion[0][0]: w for w in reversed(known) if w.name != "neutral"}
    return [w for w in reversed(singles.values()) if names is None or w.name in names]


def main() -> int:
    """Measure, print the table, and fail when a word cannot be seen or comes late."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, default=Path("examples/podcast.wav"))
    parser.add_argument("--ref", type=Path, nargs="*", default=list(REFERENCES))
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--words", nargs="*", default=None)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    weights = options.weights or data_file(MINI_FILE)
    stage = Stage(options.audio, load_mini(weights))
    response, watchers = response_of(weights), [Watcher(path) for path in options.ref]
    found = []
    for word in chosen_words(options.words):
        seen = measure(stage, watchers, word, options.seeds, response)
        found.append(seen)
        if not options.json:
            print(
                f"{seen.word:15} {seen.change:6.2f} (outside {seen.noise:.2f}) "
                f"{seen.start_ms:+6.0f} {seen.stop_ms:+6.0f} ms  {' '.join(seen.channels)}",
                flush=True,
            )
    right, on_time = sum(s.right for s in found), sum(s.right and s.on_time for s in found)
    if options.json:
        print(json.dumps([vars(s) for s in found], indent=1))
    else:
        print(f"{right} of {len(found)} seen the right way, {on_time} within {ALLOWED_MS:.0f} ms")
    return 0 if on_time == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
