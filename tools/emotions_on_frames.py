"""Does one see in the frames which emotion a script asks for? Every emotion, on many portraits.

    python tools/emotions_on_frames.py                        # portraits of the repository
    python tools/emotions_on_frames.py --all --sheet sheet.jpg
    python tools/emotions_on_frames.py --refs a.png b.png --emotions happy sad

Each emotion lasts through a recording of speech; frames are compared with those of the same moments
and seed without it, but for those in which either blinks: a blink is no expression. Two scorers say
what changed: MediaPipe's blendshape net, its shapes joined to action units, and the landmarks' own
actions (tools/face_actions.py). A pair of emotion and portrait passes when the action that changes
most is one of those that the emotion is made of, in its direction (EMFACS; the tables below).
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from direction_on_frames import REFERENCES
from direction_timing import Stage
from face_actions import SIDES, actions
from numpy.typing import NDArray
from PIL import Image
from portraits import available, read_picture

from liveact_cli.mini.direction import MiniDirection
from liveact_cli.mini.face.calibrate import region_of
from liveact_cli.mini.face.detector import Region
from liveact_cli.mini.face.fit import FaceFit, default_size, face_landmarker, fit_face
from liveact_cli.mini.face.landmarker import Landmarks
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.model import load_mini
from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS
from liveact_cli.mini.response import response_of
from liveact_cli.mini.vocabulary import EMOTIONS
from liveact_cli.script.direct import direct
from liveact_cli.script.parse import parse_script
from liveact_cli.script.performance import assemble
from liveact_cli.script.resolve import Recording
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.script.source import Source
from liveact_cli.weights.resolve import MINI_FILE, data_file

Floats = NDArray[np.floating]
RGB = NDArray[np.uint8]
SIDE: Final = 384
FIRST, STEP = 50, 23
"""Frames that are looked at: from the first on, a step apart."""
BLINK: Final = 0.4
"""Lids that are farther down than this blink; no emotion lowers them as far."""
TILE: Final = 150
LARGEST_SHEET: Final = 380_000

UNITS: Final[dict[str, tuple[str, ...]]] = {
    "AU1": ("browInnerUp",),
    "AU2": ("browOuterUpLeft", "browOuterUpRight"),
    "AU4": ("browDownLeft", "browDownRight"),
    "AU5": ("eyeWideLeft", "eyeWideRight"),
    "AU6": ("cheekSquintLeft", "cheekSquintRight"),
    "AU7": ("eyeSquintLeft", "eyeSquintRight"),
    "AU9": ("noseSneerLeft", "noseSneerRight"),
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU16": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "AU17": ("mouthShrugLower",),
    "AU18": ("mouthPucker",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU22": ("mouthFunnel",),
    "AU24": ("mouthPressLeft", "mouthPressRight"),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
    "AU43": ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""Which shapes of the net make which action unit; the stronger side counts."""
OPPOSED: Final = {"AU1": "AU4", "AU4": "AU1", "AU5": "AU7", "AU7": "AU5"}
"""Brows go up or down, lids apart or together: what one loses, the other gains (a face whose rest
the net calls lowered brows shows raised ones as less of that)."""

EMOTION_UNITS: Final[dict[str, str]] = {
    "happy": "6 7 12",
    "warm": "1 6 7 12",
    "sad": "1 4 15 17",
    "angry": "4 5 7 9 24",
    "surprised": "1 2 5 26",
    "disgusted": "4 7 9 10 15 17",
    "afraid": "1 2 4 5 20",
    "contempt": "2 12 14",
    "laughing": "6 7 12 26",
    "embarrassed": "1 12 14 17 24",
    "thinking": "1 2 4 7 24",
    "excited": "1 2 5 12",
    "calm": "6 7 12 43",
}

