"""Do the lips close on p, b and m in recordings without text? A phone recogniser is the judge.

    python tools/long_form.py talk.wav interview.mp3 [--weights W] [--seeds 2] [--json]

`hama` (PyPI, Apache-2.0) hears the phones; it has no part in how motion is made. "chance" is the
share of bilabials found in the same motion shifted in time, where it is speech then, too: lips that
rest in a pause, through music or while people murmur far away are closed by right and would only
flatter it. Speech is where the judge hears phones. Needs `pip install hama`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from lip_sync import CLOSED, Clip, aperture, model_motion
from numpy.typing import NDArray
from scipy.ndimage import binary_closing

from liveact_cli.media.audio import AudioSource

RATE: Final = 16000
FPS: Final = 25.0
BILABIALS: Final = frozenset("pbm")
LATE: Final = 0.070
"""Seconds by which the judge's times are late."""
MARGIN: Final = 0.04
"""Seconds on both sides of the judge's phone in which a closure counts."""
LONGEST, SHORTEST = 9.5, 6.0
"""Seconds of a window: the judge truncates long ones, so they are cut where it is quiet."""
SHIFTS: Final = 20
SOUNDING, PAUSE = 0.2, 0.24
"""Seconds that a phone sounds at most (the judge lets each last until the next), and of a pause."""

Floats = NDArray[np.float32]


def windows(samples: Floats) -> Iterator[tuple[int, int]]:
    """Yield windows of 6 to 9.5 s that end in the quietest 50 ms."""
    first = 0
    while len(samples) - first > LONGEST * RATE:
        low, high = first + int(SHORTEST * RATE), first + int(LONGEST * RATE)
        power = np.convolve(samples[low:high] ** 2, np.ones(800), "valid")[::80]
        cut = low + 80 * int(power.argmin()) + 400
        yield first, cut
        first = cut
    yield first, len(samples)


def phones(samples: Floats) -> list[tuple[str, float, float]]:
    """What the judge hears: (phone, start, stop) in seconds."""
    import hama

    judge = hama.ASRModel()
    found = []
    for first, last in windows(samples):
        if last - first < RATE // 4:
            continue
        heard = judge.transcribe_waveform(samples[first:last], RATE)
        for span in judge.phoneme_spans(heard):
            at = first / RATE - LATE
            phone = span.phoneme.strip("ˈˌ")
            found.append((phone, at + span.start_ms / 1000, at + span.end_ms / 1000))
    return found


def speech(heard: list[tuple[str, float, float]], frames: int) -> NDArray[np.bool_]:
    """Where somebody speaks, `[frames]` at 25 fps; pauses under PAUSE count as speech."""
    sounding = np.zeros(frames, bool)
    for _, start, stop in heard:
        stop = min(stop, start + SOUNDING)
        sounding[max(0, int((start - MARGIN) * FPS)) : int(stop * FPS) + 1] = True
    gap = round(PAUSE * FPS)
    filled: NDArray[np.bool_] = binary_closing(np.pad(sounding, gap), np.ones(gap))[gap:-gap]
    return filled


def closures_found(closed: NDArray[np.bool_], said: list[tuple[float, float]]) -> list[bool]:
    """For each bilabial: is any frame within MARGIN of it closed?"""
    middles = (np.arange(len(closed)) + 0.5) / FPS
    return [
        bool(closed[(middles >= start - MARGIN) & (middles <= stop + MARGIN)].any())
        for start, stop in said
    ]


def judge_recording(path: Path, weights: Path | None, seeds: int) -> dict[str, Any]:
    """Hits and chance hits of one recording, over several seeds of the motion."""
    samples = np.concatenate(list(AudioSource(path).blocks(RATE)))
    heard = phones(samples)
    said = [(start, stop) for phone, start, stop in heard if phone[:1] in BILABIALS]
    clip = Clip(path.stem, samples, [])
    hits: list[bool] = []
    chance: list[bool] = []
    rng = np.random.default_rng(0)
    for seed in range(seeds):
        closed = aperture(model_motion(weights, seed)(clip)) < CLOSED
        talking = speech(heard, len(closed))
        hits += closures_found(closed, said)
        for _ in range(SHIFTS):
            by = int(rng.uniform(0.2, 0.8) * len(closed))
            moved = np.roll(talking, by)
            landed = [(a, b) for a, b in said if moved[min(int(a * FPS), len(moved) - 1)]]
            chance += closures_found(np.roll(closed, by), landed)
    return {
        "name": path.name,
        "seconds": len(samples) / RATE,
        "hits": hits,
        "chance": float(np.mean(chance)) if chance else None,
        "count": len(said),
    }


def interval(hits: list[bool]) -> list[float]:
    """Bootstrap 95 % interval of a share."""
    rng = np.random.default_rng(0)
    values = np.array(hits, float)
    shares = [rng.choice(values, len(values)).mean() for _ in range(1000)]
    return [round(float(v), 3) for v in np.percentile(shares, [2.5, 97.5])]


def summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a recording, and one for all of them."""
    rows = []
    whole = [hit for item in found for hit in item["hits"]]
    judged = [item for item in found if item["chance"] is not None]
    together = sum(item["chance"] * item["count"] for item in judged)
    count = sum(item["count"] for item in found)
    everything = {
        "name": "all",
        "seconds": sum(item["seconds"] for item in found),
        "hits": whole,
        "chance": together / max(1, sum(item["count"] for item in judged)),
        "count": count,
    }
    for item in [*found, everything]:
        if not item["hits"]:
            continue
        rows.append(
            {
                "name": item["name"],
                "seconds": round(item["seconds"], 1),
                "count": item["count"],
                "recall": round(float(np.mean(item["hits"])), 3),
                "interval": interval(item["hits"]),
                "chance": None if item["chance"] is None else round(item["chance"], 3),
            }
        )
    return rows


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("audio", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, help="default: the packaged ones")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = summary(
        [judge_recording(path, options.weights, options.seeds) for path in options.audio]
    )
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        low, high = row["interval"]
        print(
            f"{row['name']:24} {row['seconds']:7.1f} s  recall {row['recall']:.3f} "
            f"[{low}, {high}]  n={row['count']}  chance {row['chance']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
