"""Speak the recordings of the three worked examples of docs/directing.md, with their transcripts.

    python tools/example_voices.py [FOLDER]

hibari's natural voice, our own words; the song is the same voice, slowed down and moved to the
notes of a melody over a few soft chords. Writes NAME.wav (24 kHz, mono) and NAME.srt.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from librosa.effects import pitch_shift, time_stretch
from numpy.typing import NDArray

from liveact_cli.script.formats.subtitles import Cue, format_srt

RATE = 24_000
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Line:
    """A sentence, the silence after it, and what the transcript says of that silence."""

    text: str
    pause: float = 0.3
    cue: str = ""
    notes: tuple[float, ...] = ()


PODCAST = (
    Line("Welcome back to the show.", 0.35),
    Line("Last week, somebody asked me a question that I could not forget.", 1.1),
    Line("What would you do, if nobody was watching?", 0.9),
    Line("Honestly? I think I would dance.", 0.5, "smiles"),
)
TALKSHOW = (
    Line("So I asked the owl: do you ever sleep at night?", 0.5),
    Line("And the owl looked at me, and said: who?", 1.5, "laughing"),
    Line("No, no, wait. It gets worse.", 0.4),
    Line("Then the cat answered.", 1.0, "raises eyebrows"),
)
SONG = (
    Line("Slowly falls the light,", 0.25, notes=(0, 2, 4)),
    Line("over hill and sea.", 0.7, notes=(5, 4, 2)),
    Line("Hold me through the night,", 0.25, notes=(4, 5, 7)),
    Line("stay, oh stay with me.", 0.6, notes=(5, 2, 0)),
)
CHORDS = ((0, 4, 7), (5, 9, 12), (9, 12, 16), (7, 11, 14))


def speak(
    lines: Sequence[Line], sing: "Callable[[Floats, Line], Floats] | None" = None
) -> tuple[Floats, list[Cue]]:
    """Return the sound and the cues of its transcript."""
    from hibari import Hibari

    voice = Hibari()
    parts, cues, now = [np.zeros(int(0.25 * RATE), np.float32)], [], 0.25
    for seed, line in enumerate(lines):
        said = np.asarray(voice(line.text, speed=0.85 if sing else 1.05, seed=seed), np.float32)
        said = sing(said, line) if sing else said
        parts += [said, np.zeros(int(line.pause * RATE), np.float32)]
        end = now + len(said) / RATE
        cues.append(Cue(now, end, line.text))
        if line.cue:
            cues.append(Cue(end, end + line.pause, f"[{line.cue}]"))
        now = end + int(line.pause * RATE) / RATE
    return np.concatenate(parts), cues


def on_notes(said: Floats, line: Line) -> Floats:
    """Move thirds of a phrase to their notes (semitones) and draw the phrase out."""
    slow = time_stretch(said, rate=0.72)
    pieces = np.array_split(slow, len(line.notes))
    fade = int(0.03 * RATE)
    sung = np.zeros(len(slow) + fade, np.float32)
    at = 0
    for piece, note in zip(pieces, line.notes, strict=True):
        tail = slow[at + len(piece) : at + len(piece) + fade]
        moved = pitch_shift(np.concatenate((piece, tail)), sr=RATE, n_steps=note)
        moved[:fade] *= np.linspace(0, 1, fade) if at else 1.0
        moved[len(piece) :] *= np.linspace(1, 0, fade)[: len(tail)]
        sung[at : at + len(moved)] += moved
        at += len(piece)
    return sung


def chords(samples: int) -> Floats:
    """Return soft chords under a song, one after the other."""
    t = np.arange(samples) / RATE
    sound = np.zeros(samples)
    length = samples / RATE / len(CHORDS)
    for i, chord in enumerate(CHORDS):
        window = np.clip(np.minimum(t - i * length, (i + 1) * length + 0.3 - t) / 0.4, 0, 1)
        for note in chord:
            tone = 130.81 * 2 ** (note / 12)
            sound += window * (np.sin(2 * np.pi * tone * t) + 0.3 * np.sin(4 * np.pi * tone * t))
    return (0.012 * sound).astype(np.float32)


def write(folder: Path, name: str, sound: Floats, cues: list[Cue]) -> None:
    """Write the recording and its transcript."""
    sound = sound / np.abs(sound).max() * 0.7
    soundfile.write(folder / f"{name}.wav", sound, RATE, subtype="PCM_16")
    (folder / f"{name}.srt").write_text(format_srt(cues), encoding="utf-8")
    print(f"{folder / name}.wav: {len(sound) / RATE:.2f} s")


def main() -> None:
    """Write all three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("examples"))
    folder = parser.parse_args().folder
    write(folder, "podcast", *speak(PODCAST))
    write(folder, "talkshow", *speak(TALKSHOW))
    song, cues = speak(SONG, on_notes)
    write(folder, "song", song / np.abs(song).max() + chords(len(song)), cues)


if __name__ == "__main__":
    main()
