"""Do the lips still close under every emotion? Bilabials of aligned speech, told and untold.

    python tools/direction_lips.py                       # motion: ~3 minutes
    python tools/direction_lips.py --frames              # and on rendered frames: ~5 more

Every emotion lasts through recordings whose phones are known by forced alignment, at full
intensity, as `liveact render` plays it. Recall is that of tools/lip_sync.py: the share of bilabials
(and of labiodentals) at which the lips meet; an emotion fails when it costs more than 0.05. With
`--frames` the frames around every bilabial are drawn, and closed lips are read off the landmarks:
apart by less than a tenth of what a jaw half open parts them.
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
from direction_timing import Stage
from emotions_on_frames import script_of
from face_actions import actions
from lip_sync import Clip, Evidence, Truth, observe, read_clip
from lip_sync import test_clips as librivox
from numpy.typing import NDArray
from portraits import read_picture

from liveact_cli.mini.direction import MiniDirection
from liveact_cli.mini.face.detector import Region
from liveact_cli.mini.face.fit import face_landmarker, fit_face
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.model import MiniModel, load_mini
from liveact_cli.mini.motion import MOTION_FPS, motion_vector
from liveact_cli.mini.response import Response, response_of
from liveact_cli.mini.vocabulary import EMOTIONS
from liveact_cli.script.formats.subtitles import read_transcript
from liveact_cli.weights.resolve import MINI_FILE, data_file, example_file

Floats = NDArray[np.floating]
ALLOWED: Final = 0.05
SIDE: Final = 384
EXAMPLES: Final = ("podcast", "talkshow")
AROUND: Final = 1
"""Frames that are drawn before and after a bilabial."""
CLOSED: Final = {"mouthClose": 1.0, "mouthPress": 0.5, "jawOpen": 0.1}
OPEN: Final = {"jawOpen": 0.5}
MET: Final = 0.1


@dataclass
class Count:
    """Found and all, of one kind of contact under one emotion."""

    closures: list[bool]
    contacts: list[bool]
    drawn: list[bool]


class Recordings:
    """Aligned speech: LibriVox, and the two spoken examples."""

    def __init__(self, model: MiniModel) -> None:
        """Align everything."""
        examples = Path(__file__).parents[1] / "examples"
        self.clips: list[tuple[Clip, Stage]] = []
        for name in EXAMPLES:
            words = read_transcript(examples / f"{name}.srt").words()
            audio = examples / f"{name}.wav"
            clip = read_clip(audio, " ".join(word.text for word in words))
            self.clips.append((clip, Stage(audio, model)))
        for clip in librivox():
            self.clips.append((clip, stage_of(clip, model)))


def stage_of(clip: Clip, model: MiniModel) -> Stage:
    """Return the stage of a clip whose samples are here already."""
    stage = Stage.__new__(Stage)
    stage.blocks, stage.seconds, stage.model = [clip.samples], clip.seconds, model
    stage.plain = {}
    stage.frames = round(clip.seconds * MOTION_FPS)
    return stage


class Mirror:
    """One portrait: draws frames and says whether the lips meet."""

    def __init__(self, path: Path) -> None:
        """Fit the face and see its lips closed and open."""
        self.renderer = FaceRenderer(fit_face(read_picture(path)), SIDE, SIDE)
        self.region: Region | None = None
        self.closed, self.open = (self.apart(motion_vector(pose)) for pose in (CLOSED, OPEN))

    def apart(self, motion: Floats) -> float:
        """Return how far the lips of one frame are apart."""
        frame = self.renderer.render(motion.astype(np.float32))
        landmarker = face_landmarker()
        if self.region is None:
            self.region = landmarker.detect(frame)[0].region
        face = landmarker.track(frame, self.region, passes=2)
        self.region = face.region
        return actions(face)["lipsApart"]

    def meets(self, motion: Floats) -> bool:
        """Return whether the lips meet in any of some frames."""
        bound = self.closed + MET * (self.open - self.closed)
        return any(self.apart(row) < bound for row in motion)


def play(stage: Stage, emotion: str, intensity: float, response: Response, seed: int) -> Floats:
    """Return the motion of a whole recording under one emotion."""
    if emotion == "neutral":
        return stage.undirected(seed)
    direction = MiniDirection(script_of(emotion, intensity, stage.seconds), response)
    return direction.apply(stage.motion(direction, seed).astype(np.float32), 0)


def count(
    recordings: Recordings, emotion: str, response: Response, seeds: int, mirror: Mirror | None
) -> Count:
    """Return what is found under one emotion."""
    evidence, drawn = Evidence(), list[bool]()
    for seed in range(seeds):
        for clip, stage in recordings.clips:
            motion = play(stage, emotion, 1.0, response, seed)
            observe(clip, motion, MOTION_FPS, evidence)
            if mirror is not None and seed == 0:
                for start, stop in Truth(clip, MOTION_FPS, len(motion)).bilabials:
                    first = max(0, int(start * MOTION_FPS) - AROUND)
                    drawn.append(mirror.meets(motion[first : int(stop * MOTION_FPS) + 1 + AROUND]))
    return Count(evidence.closures, evidence.contacts, drawn)


def main() -> int:
    """Measure, print the table, and fail when an emotion costs closures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--emotions", nargs="*", default=[e for e in EMOTIONS if e != "neutral"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--frames", action="store_true", help="draw and look at the lips as well")
    parser.add_argument("--ref", type=Path, default=example_file("face.png"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    weights = options.weights or data_file(MINI_FILE)
    recordings, response = Recordings(load_mini(weights)), response_of(weights)
    mirror = Mirror(options.ref) if options.frames else None
    found: dict[str, list[float]] = {}
    for emotion in ["neutral", *options.emotions]:
        counted = count(recordings, emotion, response, options.seeds, mirror)
        kinds = (counted.closures, counted.contacts, counted.drawn)
        found[emotion] = [float(np.mean(kind)) if kind else float("nan") for kind in kinds]
        if not options.json:
            sizes = " ".join(f"{len(kind):4}" for kind in kinds)
            shares = "  ".join(f"{share:.3f}" for share in found[emotion])
            print(f"{emotion:12} {shares}   n = {sizes}", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))
    worst = [
        max(found["neutral"][kind] - found[name][kind] for name in options.emotions)
        for kind in range(3 if options.frames else 2)
    ]
    if not options.json:
        names = ("closures", "lip on teeth", "closures seen")
        told = (f"{name} {loss:.3f}" for name, loss in zip(names, worst, strict=False))
        print(f"the most that an emotion costs: {', '.join(told)}")
    return 0 if worst[0] <= ALLOWED and (len(worst) < 3 or worst[2] <= ALLOWED) else 1


if __name__ == "__main__":
    sys.exit(main())
