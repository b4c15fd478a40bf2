"""Label the neural voices as real recordings are labelled: by forced alignment.

    python -m liveact_cli.training.realign_text --corpus DIR hibari piper hibari-dev piper-dev

The voices' own durations put the borders of vowels up to a tenth of a second off (a French s of
Kokoro lasts 50 ms by them, 110 by the sound), and their English alphabets name weak vowels in other
ways than a dictionary does. So English is aligned with its text and named by the dictionary; what
is aligned of other languages keeps its phones, which only get new times. An utterance keeps its own
where the aligner finds no path, or one that agrees too little with them (other words were said).
`training.corpus --raw` speaks, then this, then `training.corpus` makes the streams of it.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from difflib import SequenceMatcher
from functools import cache
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from liveact_cli.mini.visemes import VISEMES
from liveact_cli.training.align import Aligner
from liveact_cli.training.rawstore import RawEntry, read_raw
from liveact_cli.training.recordings import phone_spans
from liveact_cli.training.streams import viseme_of
from liveact_cli.training.synthesise import PhoneSpan

SURE = ("PBM", "FV", "SZ", "SH")
"""Visemes that both alphabets name alike and that are hard to miss."""
LEAST_AGREEMENT = 0.85
"""How like each other the two sequences of `SURE` visemes must be (1 is equal)."""
FARTHEST = 0.06
"""Seconds that their starts may lie apart, in the median."""
VOICES = {"en": "en-us", "fr": "fr", "es": "es", "it": "it", "pt": "pt-br"}
"""The languages that are aligned, and espeak's name for each."""


@cache
def _aligner(language: str) -> Aligner:
    return Aligner(VOICES[language])


def words_between_pauses(phones: Sequence[PhoneSpan]) -> list[str]:
    """What is said from pause to pause, in IPA."""
    return [
        "".join(label for label, *_ in group)
        for said, group in groupby(phones, lambda phone: bool(phone[0]))
        if said
    ]


def agree(one: Sequence[PhoneSpan], other: Sequence[PhoneSpan]) -> bool:
    """Do two labellings tell of the same words at about the same times?"""
    sure = [
        [(viseme, start) for viseme, start in ((VISEMES[viseme_of(p[0])], p[1]) for p in phones)
         if viseme in SURE]
        for phones in (one, other)
    ]  # fmt: skip
    names = [[viseme for viseme, _ in marks] for marks in sure]
    matcher = SequenceMatcher(None, names[0], names[1], autojunk=False)
    apart = [
        abs(sure[0][block.a + k][1] - sure[1][block.b + k][1])
        for block in matcher.get_matching_blocks()
        for k in range(block.size)
    ]
    return matcher.ratio() >= LEAST_AGREEMENT and (not apart or median(apart) <= FARTHEST)


def aligned(entry: RawEntry) -> list[PhoneSpan] | None:
    """Phones of one utterance by forced alignment; None where its own are to be kept."""
    language = entry.language.partition("-")[0]
    if language not in VOICES:
        return None
    aligner, sound = _aligner(language), entry.sound()
    if language == "en":
        found = aligner.align(sound, entry.text)
    else:
        found = aligner.align_ipa(sound, words_between_pauses(entry.phones))
    if not found:
        return None
    phones = phone_spans(found)
    return phones if agree(entry.phones, phones) else None


def realign_source(raw: Path, source: str, jobs: int) -> tuple[int, int]:
    """Rewrite one source's phones in place; returns how many utterances were aligned, and all."""
    path = raw / f"{source}.jsonl"
    items: list[dict[str, Any]] = [
        json.loads(line) for line in path.read_text(encoding="utf8").splitlines()
    ]
    count = 0
    with ProcessPoolExecutor(jobs) as pool:
        results = pool.map(aligned, read_raw(raw, source), chunksize=8)
        for item, phones in zip(items, results, strict=True):
            if phones:
                count += 1
                item["phones"] = [[label, round(a, 3), round(b, 3)] for label, a, b in phones]
    partial = path.with_suffix(".partial")
    lines = [json.dumps(item, ensure_ascii=False) for item in items]
    partial.write_text("\n".join(lines) + "\n", encoding="utf8")
    partial.rename(path)
    return count, len(items)


def main() -> None:
    """Command line: rewrite the phones of some sources in place."""
    parser = argparse.ArgumentParser(description="Label the neural voices by forced alignment.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("sources", nargs="+")
    options = parser.parse_args()
    for source in options.sources:
        count, total = realign_source(options.corpus / "raw", source, options.jobs)
        print(f"{source}: {count} of {total} utterances aligned", flush=True)


if __name__ == "__main__":
    main()
