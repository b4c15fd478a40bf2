"""Measure the frames of every test portrait: `python tools/picture_checks.py [--only NAME...]`.

What is commanded against what landmarks find on the frames, folds and tears, the background, the
stillness of what does not move, chunk boundaries, shoulders and sharpness. `--write` puts the
tables into docs/picture.md. Portraits are those of tools/portraits.py.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from gallery import speech_motion
from numpy.typing import NDArray
from portraits import RGB, available

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.diagnose.bench import repeat_sound
from liveact_cli.mini.face.calibrate import measured_angles
from liveact_cli.mini.face.fit import FaceFit, default_size
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_GROUPS, motion_vector
from liveact_cli.weights.resolve import example_file

Floats = NDArray[np.floating]
DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "picture.md"
START, END = "<!-- tables -->\n", "<!-- end of tables -->\n"
TURNS: Final = (("yaw", 0, 8.0), ("pitch", 1, 6.0), ("roll", 2, 10.0))
TOLERANCE: Final = 0.15
FOLDING: Final = tuple(
    {"yaw": yaw, "pitch": pitch, "roll": roll, "jawOpen": 0.4}
    for yaw, pitch, roll in ((8, 0, 0), (-8, 0, 0), (0, 6, 0), (0, -6, 0), (6, 4, 8), (-6, -4, -8))
)
SUBPIXEL: Final = {"yaw": 2.0, "roll": 1.5, "tx": 0.31, "ty": 0.17}
"""A pose that puts no pixel onto another one."""
BOUNDARY_SECONDS: Final = 600.0
BOUNDARY_SIZE: Final = (256, 256)
BESIDE: Final = 4
"""Changes inside a chunk that are drawn before and after each of its boundaries."""
LARGE_SIZE: Final = (1920, 1080)


@dataclass(frozen=True)
class Checked:
    """What was measured on one portrait."""

    name: str
    turns: tuple[float, ...]
    """Measured per commanded degree: yaw +-, pitch +-, roll +-."""
    folded: float
    """Largest share of the person's pixels, outside lips and lids, whose map is turned over."""
    background: int
    """Largest difference of a pixel where neither the person was nor is."""
    flicker: float
    """Mean change of unmoved skin from frame to frame, in grey levels."""
    shoulders: float
    """Motion of the shoulders per motion of the head."""
    sharpness: float
    """High frequencies of the moved face per those of the still one."""

    @property
    def worst_turn(self) -> float:
        """The angle that is farthest from its command."""
        return max(self.turns, key=lambda ratio: abs(ratio - 1.0))

    @property
    def good(self) -> bool:
        """Whether everything is as required."""
        return (
            abs(self.worst_turn - 1.0) <= TOLERANCE
            and self.background == 0
            and self.flicker < 0.5
            and self.folded < 0.001
        )


def turns(renderer: FaceRenderer, fit: FaceFit) -> tuple[float, ...]:
    """Return measured per commanded degree for both directions of yaw, pitch and roll."""
    marks, mesh = renderer.head.landmarks, fit.canonical
    still = renderer.render(motion_vector())
    ratios = []
    for channel, axis, degrees in TURNS:
        passes = 2 if channel == "roll" else 1
        rest = measured_angles(still, marks, mesh, passes)
        for sign in (1.0, -1.0):
            frame = renderer.render(motion_vector({channel: sign * degrees}))
            angle = measured_angles(frame, marks, mesh, passes)[axis] - rest[axis]
            ratios.append(angle / (sign * degrees))
    return tuple(ratios)


def seams(places: Floats, scale: float) -> NDArray[np.bool_]:
    """Return where lips and lids part `[H, W]`: the map may jump there."""
    nowhere = np.isnan(places[..., 0]).astype(np.uint8)
    reach = 2 * max(1, round(0.12 * scale)) + 1
    return np.asarray(cv2.dilate(nowhere, np.ones((reach, reach), np.uint8)) > 0)