EMOTION_ACTIONS: Final[dict[str, str]] = {
    "happy": "+cornerUp +cornerOut +cheek +noseWing +lowerLid -lids",
    "warm": "+cornerUp +cornerOut +cheek +noseWing +lowerLid -lids +innerBrow",
    "sad": "-cornerUp +innerBrow -lids",
    "angry": "-innerBrow -outerBrow -cornerUp +lowerLid -lipsThick +noseWing",
    "surprised": "+innerBrow +outerBrow +lids +lipsApart +lowerLip",
    "disgusted": "-innerBrow -outerBrow +noseWing +upperLip -cornerUp +lowerLid -lids",
    "afraid": "+innerBrow +outerBrow +lids +cornerOut",
    "contempt": "+cornerUpLeft +cornerOutLeft +cheekLeft +noseWingLeft +outerBrowRight -lids",
    "laughing": "+cornerUp +cornerOut +cheek +noseWing +lowerLid -lids +lipsApart +lowerLip",
    "embarrassed": "+cornerUp +cornerOut +cheek +noseWing +innerBrow -lids",
    "thinking": "+outerBrowLeft -innerBrowRight -outerBrowRight -lipsThick -lids -cornerOut",
    "excited": "+cornerUp +cornerOut +cheek +innerBrow +outerBrow +lids",
    "calm": "+cornerUp +cornerOut +cheek +noseWing +lowerLid -lids",
}
"""The landmarks' actions, with their directions; names without a side mean either."""


@dataclass(frozen=True)
class Pair:
    """One emotion on one portrait: what changed, most first, and whether that was asked for."""

    emotion: str
    portrait: str
    units: list[tuple[str, float]]
    actions: list[tuple[str, float]]
    mirrored: bool

    @property
    def units_right(self) -> bool:
        """Whether the blendshape net sees an intended action unit grow most."""
        return self.units[0][0] in {f"AU{n}" for n in EMOTION_UNITS[self.emotion].split()}

    @property
    def actions_right(self) -> bool:
        """Whether the landmarks' largest change is an intended one."""
        name, change = self.actions[0]
        sign = "+" if change > 0 else "-"
        if self.mirrored:
            name = _other_side(name)
        wanted = EMOTION_ACTIONS[self.emotion].split()
        return f"{sign}{name}" in wanted or f"{sign}{_unsided(name)}" in wanted


def _other_side(name: str) -> str:
    """Return what an action is called on a face that is drawn the other way round."""
    here, there = SIDES if name.endswith(SIDES[0]) else SIDES[::-1]
    return name.replace(here, there)


def _unsided(name: str) -> str:
    return name.removesuffix("Left").removesuffix("Right")


def read_units(face: Landmarks) -> dict[str, float]:
    """Return every action unit as the blendshape net scores it."""
    scores = face_landmarker().blendshapes(face)
    return {unit: max(scores[name] for name in names) for unit, names in UNITS.items()}


@dataclass(frozen=True)
class Looks:
    """Frames of one motion: units, actions and blinks of each, and the face in the middle one."""

    units: list[dict[str, float]]
    actions: list[dict[str, float]]
    blinks: NDArray[np.bool_]
    tile: RGB


def _means(rows: list[dict[str, float]], chosen: NDArray[np.bool_]) -> dict[str, float]:
    return {
        name: float(np.mean([row[name] for row, use in zip(rows, chosen, strict=True) if use]))
        for name in rows[0]
    }


