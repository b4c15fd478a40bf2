"""Does the motion follow the script? Every emotion and action, in time and in direction.

    python tools/direction_timing.py                # generated motion, three ablations
    python tools/direction_timing.py --words happy nod --seeds 4

A word is scripted at moments of a recording and compared with the same seeds without it. The
clearest channel of the word tells how far it goes (1: as far as the script asks) and when it passes
half of that: its error against the script, in ms, at the beginning and at the end. Where an action
leaves speech no mouth (a yawn), speech that is gone does not count. Movements to and fro (nod,
shake, sigh) are judged by the shift at which their first and their second half fit best.

Ablations: `both` as `liveact render` does; `words` tells only the transformer; `curves` corrects
the curves only, the transformer hearing nothing of it.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from liveact_cli.core.geometry import ChunkPlan, ChunkSpan, frames_of
from liveact_cli.engine.conditioning import Conditioner, Reference
from liveact_cli.engine.decode import DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.media.audio import AudioSource
from liveact_cli.mini.decoder import MotionDecoder
from liveact_cli.mini.direction import LOOPED, REPEATED, STRETCHED, MiniDirection
from liveact_cli.mini.lips import CLOSE, JAW, agape
from liveact_cli.mini.model import LATENT_SIZE, MiniModel, load_mini
from liveact_cli.mini.motion import MOTION_CHANNELS, MOTION_FPS
from liveact_cli.mini.response import Response, response_of
from liveact_cli.script.direct import direct
from liveact_cli.script.parse import parse_script
from liveact_cli.script.performance import assemble
from liveact_cli.script.resolve import Recording
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.script.source import Source
from liveact_cli.script.words import WORDS, Kind, Word
from liveact_cli.weights.resolve import MINI_FILE, data_file

Floats = NDArray[np.floating]
ABLATIONS = ("both", "words", "curves")
SECONDS = {Kind.EMOTION: 3.0}
FIRST, STEP = 2.0, 0.36
ALLOWED_MS = 80.0
LARGE = {"yaw": 12.0, "pitch": 12.0, "roll": 12.0, "scale": 0.1}
"""What counts as 1 when channels are compared."""


@dataclass(frozen=True)
class Result:
    """One word under one ablation."""

    word: str
    channel: str
    ablation: str
    reach: float
    start_ms: float
    stop_ms: float

    @property
    def on_time(self) -> bool:
        """Whether both ends are within what is allowed."""
        return max(abs(self.start_ms), abs(self.stop_ms)) <= ALLOWED_MS


class Neutral:
    """Says nothing (a `PromptTrack`)."""

    def __init__(self) -> None:
        """Prepare the empty script's contexts."""
        self.direction = MiniDirection(ResolvedScript(MOTION_FPS, 10_000), Response({}, {}, {}))

    def context(self, span: ChunkSpan) -> torch.Tensor:
        """Return neutral contexts."""
        return self.direction.context(span)


class Stage:
    """The model on one recording."""

    def __init__(self, audio: Path, model: MiniModel) -> None:
        """Load the sound."""
        source = AudioSource(audio)
        self.blocks, self.seconds = list(source.blocks()), source.seconds
        self.frames = frames_of(source.seconds, MOTION_FPS)
        self.model = model
        self.plain: dict[int, Floats] = {}

    def undirected(self, seed: int) -> Floats:
        """Return the motion without a word, made once a seed."""
        if seed not in self.plain:
            self.plain[seed] = self.motion(Neutral(), seed)
        return self.plain[seed]

    def script(self, word: Word, at: float) -> ResolvedScript:
        """Return a script that says one word at one time."""
        length = SECONDS.get(word.kind, word.seconds)
        line = f"  - {{at: {at:.3f}s, for: {length}s, {word.kind}: {word.name}}}"
        parsed = parse_script(Source(f"liveact: 1\ntimeline:\n{line}\n"))
        return direct(assemble(parsed, Path), Recording(self.seconds, MOTION_FPS)).script

    def motion(self, track: "MiniDirection | Neutral", seed: int) -> Floats:
        """Return what the transformer moves, uncorrected."""
        model = self.model
        plan = ChunkPlan(model.policy, self.frames)
        rows = model.audio_encoder.stream(iter(self.blocks), self.frames, MOTION_FPS)
        conditioner = Conditioner(model.transformer, model.policy, rows, track, Reference())
        settings = DecodeSettings(model.schedule, model.fold)
        memory = DecodeMemory(model.transformer, model.policy, LATENT_SIZE, settings)
        decoder = MotionDecoder(model.codec)
        noise = PhiloxNoise(seed)
        chunks = decode_chunks(model.transformer, plan, conditioner, noise, memory, settings)
        return np.concatenate([decoder.decode(c.latent) for c in chunks])[: self.frames]


