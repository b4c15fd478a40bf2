"""Utterances to streams: joined with pauses, varied, spoilt, labelled at 100 Hz and 25 fps."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_closing

from liveact_cli.mini.audio import FRAMES_PER_ROW, HOP, MEL_RATE, log_mel, normalise
from liveact_cli.mini.visemes import VISEME_INDEX, VISEMES, viseme_of_arpabet, viseme_of_ipa
from liveact_cli.training import augment
from liveact_cli.training.prolong import prolong, time_map
from liveact_cli.training.prosody import FLOOR_DECIBELS, prosody
from liveact_cli.training.rawstore import RawEntry
from liveact_cli.training.resample import RATE, resample
from liveact_cli.training.synthesise import PhoneSpan

_SPAN = HOP * FRAMES_PER_ROW
_DRAWLED = 0.3
_VOWELS = ("AA", "AE", "IY", "OW", "UW", "AX")
PhoneRow = tuple[str, int, float, float]


@dataclass(frozen=True)
class StreamPlan:
    """What goes into one stream; `varied` allows tempo and gain changes and long pauses."""

    name: str
    entries: tuple[RawEntry, ...]
    take: int
    seed: int
    varied: bool


@dataclass(frozen=True)
class Labels:
    """What is said when in a stream: classes [4F], prosody [F, 4], phone rows."""

    classes: NDArray[np.int8]
    prosody: NDArray[np.float32]
    phones: list[PhoneRow]


@dataclass(frozen=True)
class Built:
    """A finished stream: mel [4F, 64] and its labels."""

    name: str
    language: str
    source: str
    voice: str
    take: int
    mel: NDArray[np.float16]
    labels: Labels


def viseme_of(label: str) -> int:
    """Index of a phone's viseme; labels with the prefix "ARPA:" are ARPAbet, others IPA."""
    name = viseme_of_arpabet(label[5:]) if label.startswith("ARPA:") else viseme_of_ipa(label)
    return VISEME_INDEX[name]


def class_track(phones: list[PhoneRow], mels: int) -> NDArray[np.int8]:
    """Viseme class at each 10 ms mel centre; silence where no phone is."""
    track = np.zeros(mels, np.int8)
    for _, viseme, start, stop in phones:
        track[max(0, round(start * MEL_RATE)) : max(0, round(stop * MEL_RATE))] = viseme
    return track


def speech_track(classes: NDArray[np.int8], gap: float = 0.2) -> NDArray[np.float32]:
    """Voice activity per video frame, gaps shorter than `gap` seconds filled."""
    span = round(gap * MEL_RATE)
    talking = np.pad(classes > 0, span)
    filled = binary_closing(talking, np.ones(span))[span:-span]
    whole = len(filled) // FRAMES_PER_ROW * FRAMES_PER_ROW
    return filled[:whole].reshape(-1, FRAMES_PER_ROW).mean(1).astype(np.float32)


def _phone_rows(phones: list[PhoneSpan], speed: float, shift: float) -> list[PhoneRow]:
    rows = []
    for label, start, stop in phones:
        viseme = viseme_of(label)
        if viseme and stop > start:
            rows.append((label, viseme, start / speed + shift, stop / speed + shift))
    return rows


def _drawl(
    sound: augment.Sound, phones: list[PhoneRow], rng: np.random.Generator
) -> tuple[augment.Sound, list[PhoneRow]]:
    """An utterance in which some vowels last longer."""
    spans: list[tuple[float, float, float]] = []
    end = 0.0
    for _, viseme, start, stop in sorted(phones, key=lambda row: row[2]):
        if VISEMES[viseme] in _VOWELS and start >= end and rng.random() < 0.25:
            longest = max(1.0, 0.7 / (stop - start))
            spans.append((start, stop, float(min(longest, rng.uniform(1.3, 3.5)))))
            end = stop
    before, after = time_map(len(sound) / RATE, spans)
    moved = np.interp([row[2:] for row in phones], before, after).tolist()
    rows = [(*row[:2], *times) for row, times in zip(phones, moved, strict=True)]
    return prolong(sound, before, after), rows


