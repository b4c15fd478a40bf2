"""The speech that liveact-mini learns from: hours of labelled streams, made by one seeded command.

    python -m liveact_cli.training.corpus --out training-runs/corpus --hours 8

First every source speaks (rawstore.py; with `--raw` that is all, and training.realign_text may
correct its phones), then its utterances are joined into streams with pauses, spoilt in several
takes and turned into log-mels. `load_streams` reads them back, memory-mapped.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liveact_cli.training import kokoro, pico, recordings, synthesise
from liveact_cli.training.rawstore import RawEntry, read_raw, write_raw
from liveact_cli.training.streams import Labels, StreamPlan, build_stream
from liveact_cli.training.synthesise import Utterance

SHARES: dict[str, float] = {
    "espeak": 0.45, "hibari": 0.32, "flite": 0.08, "piper": 0.09, "festival": 0.05,
}  # fmt: skip
"""Share of `--hours` that each synthetic source speaks; the real prompts add what there is."""
ADDED: dict[str, dict[str, float]] = {
    "more": {"espeak-more": 0.1, "hibari-more": 0.135},
    "natural": {"kokoro": 0.23},
    "further": {"kokoro-far": 0.367, "pico": 0.09},
    "french": {"kokoro-french": 0.28, "pico-french": 0.052, "espeak-french": 0.052},
    "accents": {"kokoro-accents": 0.208},
}
"""The same by split for what was added since, in order: for the second audio net; many natural
voices; speakers far from these; French, when it had a thousand sentences to say, not twelve; its
accents."""
DEV_SECONDS = {"hibari": 360.0, "espeak": 250.0, "piper": 180.0, "kokoro": 300.0}
SPLITS: dict[str, tuple[str, ...]] = {
    "train": (*SHARES, "prompts-it-train", "prompts-ru-train"),
    "more": tuple(ADDED["more"]),
    "natural": (*ADDED["natural"], "sonnets-train"),
    "further": (*ADDED["further"], "novel-train"),
    "french": tuple(ADDED["french"]),
    "accents": (*ADDED["accents"], "armelle-train"),
    "dev": ("hibari-dev", "espeak-dev", "piper-dev", "prompts-it-dev", "prompts-ru-dev"),
    "natural-dev": ("kokoro-dev", "sonnets-dev", "mfa"),
    "further-dev": ("novel-dev",),
    "accents-dev": ("armelle-dev",),
    "test": ("librivox", "tale", "prompts-fr"),
    "words": ("menardi", "jimenez"),
}
PHONE_DTYPE = np.dtype([("label", "U8"), ("viseme", "i1"), ("start", "f4"), ("stop", "f4")])
_READ: dict[str, Callable[[], Iterator[Utterance]]] = {
    "prompts-it-train": partial(recordings.read_prompts, "it", "train"),
    "prompts-it-dev": partial(recordings.read_prompts, "it", "dev"),
    "prompts-ru-train": partial(recordings.read_prompts, "ru", "train"),
    "prompts-ru-dev": partial(recordings.read_prompts, "ru", "dev"),
    "prompts-fr": partial(recordings.read_prompts, "fr"),
    "sonnets-train": partial(recordings.read_sonnets, "train"),
    "sonnets-dev": partial(recordings.read_sonnets, "dev"),
    "armelle-train": partial(recordings.read_spoken, "armelle", "train"),
    "armelle-dev": partial(recordings.read_spoken, "armelle", "dev"),
    "novel-train": partial(recordings.read_novel, "train"),
    "novel-dev": partial(recordings.read_novel, "dev"),
    "librivox": recordings.read_librivox,
    "menardi": partial(recordings.read_spoken, "menardi"),
    "jimenez": partial(recordings.read_spoken, "jimenez"),
    "tale": recordings.read_tale,
    "mfa": recordings.read_mfa,
}
_DEV_SEED = 1000
ATTEMPTS = 8

TRAINING = ("train", *ADDED)
"""The splits that nets learn from; all others judge."""
_SPEAKERS: dict[str, Callable[[int], Iterator[Utterance]]] = {
    "espeak": synthesise.speak_espeak,
    "espeak-more": partial(synthesise.speak_espeak, languages=synthesise.ESPEAK_MORE),
    "hibari-more": synthesise.speak_hibari,
    "hibari": synthesise.speak_hibari,
    "flite": synthesise.speak_flite,
    "piper": synthesise.speak_piper,
    "festival": synthesise.speak_festival,
    "kokoro": partial(kokoro.speak_kokoro, cast=kokoro.USUAL),
    "kokoro-far": partial(kokoro.speak_kokoro, cast=kokoro.FAR),
    "pico": pico.speak_pico,
    "kokoro-french": partial(kokoro.speak_kokoro, cast=kokoro.FRENCH),
    "kokoro-accents": partial(kokoro.speak_kokoro, cast=kokoro.ACCENTS),
    "pico-french": partial(pico.speak_pico, languages=pico.FRENCH),
    "espeak-french": partial(synthesise.speak_espeak, languages=synthesise.ESPEAK_FRENCH),
    "kokoro-dev": partial(kokoro.speak_kokoro, cast=kokoro.HELD_OUT),
}


@dataclass(frozen=True)
class Phone:
    """One phone of a stream; `viseme` is a name of mini.visemes.VISEMES, times in seconds."""

    label: str
    viseme: str
    start: float
    stop: float


@dataclass(frozen=True)
class Stream:
    """One stream of the corpus; arrays are views into memory-mapped files.

    mel [4F, 64] normalised log-mels; classes [4F] viseme indices; loudness, pitch, voicing,
    speech [F]; rows [F, 1, D] or None; lips [F, L] (training/lips.py) or None.
    """

    name: str
    language: str
    source: str
    voice: str
    take: int
    clean: bool
    frames: int
    mel: NDArray[np.float16]
    classes: NDArray[np.int8]
    loudness: NDArray[np.float32]
    pitch: NDArray[np.float32]
    voicing: NDArray[np.float32]
    speech: NDArray[np.float32]
    rows: NDArray[np.float16] | None
    lips: NDArray[np.float16] | None
    phone_table: NDArray[Any]

    @property
    def phones(self) -> list[Phone]:
        """Every phone in order; gaps between them are silence."""
        from liveact_cli.mini.visemes import VISEMES

        return [
            Phone(str(p["label"]), VISEMES[p["viseme"]], float(p["start"]), float(p["stop"]))
            for p in self.phone_table
        ]


def load_streams(
    corpus: Path,
    split: str = "train",
    rows: str | None = None,
    takes: tuple[int, ...] | None = None,
) -> list[Stream]:
    """Streams of one split; `rows` names a rows file ("rows-run1"), `takes` keeps some takes."""
    folder = corpus / "streams" / split
    mel = np.load(folder / "mel.npy", mmap_mode="r")
    classes = np.load(folder / "classes.npy", mmap_mode="r")
    curves = np.load(folder / "prosody.npy", mmap_mode="r")
    table = np.load(folder / "phones.npy", mmap_mode="r")
    audio_rows = np.load(folder / f"{rows}.npy", mmap_mode="r") if rows else None
    lips_file = folder / "lips.npy"
    lips = np.load(lips_file, mmap_mode="r") if lips_file.exists() else None
    streams = []
    for item in json.loads((folder / "index.json").read_text(encoding="utf8")):
        if takes is not None and item["take"] not in takes:
            continue
        first, last = item["offset"], item["offset"] + item["frames"]
        loudness, pitch, voicing, speech = curves[first:last].T
        streams.append(
            Stream(
                name=item["name"],
                language=item["language"],
                source=item["source"],
                voice=item["voice"],
                take=item["take"],
                clean=item["clean"],
                frames=item["frames"],
                mel=mel[4 * first : 4 * last],
                classes=classes[4 * first : 4 * last],
                loudness=loudness,
                pitch=pitch,
                voicing=voicing,
                speech=speech,
                rows=None if audio_rows is None else audio_rows[first:last, None],
                lips=None if lips is None else lips[first:last],
                phone_table=table[item["phones_start"] : item["phones_stop"]],
            )
        )
    return streams


def _speak(name: str, folder: Path, seconds: float, seed: int, suffix: str) -> str:
    started = time.monotonic()
    speak = _SPEAKERS.get(name + suffix, _SPEAKERS[name])
    stored = write_raw(folder, name + suffix, speak(seed), seconds)
    return f"{name}{suffix}: {stored / 60:.1f} min in {time.monotonic() - started:.0f} s"


def _record(name: str, folder: Path) -> str:
    return f"{name}: {write_raw(folder, name, _READ[name](), float('inf')) / 60:.1f} min"


def _apart(work: Callable[..., str], name: str, *arguments: Any) -> str:
    """Run one source in a process of its own, so that a crash in a synthesiser costs only that."""
    queue: SimpleQueue[str] = get_context("spawn").SimpleQueue()
    process = get_context("spawn").Process(
        target=_report, args=(queue, work, name, *arguments), daemon=True
    )
    process.start()
    process.join()
    if process.exitcode:
        raise ChildProcessError(f"{name}: the synthesiser ended with {process.exitcode}")
    return queue.get()


def _report(queue: "SimpleQueue[str]", work: Callable[..., str], *arguments: Any) -> None:
    queue.put(work(*arguments))


def _speak_apart(name: str, folder: Path, seconds: float, seed: int, suffix: str) -> str:
    """Speak; libespeak-ng 1.51 crashes about once in five hours, other words then go through."""
    for attempt in range(ATTEMPTS):
        try:
            return _apart(_speak, name, folder, seconds, seed + 10_000 * attempt, suffix)
        except ChildProcessError as error:
            print(error, flush=True)
    raise ChildProcessError(f"{name} crashed {ATTEMPTS} times")


def make_raw(folder: Path, hours: float, seed: int, jobs: int) -> None:
    """Let every source speak or be read; finished sources are kept."""
    with ThreadPoolExecutor(jobs) as pool:
        tasks = [
            pool.submit(_speak_apart, name, folder, hours * 3600 * share, seed, "")
            for name, share in sorted(SHARES.items(), key=lambda item: item[0] != "piper")
        ]
        tasks += [
            pool.submit(_speak_apart, name, folder, hours * 3600 * share, seed + 1, "")
            for added in ADDED.values()
            for name, share in added.items()
        ]
        tasks += [
            pool.submit(_speak_apart, name, folder, seconds, seed + _DEV_SEED, "-dev")
            for name, seconds in DEV_SECONDS.items()
        ]
        tasks += [pool.submit(_apart, _record, name, folder) for name in _READ]
        for task in tasks:
            print(task.result(), flush=True)


def _join_plans(
    entries: list[RawEntry], rng: np.random.Generator, seconds: float
) -> Iterator[list[RawEntry]]:
    order = rng.permutation(len(entries))
    group: list[RawEntry] = []
    for index in order:
        group.append(entries[index])
        if sum(entry.samples for entry in group) > seconds * 16000:
            yield group
            group = []
    if group:
        yield group


def plan_streams(raw: Path, split: str, takes: int, seed: int) -> list[StreamPlan]:
    """Which utterances make which stream; take 0 is clean, later takes are spoilt."""
    plans: list[StreamPlan] = []
    for name in SPLITS[split]:
        entries = read_raw(raw, name)
        for take in range(takes if split in TRAINING else 1):
            rng = np.random.default_rng([seed, take, *name.encode()])
            for group in _join_plans(entries, rng, 40.0):
                plans.append(
                    StreamPlan(
                        name=f"{name}-{take}-{len(plans)}",
                        entries=tuple(group),
                        take=take,
                        seed=int(rng.integers(2**31)),
                        varied=split in TRAINING,
                    )
                )
    return plans


def _save(folder: Path, name: str, parts: list[NDArray[Any]]) -> None:
    partial = folder / f"{name}.partial.npy"
    np.save(partial, np.concatenate(parts))
    partial.rename(folder / f"{name}.npy")


def _save_labels(folder: Path, index: list[dict[str, Any]], labels: list[Labels]) -> None:
    tables = [np.array(item.phones, PHONE_DTYPE) for item in labels]
    frames = phones = 0
    for entry, item, table in zip(index, labels, tables, strict=True):
        entry |= {"frames": len(item.prosody), "offset": frames}
        entry |= {"phones_start": phones, "phones_stop": phones + len(table)}
        frames, phones = frames + len(item.prosody), phones + len(table)
    _save(folder, "classes", [item.classes for item in labels])
    _save(folder, "prosody", [item.prosody for item in labels])
    _save(folder, "phones", tables)
    text = json.dumps(index, ensure_ascii=False)
    (folder / "index.json").write_text(text, encoding="utf8")


def make_streams(out: Path, split: str, takes: int, seed: int, jobs: int) -> float:
    """Build and store the streams of one split; returns their hours."""
    raw, folder = out / "raw", out / "streams" / split
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_streams(raw, split, takes, seed)
    talkers = tuple(read_raw(raw, "espeak")[:400] + read_raw(raw, "hibari")[:400])
    mels, labels, index = [], [], []
    with ProcessPoolExecutor(jobs) as pool:
        for built in pool.map(partial(build_stream, talkers=talkers), plans, chunksize=4):
            mels.append(built.mel)
            labels.append(built.labels)
            index.append(
                {
                    "name": built.name,
                    "language": built.language,
                    "source": built.source,
                    "voice": built.voice,
                    "take": built.take,
                    "clean": built.take == 0,
                }
            )
    _save(folder, "mel", mels)
    _save_labels(folder, index, labels)
    return sum(len(item.prosody) for item in labels) / 25 / 3600


def main() -> None:
    """Command line: make the corpus."""
    parser = argparse.ArgumentParser(description="Make the speech corpus of liveact-mini.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=8.0, help="synthetic speech before takes")
    parser.add_argument("--takes", type=int, default=4, help="one clean take, the others spoilt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--raw", action="store_true", help="only speak; phones may be realigned before the streams"
    )
    options = parser.parse_args()
    make_raw(options.out / "raw", options.hours, options.seed, options.jobs)
    if options.raw:
        return
    for split in SPLITS:
        if not (options.out / "streams" / split / "index.json").exists():
            hours = make_streams(options.out, split, options.takes, options.seed, options.jobs)
            print(f"{split}: {hours:.2f} h of streams", flush=True)


if __name__ == "__main__":
    main()
