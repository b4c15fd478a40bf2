"""SVOX Pico (Apache-2.0, PyPI py-nanotts): two voices of English, one of four more languages each.

The engine does not say when each phone is, so all are labelled by forced alignment, as recordings
are; what does not fit is left out.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np

from liveact_cli.training import texts
from liveact_cli.training.align import Aligner
from liveact_cli.training.recordings import aligned_reading
from liveact_cli.training.resample import RATE, resample
from liveact_cli.training.synthesise import Utterance

LANGUAGES = (
    # Pico's voice, espeak's for the alignment, language of the text, weight
    ("fr-FR", "fr", "fr", 14), ("de-DE", "de", "de", 8), ("en-US", "en-us", "en", 6),
    ("en-GB", "en-us", "en", 6), ("es-ES", "es", "es", 5), ("it-IT", "it", "it", 5),
)  # fmt: skip
FRENCH = LANGUAGES[:1]
_SHORTEST = 16000


def speak_pico(
    seed: int, languages: Sequence[tuple[str, str, str, int]] = LANGUAGES
) -> Iterator[Utterance]:
    """The voices of some languages, their pitch, tempo and vocal tract length varied."""
    from py_nanotts import NanoTTS

    rng, engine = random.Random(f"pico {seed}"), NanoTTS()
    aligners = {voice: Aligner(voice) for voice in sorted({said for _, said, _, _ in languages})}
    weights = [weight for *_, weight in languages]
    while True:
        voice, said, language, _ = rng.choices(languages, weights)[0]
        text = texts.draw(language, rng)
        if language == "en" and rng.random() < 0.2:
            text = texts.hesitate(text, rng)
        tract = rng.choice([1.0, rng.uniform(0.86, 1.16)])
        speed, pitch = rng.uniform(0.75, 1.35), rng.uniform(0.7, 1.3)
        pcm = engine.speak(text, voice, speed=speed, pitch=pitch, volume=0.5)  # 1.0 clips
        samples = np.frombuffer(pcm, np.int16).astype(np.float32)
        if len(samples) < _SHORTEST or not samples.any():
            continue
        samples = resample(samples * np.float32(0.9 / np.abs(samples).max()), RATE * tract)
        utterance = aligned_reading(aligners[said], samples, text, "pico", voice, language)
        if utterance:
            yield utterance