class Portrait:
    """A portrait, drawn under emotions and looked at."""

    def __init__(self, name: str, fit: FaceFit, picture: RGB) -> None:
        """Prepare the renderer."""
        zoom = min(1.0, SIDE / min(picture.shape[:2]))
        size = default_size((round(picture.shape[1] * zoom), round(picture.shape[0] * zoom)))
        self.name, self.renderer = name, FaceRenderer(fit, *size)
        self.mirrored = self.renderer.mirrored

    def look(self, motion: Floats) -> Looks:
        """Return what is seen on the frames of `motion` `[n, NUM_CHANNELS]`."""
        landmarker, units, acts = face_landmarker(), [], []
        tile = np.zeros((TILE, TILE, 3), np.uint8)
        region = None
        for i, row in enumerate(motion.astype(np.float32)):
            frame = self.renderer.render(row)
            region = region or self._region(frame)
            face = landmarker.track(frame, region, passes=2)
            region = face.region
            units.append(read_units(face))
            acts.append(actions(face))
            if i == len(motion) // 2:
                tile = self._cut(frame)
        lids = motion[:, [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]]
        return Looks(units, acts, lids.max(axis=1) > BLINK, tile)

    def _region(self, frame: RGB) -> Region:
        """Return where the face is: as detected, or, on a cartoon that is no face, as at rest."""
        found = face_landmarker().detect(frame)
        return found[0].region if found else region_of(self.renderer.head.landmarks)

    def _cut(self, frame: RGB) -> RGB:
        oval = self.renderer.head.source[self.renderer.head.oval]
        centre, reach = oval.mean(0), 0.72 * float(np.ptp(oval[:, 1]))
        low = np.maximum(np.round(centre - reach), 0).astype(int)
        high = np.round(centre + reach).astype(int)
        part = frame[low[1] : high[1], low[0] : high[0]]
        return np.asarray(cv2.resize(part, (TILE, TILE), interpolation=cv2.INTER_AREA), np.uint8)


class Actor:
    """The model, asked for one emotion through a recording."""

    def __init__(self, stage: Stage, weights: Path, seed: int, frames: int) -> None:
        """Choose the moments that are looked at."""
        self.stage, self.seed, self.response = stage, seed, response_of(weights)
        self.rows = [FIRST + STEP * i for i in range(frames)]

    def motion(self, emotion: str | None, intensity: float) -> Floats:
        """Return the motion `[moments, NUM_CHANNELS]`; None says nothing."""
        if emotion is None:
            return self.stage.undirected(self.seed)[self.rows]
        direction = MiniDirection(script_of(emotion, intensity, self.stage.seconds), self.response)
        told = self.stage.motion(direction, self.seed).astype(np.float32)
        return direction.apply(told, 0)[self.rows]


def script_of(emotion: str, intensity: float, seconds: float) -> ResolvedScript:
    """Return the script of an emotion that lasts throughout."""
    event = f"{{at: 0, emotion: {emotion}, intensity: {intensity}, fade: 0}}"
    parsed = parse_script(Source(f"liveact: 1\ntimeline:\n  - {event}\n"))
    return direct(assemble(parsed, Path), Recording(seconds, MOTION_FPS)).script


def compare(
    portrait: Portrait, motions: dict[str, Floats], plain: Floats
) -> tuple[list[Pair], RGB]:
    """Return the pairs of one portrait, and a row of its faces."""
    untold = portrait.look(plain)
    pairs, tiles = [], [untold.tile]
    for emotion, motion in motions.items():
        told = portrait.look(motion)
        tiles.append(told.tile)
        clear = ~(untold.blinks | told.blinks)
        clear |= not clear.any()
        units, told_units = _means(untold.units, clear), _means(told.units, clear)
        acts, told_acts = _means(untold.actions, clear), _means(told.actions, clear)
        grown = {k: told_units[k] - units[k] for k in units}
        grown |= {k: max(grown[k], -grown[other]) for k, other in OPPOSED.items()}
        changed = joined({k: told_acts[k] - acts[k] for k in acts if "iris" not in k})
        by_size = sorted(changed.items(), key=lambda item: -abs(item[1]))
        by_growth = sorted(grown.items(), key=lambda item: -item[1])
        pairs.append(Pair(emotion, portrait.name, by_growth, by_size, portrait.mirrored))
    return pairs, np.hstack(tiles)


