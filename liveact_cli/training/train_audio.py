"""Train liveact-mini's audio net on the corpus, and write the rows that the transformer reads.

    python -m liveact_cli.training.train_audio --corpus DIR --out DIR --minutes 45 --seed 0
        [--init liveact-mini.safetensors --rate 1.2e-3 --dilations 1 1 2 2 2 1 4 8]
    python -m liveact_cli.training.train_audio --corpus DIR --rows audio_net.safetensors --name run1

What the heads predict is read linearly from the rows, so the rows carry it: phones at 100 Hz, lip
shapes, closures, the mouth of a neutral performance (training/lips.py), voice activity, loudness,
pitch. Saves every five minutes; run again to resume. `--init` starts from another net, with its
heads or fresh ones; blocks that it lacks start as if they were not there, so a net can grow.
`--without`, `--languages`, `--clean` and `--still` leave out some of the corpus, to see what it is
good for.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from liveact_cli.core.errors import UsageError
from liveact_cli.mini.audio import FRAMES_PER_ROW, AudioNet, AudioNetConfig
from liveact_cli.mini.visemes import VISEMES
from liveact_cli.training.audio_heads import (
    AudioHeads,
    event_targets,
    load_net,
    save_net,
    score,
    shape_targets,
    trained_net,
)
from liveact_cli.training.augment import vary_mels
from liveact_cli.training.corpus import TRAINING, Stream, load_streams
from liveact_cli.training.lips import LIP_CHANNELS
from liveact_cli.training.precision import half_precision

CROP_ROWS = 100
BATCH = 14
RATE, WARM_UP = 2e-3, 200
AVERAGE = 0.999
SAVE_EVERY, REPORT_EVERY = 300.0, 900.0
SOURCE_WEIGHTS = {
    "prompt": 3.0,
    "sonnet": 6.0,
    "kokoro": 2.8,
    "piper": 3.0,
    "pico": 2.5,
    "novel": 2.0,
    "hibari": 2.2,
    "flite": 0.8,
    "espeak": 0.7,
    "festival": 0.6,
}
"""How often a second of each source is drawn; the natural voices are scarce and matter most."""
ROUNDED_WEIGHT = 2.0
ROUNDED_FRONT = frozenset(("fr", "de", "nl", "fi", "sv", "da", "nb", "hu", "tr"))
"""How much more often these languages are drawn: their y and ø sound like i and e to others, and
only they teach how the lips differ."""
RARE_WEIGHT = 3.0
RARE = frozenset("yʏøœ")
RARE_IN_FRENCH = RARE | frozenset("ɑɔ")
"""Vowels that few languages have count this much more (in French mostly nasal ones): among all
languages' frames an i is a dozen times as likely as a y, in French twice, and what is not sure
follows the likelier one."""
CLEAN_WEIGHT = 1.5
"""How much more often a second of a clean take is drawn than one of a spoilt take."""
_LIP_WEIGHT = {
    "jawOpen": 40.0,
    "mouthClose": 8.0,
    "mouthFunnel": 15.0,
    "mouthPucker": 12.0,
    "mouthRollLower": 15.0,
}
LIP_WEIGHTS = torch.tensor([_LIP_WEIGHT.get(name, 4.0) for name in LIP_CHANNELS])


@dataclass
class Batch:
    """A batch of crops.

    mel [B, 4F, 64]; classes [B, 4F]; curves [B, F, 4]: loudness/10, pitch/6, voicing, speech;
    lips [B, F, LIP_CHANNELS]; weights [B, 4F], how much a frame counts.
    """

    mel: Tensor
    classes: Tensor
    curves: Tensor
    lips: Tensor
    weights: Tensor


class Sampler:
    """Random crops of the training streams, sources weighted."""

    def __init__(self, streams: list[Stream], seed: int, vary: bool = True) -> None:
        self.streams, self.vary = [s for s in streams if s.frames > CROP_ROWS], vary
        weights = np.array([_weight(stream) for stream in self.streams])
        self.cumulative = np.cumsum(weights / weights.sum())
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int = BATCH) -> Batch:
        """One augmented batch."""
        mels, classes, curves, lips, counts = [], [], [], [], []
        for index in np.searchsorted(self.cumulative, self.rng.random(count)):
            stream = self.streams[min(int(index), len(self.streams) - 1)]
            first = int(self.rng.integers(stream.frames - CROP_ROWS + 1))
            rows = slice(first, first + CROP_ROWS)
            span = slice(4 * first, 4 * (first + CROP_ROWS))
            mels.append(np.asarray(stream.mel[span], np.float32))
            classes.append(np.asarray(stream.classes[span]))
            curves.append(_curves(stream, rows))
            assert stream.lips is not None  # training/lips.py writes them; train() looks
            lips.append(np.asarray(stream.lips[rows], np.float32))
            counts.append(frame_weights(stream, span))
        mel = torch.from_numpy(np.stack(mels))
        if self.vary:
            mel = vary_mels(mel, self.generator)
        tracks = (classes, curves, lips, counts)
        said = (torch.from_numpy(np.stack(track)) for track in tracks)
        return Batch(mel, *said)


def _weight(stream: Stream) -> float:
    weight = stream.frames * SOURCE_WEIGHTS.get(stream.source, 1.0)
    if stream.language.partition("-")[0] in ROUNDED_FRONT:
        weight *= ROUNDED_WEIGHT
    return weight * CLEAN_WEIGHT if stream.clean else weight


def frame_weights(stream: Stream, span: slice) -> NDArray[np.float32]:
    """How much each mel frame of `span` counts: `RARE_WEIGHT` in a rare vowel, else 1."""
    rare = RARE_IN_FRENCH if stream.language.startswith("fr") else RARE
    weights = np.ones(span.stop - span.start, np.float32)
    table = stream.phone_table
    first, last = np.searchsorted(table["start"], (span.start / 100 - 1.0, span.stop / 100))
    for phone in table[first:last]:
        if str(phone["label"])[:1] in rare:
            start = max(0, round(100 * float(phone["start"])) - span.start)
            weights[start : max(0, round(100 * float(phone["stop"])) - span.start)] = RARE_WEIGHT
    return weights


def _curves(stream: Stream, rows: slice) -> NDArray[np.float32]:
    return np.stack(
        [
            stream.loudness[rows] / 10,
            stream.pitch[rows] / 6,
            stream.voicing[rows],
            stream.speech[rows],
        ],
        1,
    )


def losses(net: AudioNet, heads: AudioHeads, batch: Batch) -> dict[str, Tensor]:
    """Every weighted term of the loss."""
    with half_precision():
        trunk = net.trunk(batch.mel)
        early = heads.trunk_phones(trunk)
        rows = net.rows_of(trunk)
    rows = rows.float()
    count = len(VISEMES)
    # Two 100 Hz frames come out of each 50 Hz frame.
    early = early.float().reshape(len(early), 2, count, -1).permute(0, 3, 1, 2).flatten(1, 2)
    target = batch.classes.long()
    shapes, aimed = torch.sigmoid(heads.shapes(rows)), shape_targets(batch.classes)
    curves = heads.curves(rows)
    late = heads.phones_at_100_hz(rows)
    bce = functional.binary_cross_entropy_with_logits
    counts = batch.weights / batch.weights.mean()
    by_row = counts.reshape(len(counts), -1, FRAMES_PER_ROW).mean(2)[..., None]

    def entropy(logits: Tensor) -> Tensor:
        each = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
        return (counts.flatten() * each).mean()

    return {
        "early": 0.5 * entropy(early),
        "phones": entropy(late),
        "shapes": 6.0 * (by_row * (shapes - aimed).square()).mean(),
        "events": bce(heads.events(rows), event_targets(batch.classes)),
        "curves": 0.3 * functional.smooth_l1_loss(curves[..., :2], batch.curves[..., :2])
        + 0.2 * bce(curves[..., 2:], batch.curves[..., 2:]),
        "lips": 6.0 * (by_row * LIP_WEIGHTS * (heads.lips(rows) - batch.lips).square()).mean(),
    }


def _report(
    net: AudioNet, heads: AudioHeads, sets: dict[str, list[Stream]]
) -> dict[str, dict[str, float]]:
    net.eval()
    found = {name: score(net, heads, streams) for name, streams in sets.items() if streams}
    for name, values in found.items():
        print(name, {k: round(v, 3) for k, v in values.items()}, flush=True)
    net.train()
    return found


class Trainer:
    """The state of one run: nets, their running averages, optimiser, time spent."""

    def __init__(self, config: AudioNetConfig, seed: int, out: Path) -> None:
        torch.manual_seed(seed)
        self.net, self.heads = AudioNet(config), AudioHeads(config)
        self.average_net, self.average_heads = AudioNet(config), AudioHeads(config)
        self._copy_average(0.0)
        self.parameters = [*self.net.parameters(), *self.heads.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters, RATE, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.out, self.steps, self.spent = out, 0, 0.0

    @torch.no_grad()
    def _copy_average(self, keep: float) -> None:
        for average, live in ((self.average_net, self.net), (self.average_heads, self.heads)):
            for mean, value in zip(average.parameters(), live.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)

    def step(self, batch: Batch, rate: float) -> dict[str, float]:
        """One update; returns the loss terms."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.steps + 1) / WARM_UP)
        terms = losses(self.net, self.heads, batch)
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.steps += 1
        self._copy_average(min(AVERAGE, self.steps / (self.steps + 20)))
        return {name: float(value.detach()) for name, value in terms.items()}

    def save(self) -> None:
        """Checkpoint and the averaged net, each written beside and renamed."""
        names = ("net", "heads", "average_net", "average_heads", "optimiser")
        state = {name: getattr(self, name).state_dict() for name in names}
        partial = self.out / "checkpoint.partial"
        torch.save({**state, "steps": self.steps, "spent": self.spent}, partial)
        partial.rename(self.out / "checkpoint.pt")
        partial = self.out / "audio_net.partial"
        note = {"steps": str(self.steps), "minutes": f"{self.spent / 60:.1f}"}
        save_net(self.average_net, self.average_heads, partial, note)
        partial.rename(self.out / "audio_net.safetensors")

    def start_from(self, net: AudioNet, heads: AudioHeads | None = None) -> None:
        """Take over a trained net's weights, and heads if it has some; further blocks add nothing.

        Without heads these stay fresh.
        """
        trained = net.state_dict()
        further = {name: v for name, v in self.net.state_dict().items() if name not in trained}
        silent = {name: v.zero_() for name, v in further.items() if ".mix." in name}
        self.net.load_state_dict({**further, **silent, **trained})
        self.average_net.load_state_dict(self.net.state_dict())
        if heads:
            self.heads.load_state_dict(heads.state_dict())
            self.average_heads.load_state_dict(heads.state_dict())

    def resume(self) -> None:
        """Go on from the last checkpoint if there is one."""
        path = self.out / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            for name in ("net", "heads", "average_net", "average_heads", "optimiser"):
                getattr(self, name).load_state_dict(state[name])
            self.steps, self.spent = state["steps"], state["spent"]