def sampled(image: NDArray[np.uint8], places: Floats) -> NDArray[np.uint8]:
    """Return `image` at `places` `[H, W, 2]`."""
    x, y = (np.nan_to_num(places[..., k].astype(np.float32)) for k in (0, 1))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def folded(renderer: FaceRenderer) -> float:
    """Return the largest share of the person's pixels at which the map turns over."""
    worst = 0.0
    for pose in FOLDING:
        motion = motion_vector(pose)
        places = renderer.sources(motion).astype(np.float64)
        dx, dy = np.diff(places, axis=1)[:-1], np.diff(places, axis=0)[:, :-1]
        # No comparison holds for NaN.
        turned = dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0] <= 0.0
        person = (sampled(renderer.matte, places) > 0) & ~seams(places, renderer.head.scale)
        worst = max(worst, float((turned & person[:-1, :-1]).sum() / max(person.sum(), 1)))
    return worst


def background(renderer: FaceRenderer) -> int:
    """Return the largest change of a pixel where the person neither was nor is."""
    largest = 0
    rest = renderer.render(motion_vector()).astype(int)
    for pose in FOLDING:
        motion = motion_vector(pose)
        covered = np.maximum(renderer.matte, sampled(renderer.matte, renderer.sources(motion)))
        # What is drawn is interpolated from up to four pixels away.
        free = cv2.dilate(covered, np.ones((9, 9), np.uint8)) == 0
        change = np.abs(renderer.render(motion).astype(int) - rest).max(2)
        largest = max(largest, int(change[free].max(initial=0)))
    return largest


def flicker(renderer: FaceRenderer, motion: Floats) -> float:
    """Return the mean change from frame to frame of skin that stays where it is.

    The head is held still, so that forehead, nose and ears rest while mouth, lids and brows move.
    """
    motion = motion.copy()
    motion[:, [CHANNEL_INDEX[name] for name in MOTION_GROUPS["head"]]] = 0.0
    outline = np.round(renderer.head.source[renderer.head.oval]).astype(np.int32)
    face = np.zeros((renderer.height, renderer.width), np.uint8)
    cv2.fillPoly(face, [outline], 1)
    total, count, before, places = 0.0, 0, None, None
    for row in motion[25:75]:
        now, where = renderer.render(row).astype(np.float64), renderer.sources(row)
        if before is not None and places is not None:
            still = (
                (face > 0)
                & (np.abs(where - places).max(2) < 0.02)
                & ~seams(where, renderer.head.scale)
            )
            total += float(np.abs(now - before).mean(2)[still].sum())
            count += int(still.sum())
        before, places = now, where
    return total / max(count, 1)


def shoulders(renderer: FaceRenderer) -> float:
    """Return how far the shoulders move per motion of the head, for a lean to the side."""
    motion = motion_vector(tx=1.0, roll=4.0)
    y, x = np.mgrid[: renderer.height, : renderer.width].astype(np.float32)
    shift = np.linalg.norm(renderer.sources(motion) - np.stack([x, y], -1), axis=2)
    oval = renderer.head.source[renderer.head.oval]
    chin, tall = oval[:, 1].max(), float(np.ptp(oval[:, 1]))
    low, high = chin + 0.55 * tall, chin + 0.9 * tall
    body = (renderer.matte > 128) & (y > low) & (y < high)
    face = cv2.fillPoly(np.zeros(y.shape, np.uint8), [np.round(oval).astype(np.int32)], 1) > 0
    return float(np.median(shift[body]) / np.nanmean(shift[face])) if body.any() else float("nan")


def energy(frame: RGB, mask: NDArray[np.bool_]) -> float:
    """Return the mean square of the finest details inside `mask`."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    return float((fine[mask] ** 2).mean())


def sharpness(renderer: FaceRenderer) -> float:
    """Return the high frequencies of a moved face relative to those of the picture (amplitude)."""
    motion = motion_vector(SUBPIXEL)
    oval = np.round(renderer.head.source[renderer.head.oval]).astype(np.int32)
    face = np.zeros((renderer.height, renderer.width), np.uint8)
    cv2.fillPoly(face, [oval], 255)
    moved = sampled(face, renderer.sources(motion)) > 250
    before = energy(renderer.render(motion_vector()), face > 250)
    return float(np.sqrt(energy(renderer.render(motion), moved) / max(before, 1e-9)))


def boundaries(fit: FaceFit, motion: Floats) -> tuple[float, float, int]:
    """Return the change across chunk boundaries over that inside, its 95 % bound, and how many.

    The change is the mean of the absolute difference of neighbouring frames; inside is what lies
    up to `BESIDE` frames before and after a boundary. The bound is a bootstrap's over boundaries.
    """
    renderer = FaceRenderer(fit, *BOUNDARY_SIZE)
    first, step = _chunks()
    across, inside = [], []
    for at in range(first, len(motion) - BESIDE, step):
        frames = [renderer.render(row).astype(np.int16) for row in _around(motion, at)]
        changes = [float(np.abs(b - a).mean()) for a, b in pairwise(frames)]
        across.append(changes.pop(BESIDE))
        inside.append(float(np.mean(changes)))
    draws = np.random.default_rng(0).integers(0, len(across), (4000, len(across)))
    ratios = np.array(across)[draws].mean(1) / np.array(inside)[draws].mean(1)
    bound = float(np.percentile(ratios, 97.5))
    return float(np.mean(across) / np.mean(inside)), bound, len(across)


def _around(motion: Floats, at: int) -> Floats:
    """Return the frames whose neighbours' changes are looked at around frame `at`."""
    return motion[at - 1 - BESIDE : at + 1 + BESIDE]