def _pause(rng: np.random.Generator, varied: bool) -> float:
    if not varied:
        return 0.4
    kind = rng.random()
    if kind < 0.75:
        return float(rng.uniform(0.08, 0.7))
    return float(rng.uniform(0.7, 2.0) if kind < 0.95 else rng.uniform(2.0, 6.0))


def _quiet(count: int, varied: bool, rng: np.random.Generator) -> augment.Sound:
    """A pause: digital silence, or with a breath, a laugh or a tap in it."""
    sound = np.zeros(count, np.float32)
    if varied and count > 0.25 * RATE and rng.random() < 0.3:
        length = int(min(count, rng.uniform(0.2, 2.5) * RATE))
        first = int(rng.integers(count - length + 1))
        heard = augment.pause_noise(length, rng)
        peak = float(np.abs(heard).max(initial=1e-6))
        sound[first : first + length] = heard / peak * 10 ** rng.uniform(-2.0, -0.3)
    return sound


def _talkers(count: int, entries: tuple[RawEntry, ...], rng: np.random.Generator) -> augment.Sound:
    """Other people speaking: one to five voices at once."""
    mixed = np.zeros(count, np.float32)
    for _ in range(rng.integers(1, 6)):
        at = -int(rng.integers(RATE))
        while at < count:
            voice = entries[rng.integers(len(entries))].sound()
            first, last = max(0, at), min(count, at + len(voice))
            if last > first:
                mixed[first:last] += voice[first - at : last - at]
            at += len(voice) + int(rng.integers(RATE))
    return mixed


def _assemble(
    plan: StreamPlan, rng: np.random.Generator
) -> tuple[augment.Sound, NDArray[np.float32], list[PhoneRow]]:
    """The joined clean sound, its loudness, pitch and voicing [F, 3], its phones."""
    sounds: list[augment.Sound] = []
    curves: list[NDArray[np.float32]] = []
    phones: list[PhoneRow] = []
    silence = np.array([FLOOR_DECIBELS, 0, 0], np.float32)
    at = 0
    usual_gain = rng.uniform(0.4, 1.0)
    for entry in plan.entries:
        pause = round(_pause(rng, plan.varied) * RATE / _SPAN) * _SPAN
        sounds.append(_quiet(pause, plan.varied, rng))
        curves.append(np.tile(silence, (pause // _SPAN, 1)))
        at += pause
        sound, speed = entry.sound(), 1.0
        if plan.varied and (plan.take or rng.random() < 0.3):
            speed = float(np.clip(rng.normal(1.0, 0.08), 0.82, 1.22))
            sound = resample(sound, RATE * speed)
        own = _phone_rows(list(entry.phones), speed, 0.0)
        if plan.varied and rng.random() < _DRAWLED:
            sound, own = _drawl(sound, own, rng)
        sound = np.pad(sound, (0, -len(sound) % _SPAN))
        speech = speech_track(class_track(own, len(sound) // HOP))
        curves.append(prosody(sound, speech))
        phones += [(label, v, a + at / RATE, b + at / RATE) for label, v, a, b in own]
        gain = usual_gain * (10 ** rng.normal(0, 0.12) if plan.varied else 1.0)
        sounds.append(sound * np.float32(gain))
        at += len(sound)
    return np.concatenate(sounds), np.concatenate(curves), phones


def build_stream(plan: StreamPlan, talkers: tuple[RawEntry, ...]) -> Built:
    """Join, vary and spoil one plan's utterances; deterministic in the plan's seed."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(plan.seed)
    joined, curves, phones = _assemble(plan, rng)
    if plan.take:
        joined = augment.spoil(joined, rng, partial(_talkers, entries=talkers, rng=rng))
    elif plan.varied and rng.random() < 0.67:
        # Even a clean recording has some noise; in one of three the pauses stay digital zeros.
        joined = augment.add_at(joined, augment.noise(len(joined), rng), rng.uniform(40, 70))
    mels = len(joined) // HOP
    mel = normalise(log_mel(torch.from_numpy(joined))[:mels])
    classes = class_track(phones, mels)
    labels = Labels(classes, np.concatenate([curves, speech_track(classes)[:, None]], 1), phones)
    first = plan.entries[0]
    return Built(
        plan.name, first.language, first.source, first.voice, plan.take,
        mel.numpy().astype(np.float16), labels,
    )  # fmt: skip