def joined(changes: dict[str, float]) -> dict[str, float]:
    """Return changes with the two sides of an action joined where they agree."""
    result = {}
    for name, change in changes.items():
        base = _unsided(name)
        if name == base:
            result[name] = change
        elif name.endswith(SIDES[1]):
            other = changes[f"{base}{SIDES[0]}"]
            same = min(abs(change), abs(other)) > 0.75 * max(abs(change), abs(other))
            if same and change * other > 0:
                result[base] = 0.5 * (change + other)
            else:
                result |= {name: change, f"{base}{SIDES[0]}": other}
    return result


def portraits(options: argparse.Namespace) -> list[Portrait]:
    """Return the portraits that are asked for."""
    if options.all:
        return [Portrait(p.name, fit, picture) for p, picture, fit in available()]
    pictures = {path.stem: read_picture(path) for path in options.refs}
    return [Portrait(name, fit_face(picture), picture) for name, picture in pictures.items()]


def write_sheet(path: Path, rows: list[RGB], names: list[str]) -> None:
    """Write the faces: a row a portrait, a column an emotion; JPEG quality gives way to size."""
    sheet = np.vstack(rows)
    for i, name in enumerate(names):
        cv2.putText(sheet, name, (TILE * i + 4, 12), 0, 0.4, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(sheet, name, (TILE * i + 4, 12), 0, 0.4, (255, 255, 0), 1, cv2.LINE_AA)
    for quality in range(88, 20, -6):
        Image.fromarray(sheet).save(path, quality=quality)
        if path.suffix == ".png" or path.stat().st_size <= LARGEST_SHEET:
            return


def main() -> int:
    """Measure, print the table, and fail when fewer than nine of ten pairs pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, default=Path("examples/podcast.wav"))
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--refs", type=Path, nargs="*", default=list(REFERENCES))
    parser.add_argument("--all", action="store_true", help="all test portraits that are here")
    parser.add_argument("--emotions", nargs="*", default=[e for e in EMOTIONS if e != "neutral"])
    parser.add_argument("--intensity", type=float, default=1.0)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    weights = options.weights or data_file(MINI_FILE)
    stage = Stage(options.audio, load_mini(weights))
    actor = Actor(stage, weights, options.seed, options.frames)
    plain = actor.motion(None, 0.0)
    motions = {name: actor.motion(name, options.intensity) for name in options.emotions}
    pairs: list[Pair] = []
    rows = []
    for portrait in portraits(options):
        found, row = compare(portrait, motions, plain)
        pairs += found
        rows.append(row)
        if not options.json:
            print("\n".join(lines_of(found)), flush=True)
    if options.sheet:
        write_sheet(options.sheet, rows, ["neutral", *options.emotions])
    by_units, by_actions = sum(p.units_right for p in pairs), sum(p.actions_right for p in pairs)
    if options.json:
        print(json.dumps([asdict(p) for p in pairs], indent=1))
    else:
        print("\n".join(totals(pairs, options.emotions)))
    return 0 if min(by_units, by_actions) >= 0.9 * len(pairs) else 1


def lines_of(pairs: list[Pair]) -> list[str]:
    """Return a line a pair: what changed most, by either scorer."""
    marks = {True: "+", False: "-"}
    return [
        f"{p.portrait:17} {p.emotion:11} {marks[p.units_right]} "
        + " ".join(f"{n}{c:+.2f}" for n, c in p.units[:4])
        + f"   {marks[p.actions_right]} "
        + " ".join(f"{n}{c:+.2f}" for n, c in p.actions[:5])
        for p in pairs
    ]


def totals(pairs: list[Pair], emotions: list[str]) -> list[str]:
    """Return the table by emotion."""
    lines = [f"{'emotion':12} {'blendshapes':>12} {'landmarks':>12}"]
    for name in [*emotions, None]:
        own = [p for p in pairs if name in (None, p.emotion)]
        units, acts = sum(p.units_right for p in own), sum(p.actions_right for p in own)
        label = name or "all"
        lines.append(f"{label:12} {units:4} of {len(own):3} {acts:6} of {len(own):3}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