@dataclass(frozen=True)
class Diet:
    """What of the corpus a net hears: all of it, or less, to see what it is good for."""

    without: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    clean: bool = False
    vary: bool = True

    def allows(self, stream: Stream) -> bool:
        """Is this stream heard?"""
        language = stream.language.partition("-")[0]
        return (
            stream.source not in self.without
            and (not self.languages or language in self.languages)
            and (stream.clean or not self.clean)
        )


def train(
    corpus: Path,
    out: Path,
    minutes: float,
    seed: int,
    config: AudioNetConfig,
    init: Path | None = None,
    peak: float = RATE,
    diet: Diet | None = None,
) -> None:
    """Train for a processor time; the learning rate falls as a cosine over it.

    Processor time, so that a busy machine trains longer, not less.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, seed, out)
    if init:
        trainer.start_from(*trained_net(init))
    trainer.resume()
    made = [split for split in TRAINING if (corpus / "streams" / split / "index.json").exists()]
    diet = diet or Diet()
    streams = [stream for split in made for stream in load_streams(corpus, split)]
    if any(stream.lips is None for stream in streams):
        raise UsageError(
            f"some streams of {corpus} have no lips.npy",
            f"run python -m liveact_cli.training.lips --corpus {corpus}",
        )
    heard = [stream for stream in streams if diet.allows(stream)]
    sampler = Sampler(heard, seed + trainer.steps, diet.vary)
    sets = _evaluation_sets(corpus)
    total, before = minutes * 60, trainer.spent
    saved = reported = time.monotonic()
    started, recent = time.process_time(), dict[str, float]()
    while trainer.spent < total:
        rate = peak * max(0.02, 0.5 + 0.5 * math.cos(math.pi * min(1.0, trainer.spent / total)))
        for name, value in trainer.step(sampler.draw(), rate).items():
            recent[name] = 0.98 * recent.get(name, value) + 0.02 * value
        trainer.spent = before + time.process_time() - started
        if trainer.steps % 200 == 0:
            shown = {name: round(value, 4) for name, value in recent.items()}
            print(f"{trainer.spent / 60:.1f} min, step {trainer.steps}: {shown}", flush=True)
        if time.monotonic() - saved > SAVE_EVERY:
            trainer.save()
            saved = time.monotonic()
        if time.monotonic() - reported > REPORT_EVERY:
            _report(trainer.average_net, trainer.average_heads, sets)
            reported = time.monotonic()
    trainer.save()
    results = _report(trainer.average_net, trainer.average_heads, sets)
    summary = {"minutes": minutes, "seed": seed, "steps": trainer.steps, "results": results}
    (out / "results.json").write_text(json.dumps(summary, indent=1), encoding="utf8")


def _evaluation_sets(corpus: Path) -> dict[str, list[Stream]]:
    test, dev = load_streams(corpus, "test"), load_streams(corpus, "dev")
    for split in ("natural-dev", "further-dev"):
        if (corpus / "streams" / split / "index.json").exists():
            dev += load_streams(corpus, split)
    return {
        "librivox": [s for s in test if s.source == "librivox"],
        "french": [s for s in test if s.language == "fr"],
        "hibari-dev": [s for s in dev if s.source == "hibari"],
        "espeak-dev": [s for s in dev if s.source == "espeak"],
        "piper-dev": [s for s in dev if s.source == "piper"],
        "prompts-dev": [s for s in dev if s.source == "prompt"],
        "kokoro-dev": [s for s in dev if s.source == "kokoro"],
        "sonnet-dev": [s for s in dev if s.source == "sonnet"],
        "novel-dev": [s for s in dev if s.source == "novel"],
    }


@torch.inference_mode()
def write_rows(corpus: Path, weights: Path, name: str) -> None:
    """rows-<name>.npy beside every split's mels."""
    torch.set_num_threads(1)
    net, _ = load_net(weights)
    for split in ("dev", "test", *TRAINING):
        folder = corpus / "streams" / split
        if not (folder / "index.json").exists():
            continue
        streams = load_streams(corpus, split)
        total = sum(stream.frames for stream in streams)
        partial = folder / f"rows-{name}.partial.npy"
        rows = np.lib.format.open_memmap(partial, "w+", np.float16, (total, net.config.channels))
        at = 0
        for stream in streams:
            mel = torch.from_numpy(np.asarray(stream.mel, np.float32))[None]
            with half_precision():
                rows[at : at + stream.frames] = net(mel)[0].half().numpy()
            at += stream.frames
        rows.flush()
        partial.rename(folder / f"rows-{name}.npy")
        print(f"{split}: {total} rows", flush=True)


