"""Sharpen a neural voice's phone times with a trained audio net.

The voices count time in steps of 12 to 25 ms, give the gaps between words to silence and what lies
between two phones to either. The order of the phones is certain, so their borders are found again:
the most probable path through the net's phone posteriors that keeps the order and stays near the
given times.

    python -m liveact_cli.training.realign --corpus DIR --net RUN/audio_net.safetensors hibari piper
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from liveact_cli.mini.audio import FRAMES_PER_ROW, HOP, MEL_RATE, AudioNet, log_mel, normalise
from liveact_cli.training.audio_heads import AudioHeads, load_net, predict
from liveact_cli.training.rawstore import read_raw
from liveact_cli.training.streams import viseme_of
from liveact_cli.training.synthesise import PhoneSpan

NEAR = 0.08
"""Seconds that a border may move."""
_SURE_SILENCE = 0.12
"""A silence at least this long must stay; a shorter one may vanish."""
_SHORTEST = 2
_IMPOSSIBLE = -1e9


def _filled(phones: list[PhoneSpan], seconds: float) -> list[PhoneSpan]:
    """The phones with explicit silences wherever none of them is, from 0 to the end."""
    filled: list[PhoneSpan] = []
    at = 0.0
    for label, start, stop in [*phones, ("", seconds, seconds)]:
        if start - at > 0.005:
            filled.append(("", at, start))
        if stop > start:
            filled.append((label, start, stop))
        at = max(at, stop)
    joined: list[PhoneSpan] = []
    for label, start, stop in filled:
        if not label and joined and not joined[-1][0]:
            joined[-1] = ("", joined[-1][1], stop)
        else:
            joined.append((label, start, stop))
    return joined


def realign(posteriors: NDArray[np.float32], phones: list[PhoneSpan]) -> list[PhoneSpan]:
    """Borders on the most probable path; posteriors [T, visemes] at 100 Hz, phones in order.

    Returns the phones unchanged where no path exists.
    """
    score = np.log(posteriors + 1e-4)
    frames = len(score)
    given, phones = phones, _filled(phones, frames / MEL_RATE)
    # Each phone of the least length is a chain of states, the last of which repeats.
    states: list[int] = []
    for index, (label, start, stop) in enumerate(phones):
        states += [index] * (1 if not label or stop - start < 0.03 else _SHORTEST)
    owner = np.array(states)
    viseme = np.array([viseme_of(phones[k][0]) for k in owner])
    earliest = np.array([phones[k][1] - NEAR for k in owner]) * MEL_RATE
    latest = np.array([phones[k][2] + NEAR for k in owner]) * MEL_RATE
    optional = np.array(
        [not phones[k][0] and phones[k][2] - phones[k][1] < _SURE_SILENCE for k in owner]
    )
    last_of_phone = np.append(owner[1:] != owner[:-1], True)
    after_optional = np.concatenate([[False, False], optional[1:-1]])

    best = np.full(len(owner), _IMPOSSIBLE)
    best[0] = 0.0
    if len(owner) > 1 and optional[0]:
        best[1] = 0.0
    came = np.zeros((frames, len(owner)), np.int8)
    for t in range(frames):
        allowed = (t >= earliest) & (t < latest)
        if t:
            stay = np.where(last_of_phone, best, _IMPOSSIBLE)
            step = np.concatenate([[_IMPOSSIBLE], best[:-1]])
            skip = np.where(
                after_optional, np.concatenate([[_IMPOSSIBLE] * 2, best[:-2]]), _IMPOSSIBLE
            )
            options = np.stack([stay, step, skip])
            came[t] = options.argmax(0)
            best = options.max(0)
        best = np.where(allowed, best + score[t, viseme], _IMPOSSIBLE)
    at = len(owner) - 1
    if optional[at] and at and best[at - 1] > best[at]:
        at -= 1
    if best[at] <= _IMPOSSIBLE / 2:
        return given
    path = np.zeros(frames, int)
    for t in range(frames - 1, -1, -1):
        path[t] = owner[at]
        at -= int(came[t, at])
    moved: list[PhoneSpan] = []
    for index, (label, _, _) in enumerate(phones):
        own = np.flatnonzero(path == index)
        if len(own):
            moved.append((label, float(own[0]) / MEL_RATE, float(own[-1] + 1) / MEL_RATE))
    return moved


def posteriors_of(
    net: AudioNet, heads: AudioHeads, samples: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Phone posteriors [T, visemes] at 100 Hz of 16 kHz sound."""
    step = HOP * FRAMES_PER_ROW
    padded = np.pad(samples, (0, -len(samples) % step))
    mel = normalise(log_mel(torch.from_numpy(padded))[: len(padded) // HOP])
    return predict(net, heads, mel.numpy().astype(np.float16))["phones"]


def _shifts(before: list[PhoneSpan], after: list[PhoneSpan]) -> list[float]:
    starts = ([a for label, a, _ in phones if label] for phones in (before, after))
    return [b - a for a, b in zip(*starts, strict=False)]


def main() -> None:
    """Command line: rewrite the phone times of some sources in place."""
    parser = argparse.ArgumentParser(description="Sharpen phone times with a trained audio net.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--net", type=Path, required=True)
    parser.add_argument("sources", nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net, heads = load_net(options.net)
    raw = options.corpus / "raw"
    for source in options.sources:
        lines, shifts = [], []
        path = raw / f"{source}.jsonl"
        texts = path.read_text(encoding="utf8").splitlines()
        for entry, line in zip(read_raw(raw, source), texts, strict=True):
            before = list(entry.phones)
            after = realign(posteriors_of(net, heads, entry.sound()), before)
            shifts += _shifts(before, after)
            item = json.loads(line)
            item["phones"] = [[label, round(a, 3), round(b, 3)] for label, a, b in after]
            lines.append(json.dumps(item, ensure_ascii=False))
        partial = path.with_suffix(".partial")
        partial.write_text("\n".join(lines) + "\n", encoding="utf8")
        partial.rename(path)
        print(
            f"{source}: {len(lines)} utterances, borders moved {np.std(shifts) * 1000:.0f} ms (sd)"
        )


if __name__ == "__main__":
    main()
