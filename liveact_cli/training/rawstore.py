"""Utterances on disk: one PCM file and one line of JSON per utterance for every source."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liveact_cli.training.synthesise import PhoneSpan, Utterance, trim_to_sound

LEVEL = 0.6
"""Every utterance is stored with this peak."""


@dataclass(frozen=True)
class RawEntry:
    """Where one stored utterance lies and what is said in it."""

    pcm: Path
    offset: int
    samples: int
    source: str
    voice: str
    language: str
    text: str
    phones: list[PhoneSpan]

    def sound(self) -> NDArray[np.float32]:
        """The samples, 16 kHz mono, peak LEVEL."""
        data = np.fromfile(self.pcm, np.int16, self.samples, offset=2 * self.offset)
        return np.asarray(data / 32768, np.float32)


def write_raw(folder: Path, name: str, utterances: Iterator[Utterance], seconds: float) -> float:
    """Store utterances until `seconds` of sound are there or none is left; returns the seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"{name}.jsonl"
    if done.exists():
        return sum(entry.samples for entry in read_raw(folder, name)) / 16000
    pcm, partial = folder / f"{name}.pcm", folder / f"{name}.partial"
    offset = 0
    with pcm.open("wb") as sound_file, partial.open("w", encoding="utf8") as index:
        for utterance in utterances:
            peak = float(np.abs(utterance.samples).max(initial=0.0))
            if peak < 1e-4 or not np.isfinite(peak):
                continue
            data = np.round(utterance.samples / peak * LEVEL * 32767).astype(np.int16)
            data.tofile(sound_file)
            phones = trim_to_sound(utterance.samples, utterance.phones)
            line = {
                "offset": offset, "samples": len(data), "source": utterance.source,
                "voice": utterance.voice, "language": utterance.language, "text": utterance.text,
                "phones": [[label, round(a, 4), round(b, 4)] for label, a, b in phones],
            }  # fmt: skip
            index.write(json.dumps(line, ensure_ascii=False) + "\n")
            offset += len(data)
            if offset >= seconds * 16000:
                break
    partial.rename(done)
    return offset / 16000


def read_raw(folder: Path, name: str) -> list[RawEntry]:
    """Every utterance of one source."""
    entries = []
    with (folder / f"{name}.jsonl").open(encoding="utf8") as index:
        for line in index:
            item = json.loads(line)
            item["phones"] = [(str(label), float(a), float(b)) for label, a, b in item["phones"]]
            entries.append(RawEntry(pcm=folder / f"{name}.pcm", **item))
    return entries