def measure(stage: Stage, word: Word, seeds: int, response: Response) -> Iterator[Result]:
    """Yield the word's results: changes are averaged over seeds, aligned at the event."""
    changes: dict[str, list[Floats]] = {name: [] for name in ABLATIONS}
    wanted: list[Floats] = []
    before, window = 40, 0
    for seed in range(seeds):
        script = stage.script(word, FIRST + STEP * seed)
        span = script.spans[-1]
        # Rounded lengths differ by a frame: the first seed's holds for all.
        window = window or before + (span.stop - span.start) + 40
        rows = slice(span.start - before, span.start - before + window)
        direction = MiniDirection(script, response)
        asked = direction.wanted(0, stage.frames)
        plain = stage.undirected(seed)
        told = stage.motion(direction, seed)
        alone = plain + asked
        spoken = plain.copy()
        spoken[:, [JAW, CLOSE]] *= 1.0 - agape(asked)[:, None]
        for name, change in (
            ("both", direction.apply(told.astype(np.float32), 0) - spoken),
            ("words", told - plain),
            ("curves", alone - plain),
        ):
            changes[name].append(change[rows])
        wanted.append(asked[rows])
    target = np.mean(wanted, axis=0)
    size = np.abs(target).max(axis=0) / [LARGE.get(name, 1.0) for name in MOTION_CHANNELS]
    channel = int(size.argmax())
    length = window - 80
    for name in ABLATIONS:
        curve = np.mean(changes[name], axis=0)[:, channel]
        reach, start, stop = judge(word, curve, target[:, channel])
        yield Result(
            word.name,
            MOTION_CHANNELS[channel],
            name,
            reach,
            (start - before) * 1000 / MOTION_FPS,
            (stop - before - length) * 1000 / MOTION_FPS,
        )


def judge(word: Word, curve: Floats, target: Floats) -> tuple[float, float, float]:
    """Return how far a curve goes, and the frames at which it rises and falls through its half."""
    reach = float(np.dot(curve, target) / np.dot(target, target))
    motion = word.motion[0][0]
    if motion in REPEATED | STRETCHED:
        middle = len(curve) // 2
        first, second = (
            lag(curve[half], reach * target[half]) for half in (slice(middle), slice(middle, None))
        )
        return reach, 40 + first, len(curve) - 40 + second
    if motion in LOOPED:
        kernel = np.ones(7) / 7
        curve = np.convolve(curve, kernel, "same")
    sign = np.sign(target[np.abs(target).argmax()])
    start, stop = crossings(np.maximum(curve * sign, 0.0), 0.5)
    return reach, start, stop


def lag(curve: Floats, target: Floats) -> float:
    """Return by how many frames a movement comes late at its best fit, to a tenth of a frame."""
    x = np.arange(len(curve))
    shifts = np.arange(-10.0, 10.05, 0.1)
    misses = [float(np.sum((curve - np.interp(x - s, x, target)) ** 2)) for s in shifts]
    return float(shifts[int(np.argmin(misses))])


def crossings(curve: Floats, share: float) -> tuple[float, float]:
    """Return where a curve first rises and last falls through a share of its plateau."""
    level = share * float(np.quantile(curve, 0.9 if share == 0.5 else 0.97))
    above = np.flatnonzero(curve >= level)
    if not len(above) or level <= 0:
        return float("nan"), float("nan")
    first, last = int(above[0]), int(above[-1])
    rise = fall = 0.0
    if first > 0:
        rise = float((level - curve[first]) / (curve[first] - curve[first - 1]))
    if last + 1 < len(curve):
        fall = float((curve[last] - level) / (curve[last] - curve[last + 1]))
    # Frame i is on the screen from i to i + 1: its middle is what a curve is sampled at.
    return first + rise + 0.5, last + fall + 0.5


def report(results: list[Result]) -> str:
    """Return the table for people."""
    lines = [f"{'word':15} {'channel':16} " + "   ".join(f"{n:>22}" for n in ABLATIONS)]
    lines.append(f"{'':32} " + "   ".join(f"{'reach  start   stop':>22}" for _ in ABLATIONS))
    for i in range(0, len(results), len(ABLATIONS)):
        row = results[i : i + len(ABLATIONS)]
        cells = [f"{r.reach:8.2f} {r.start_ms:+6.0f} {r.stop_ms:+6.0f}" for r in row]
        lines.append(f"{row[0].word:15} {row[0].channel:16} " + "   ".join(cells))
    for name in ABLATIONS:
        chosen = [r for r in results if r.ablation == name]
        good = sum(r.on_time for r in chosen)
        right = sum(r.reach > 0.2 for r in chosen)
        lines.append(
            f"{name}: {right} of {len(chosen)} move the right way, {good} begin and end within"
            f" {ALLOWED_MS:.0f} ms; median reach {np.median([r.reach for r in chosen]):.2f}"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print the table, and fail when a word is late or goes the wrong way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, default=Path("examples/podcast.wav"))
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--response", type=Path, default=None)
    parser.add_argument("--words", nargs="*", default=None)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = options.weights or data_file(MINI_FILE)
    stage = Stage(options.audio, load_mini(weights))
    response = Response.load(options.response) if options.response else response_of(weights)
    known = [w for w in WORDS if w.exact and len(w.motion) == 1 and w.motion[0][1] == 1.0]
    singles = {w.motion[0][0]: w for w in reversed(known) if w.name != "neutral"}
    chosen = [w for w in singles.values() if options.words is None or w.name in options.words]
    results: list[Result] = []
    for word in reversed(chosen):
        results += measure(stage, word, options.seeds, response)
        print(f"{word.name} measured", file=sys.stderr, flush=True)
    print(json.dumps([vars(r) for r in results], indent=1) if options.json else report(results))
    both = [r for r in results if r.ablation == "both"]
    return 0 if all(r.on_time and r.reach > 0.2 for r in both) else 1


if __name__ == "__main__":
    sys.exit(main())