def main() -> None:
    """Command line: train, or write rows."""
    parser = argparse.ArgumentParser(description="Train liveact-mini's audio net.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--minutes", type=float, default=45.0, help="of processor time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="a net or weights to start from")
    parser.add_argument("--width", type=int, default=AudioNetConfig.width)
    parser.add_argument("--dilations", type=int, nargs="+", default=AudioNetConfig.dilations)
    parser.add_argument("--rate", type=float, default=RATE, help="highest learning rate")
    parser.add_argument("--without", nargs="+", default=(), help="sources that are left out")
    parser.add_argument("--languages", nargs="+", default=(), help="only these (en, it ...)")
    parser.add_argument("--clean", action="store_true", help="no rooms, noise, music, codecs")
    parser.add_argument("--still", action="store_true", help="mels are not varied")
    parser.add_argument(
        "--rows", type=Path, help="write rows with these weights instead of training"
    )
    parser.add_argument("--name", default="net", help="the rows files are called rows-NAME.npy")
    options = parser.parse_args()
    if options.rows:
        write_rows(options.corpus, options.rows, options.name)
    elif options.out:
        config = AudioNetConfig(width=options.width, dilations=tuple(options.dilations))
        diet = Diet(
            tuple(options.without), tuple(options.languages), options.clean, not options.still
        )
        train(
            options.corpus, options.out, options.minutes, options.seed, config, options.init,
            options.rate, diet,
        )  # fmt: skip
    else:
        parser.error("give --out to train or --rows to write rows")


if __name__ == "__main__":
    main()
