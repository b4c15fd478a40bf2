"""Does an hour of motion end as it began? Statistics of five-minute windows over several seeds.

    python -m liveact_cli.training.drift --sound FILE.wav [FILE.wav ...] [--weights FILE]
        [--minutes 60] [--seeds 8] [--json OUT]

Five minutes of sound are repeated, so that every window hears the same. A statistic has drifted if
its mean over the seeds in the last window lies outside the bootstrap 95 % interval of as many
windows drawn from all of them; the blink rate, if it lies more than 15 % off the mean.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from liveact_cli.mini.model import MiniModel, load_mini
from liveact_cli.mini.motion import MOTION_FPS, lip_aperture
from liveact_cli.training.evaluate import (
    HEAD,
    Motion,
    blink_starts,
    column,
    generate,
    hear,
    read_sounds,
    shipped,
)

WINDOW_MINUTES = 5
BLINK_TOLERANCE = 0.15
DRAWS = 2000


def statistics(motion: Motion) -> dict[str, float]:
    """Return the statistics of one window; degrees, degrees a second, coefficients."""
    values = {
        "blinks/min": len(blink_starts(motion)) / (len(motion) / MOTION_FPS / 60),
        "mean aperture": float(lip_aperture(motion).mean()),
        "sd aperture": float(lip_aperture(motion).std()),
        "mean brow": float(column(motion, "browOuterUpLeft").mean()),
        "sd brow": float(column(motion, "browOuterUpLeft").std()),
        "sd gazeX": float(column(motion, "gazeX").std()),
    }
    for name in HEAD:
        track = column(motion, name)
        values[f"mean {name}"] = float(track.mean())
        values[f"sd {name}"] = float(track.std())
        values[f"speed {name}"] = float(np.abs(np.diff(track)).mean() * MOTION_FPS)
    return values


@dataclass(frozen=True)
class Drift:
    """One statistic: mean of all windows, of the last, and the interval that it should lie in."""

    name: str
    mean: float
    last: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the last window is like the others."""
        if self.name == "blinks/min":
            return abs(self.last - self.mean) <= BLINK_TOLERANCE * self.mean
        return self.low <= self.last <= self.high


def compare(windows: NDArray[np.float64], names: list[str], seed: int = 0) -> list[Drift]:
    """Compare the last windows with all: `windows [seeds, windows, statistics]`."""
    rng = np.random.default_rng(seed)
    seeds = len(windows)
    pool = windows.reshape(-1, windows.shape[2])
    drawn = pool[rng.integers(len(pool), size=(DRAWS, seeds))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    last, mean = windows[:, -1].mean(0), pool.mean(0)
    return [
        Drift(name, float(mean[k]), float(last[k]), float(low[k]), float(high[k]))
        for k, name in enumerate(names)
    ]


def measure(
    model: MiniModel, samples: NDArray[np.float32], seeds: int
) -> tuple[NDArray[np.float64], list[str]]:
    """Generate the motion of a long sound per seed; statistics `[seeds, windows, n]` and names."""
    window = int(WINDOW_MINUTES * 60 * MOTION_FPS)
    found, names = [], list[str]()
    for seed in range(seeds):
        rows, frames = hear(model, samples)
        motion = generate(model, rows, frames, seed, shipped(model))
        parts = [
            statistics(motion[k : k + window]) for k in range(0, len(motion) - window + 1, window)
        ]
        names = list(parts[0])
        found.append([list(part.values()) for part in parts])
        print(f"seed {seed}: {len(parts)} windows", flush=True)
    return np.array(found), names


def main() -> int:
    """Command line; exit status 1 where something drifted."""
    parser = argparse.ArgumentParser(description="Does an hour of motion end as it began?")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--sound", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_mini(given.weights)
    once = read_sounds(given.sound, 60 * WINDOW_MINUTES)
    samples = np.tile(once, given.minutes // WINDOW_MINUTES)
    windows, names = measure(model, samples, given.seeds)
    rows = compare(windows, names)
    for row in rows:
        mark = "" if row.inside else "  DRIFTED"
        print(f"{row.name:16} all {row.mean:8.3f}  last {row.last:8.3f}  "
              f"[{row.low:.3f}, {row.high:.3f}]{mark}")  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps([row.__dict__ for row in rows], indent=1), "utf8")
    return 0 if all(row.inside for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