def _chunks() -> tuple[int, int]:
    """Return the video frames of the first chunk and of every other one."""
    policy = MemoryPolicy()
    return 4 * policy.first_chunk - 3, 4 * policy.chunk


def check(name: str, picture: RGB, fit: FaceFit, motion: Floats) -> Checked:
    """Measure one portrait at its own size."""
    renderer = FaceRenderer(fit, *default_size((picture.shape[1], picture.shape[0])))
    return Checked(
        name,
        turns(renderer, fit),
        folded(renderer),
        background(renderer),
        flicker(renderer, motion),
        shoulders(renderer),
        sharpness(renderer),
    )


def table(rows: list[Checked]) -> list[str]:
    """Return a Markdown table."""
    lines = [
        "| portrait | yaw ±8° | pitch ±6° | roll ±10° | folded | background | still skin "
        "| shoulders | sharpness |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        pairs = [f"{row.turns[i]:.2f} / {row.turns[i + 1]:.2f}" for i in (0, 2, 4)]
        shoulders = "-" if np.isnan(row.shoulders) else f"{row.shoulders:.2f}"
        lines.append(
            f"| {row.name} | {' | '.join(pairs)} | {100 * row.folded:.2f} % | {row.background} "
            f"| {row.flicker:.2f} | {shoulders} | {row.sharpness:.2f} |"
        )
    return lines


def boundary_lines(fit: FaceFit) -> list[str]:
    """Return a sentence about chunk boundaries, from minutes of speech."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "long.wav"
        repeat_sound(example_file("podcast.wav"), sound, BOUNDARY_SECONDS)
        motion = speech_motion(BOUNDARY_SECONDS, sound)
    ratio, bound, count = boundaries(fit, motion)
    return [
        f"Change across a chunk boundary over the change inside, {count} boundaries of "
        f"{len(motion)} frames (`examples/podcast.wav` over and over, seed 1): {ratio:.2f} "
        f"(95 % bound {bound:.2f}; wanted: 1.10).",
    ]


def large_lines(fits: dict[str, FaceFit]) -> list[str]:
    """Return a table of the sharpness at 1920x1080."""
    width, height = LARGE_SIZE
    lines = [f"| at {width}x{height} | sharpness |", "|---|---|"]
    for name, fit in fits.items():
        lines.append(f"| {name} | {sharpness(FaceRenderer(fit, width, height)):.2f} |")
    return lines


def write(lines: list[str]) -> None:
    """Put the tables into the document."""
    text = DOCUMENT.read_text()
    before, rest = text.split(START)
    DOCUMENT.write_text(before + START + "\n".join(lines) + "\n" + END + rest.split(END)[1])


def main() -> int:
    """Measure, print the tables, and fail when something is not as required."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of portraits")
    parser.add_argument("--write", action="store_true", help="into docs/picture.md")
    options = parser.parse_args()
    motion, rows, fits = speech_motion(), [], {}
    for portrait, picture, fit in available(options.only):
        rows.append(check(portrait.name, picture, fit, motion))
        fits[portrait.name] = fit
        print(table(rows[-1:])[-1], flush=True)
    lines = table(rows)
    if not options.only:
        lines += ["", *large_lines({n: fits[n] for n in ("hopper", "joconde") if n in fits})]
        lines += ["", *boundary_lines(next(iter(fits.values())))]
    print("\n".join(lines))
    if options.write:
        write(lines)
    bad = [row.name for row in rows if not row.good]
    print(f"{len(rows) - len(bad)} of {len(rows)} portraits as required", *bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
