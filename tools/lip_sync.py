"""Do the lips fit the words? Generated motion against forced alignment and a frozen viseme table.

    python tools/lip_sync.py                                   # the model on the test clips
    python tools/lip_sync.py --audio a.wav --text a.txt        # the model on one recording
    python tools/lip_sync.py --audio a.wav --text a.txt --motion a.npz
    python tools/lip_sync.py --audio-net audio_net.safetensors # only the audio net's own lip shapes

A motion file holds `motion [frames, channels]` in the order of MOTION below and `fps`. The
table, the aperture and the thresholds are frozen here, apart from the code that makes the motion.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, gaussian_filter1d
from scipy.signal import resample_poly

Floats = NDArray[np.floating[Any]]

MOTION = ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthPress", "mouthRollUpper",
          "mouthRollLower", "tongueOut", "mouthUpperUp", "mouthLowerDown")  # fmt: skip
"""The first ten motion channels; any further ones are not looked at."""

# Jaw opening and rounding of each viseme (docs: the hand-set table of the design).
JAW = {"sil": 0.02, "PBM": 0.03, "FV": 0.12, "TH": 0.22, "TDN": 0.18, "L": 0.28, "SZ": 0.10,
       "SH": 0.15,       "KG": 0.25, "R": 0.2, "W": 0.12, "AA": 0.85, "AE": 0.6, "IY": 0.22,
       "OW": 0.5, "UW": 0.18,
       "AX": 0.35}  # fmt: skip
ROUND = {"sil": 0.05, "PBM": 0.08, "FV": 0.05, "SH": 0.55, "R": 0.4, "W": 0.9, "OW": 0.65,
         "UW": 0.95,         "AX": 0.05}  # fmt: skip
PHONES = {
    "PBM": "P B M", "FV": "F V", "TH": "TH DH", "TDN": "T D N", "L": "L", "SZ": "S Z",
    "SH": "SH ZH CH JH", "KG": "K G NG HH", "R": "R ER", "W": "W", "AA": "AA AW AY",
    "AE": "AE EH EY", "IY": "IY IH Y",
    "OW": "AO OW OY", "UW": "UH UW", "AX": "AH",
}  # fmt: skip
VISEME_OF = {phone: viseme for viseme, phones in PHONES.items() for phone in phones.split()}
VISEME_OF |= {viseme: viseme for viseme in PHONES}

CLOSED = 0.06
"""A bilabial closure is an aperture below this."""
ROLLED, NEARLY_CLOSED = 0.3, 0.2
"""Labiodental contact: the lower lip rolled in at least so far, the lips at most so far apart."""
MARGIN = 0.04
_TRUTH_RATE = 100
_SMOOTHING = 0.03
_SHIFTS = 20
_BLOCK = 2.0
_SYSTEM_CLIPS = Path("/usr/share/pocketsphinx/test/data/librivox")
_BUNDLED_CLIPS = Path(__file__).parents[1] / "tests" / "data" / "speech"


@dataclass
class Clip:
    """A recording with its phones: (ARPAbet label, viseme or '' for silence, start, stop)."""

    name: str
    samples: NDArray[np.float32]
    phones: list[tuple[str, float, float]]

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.samples) / 16000


@dataclass
class Evidence:
    """What one clip shows; pooled over clips before any figure is computed."""

    jaw: list[Floats] = field(default_factory=list)
    rounding: list[Floats] = field(default_factory=list)
    closures: list[bool] = field(default_factory=list)
    closed_runs: list[bool] = field(default_factory=list)
    contacts: list[bool] = field(default_factory=list)
    contact_runs: list[bool] = field(default_factory=list)
    lags: list[Floats] = field(default_factory=list)


def aperture(motion: Floats) -> Floats:
    """How far the lips are apart: jaw less what the lips close again, plus what they part."""
    c = {name: motion[:, k] for k, name in enumerate(MOTION)}
    parted = 0.5 * (c["mouthUpperUp"] + c["mouthLowerDown"]) + 0.35 * c["mouthFunnel"]
    jaw = c["jawOpen"] * (1 - c["mouthClose"])
    return np.maximum(0.0, jaw + parted - 0.15 * c["mouthPress"])


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], active.astype(int), [0]]))
    return list(zip(np.where(edges == 1)[0], np.where(edges == -1)[0], strict=True))


class Truth:
    """Targets of one clip from its phones."""

    def __init__(self, clip: Clip, fps: float, frames: int) -> None:
        ticks = round(clip.seconds * _TRUTH_RATE)
        visemes = np.full(ticks, "sil", dtype="U4")
        for label, start, stop in clip.phones:
            if label:
                span = slice(round(start * _TRUTH_RATE), round(stop * _TRUTH_RATE))
                visemes[span] = VISEME_OF[label]
        gap = round(0.2 * _TRUTH_RATE)
        talking = binary_closing(np.pad(visemes != "sil", gap), np.ones(gap))[gap:-gap]
        sigma = _SMOOTHING * _TRUTH_RATE
        middles = (np.arange(frames) + 0.5) / fps
        at = np.minimum((middles * _TRUTH_RATE).astype(int), ticks - 1)

        def curve(table: dict[str, float]) -> Floats:
            values = np.array([table.get(v, 0.0) for v in visemes])
            smooth = gaussian_filter1d(values, sigma, mode="nearest")
            ticks_at = (np.arange(ticks) + 0.5) / _TRUTH_RATE
            return np.asarray(np.interp(middles, ticks_at, smooth))

        self.jaw, self.rounding = curve(JAW), curve(ROUND)
        self.talking: NDArray[np.bool_] = talking[at]
        self.bilabials = self._spans(clip, "PBM")
        self.labiodentals = self._spans(clip, "FV")
        self.silences = [(a, b) for label, a, b in clip.phones if not label and b - a >= 0.05]

    @staticmethod
    def _spans(clip: Clip, viseme: str) -> list[tuple[float, float]]:
        return [(a, b) for label, a, b in clip.phones if label and VISEME_OF[label] == viseme]


def _found(spans: list[tuple[float, float]], hit: NDArray[np.bool_], fps: float) -> list[bool]:
    """For each true span: is any frame whose middle lies within +-MARGIN of it a hit?"""
    middles = (np.arange(len(hit)) + 0.5) / fps
    return [
        bool(hit[(middles >= start - MARGIN) & (middles <= stop + MARGIN)].any())
        for start, stop in spans
    ]


def _justified(
    hit: NDArray[np.bool_], truth: Truth, spans: list[tuple[float, float]], fps: float
) -> list[bool]:
    """For each run of hits in speech: does it touch (+-MARGIN) a true span? Silence is free."""
    result = []
    for first, last in _runs(hit & truth.talking):
        start, stop = first / fps, last / fps
        if any(a < stop and start < b for a, b in truth.silences):
            continue
        result.append(any(a - MARGIN < stop and start < b + MARGIN for a, b in spans))
    return result


def observe(clip: Clip, motion: Floats, fps: float, into: Evidence) -> None:
    """Add one clip's evidence."""
    truth = Truth(clip, fps, len(motion))
    opening, talking = aperture(motion), truth.talking
    closed = opening < CLOSED
    touching = (motion[:, MOTION.index("mouthRollLower")] >= ROLLED) & (opening < NEARLY_CLOSED)
    into.closures += _found(truth.bilabials, closed, fps)
    into.closed_runs += _justified(closed, truth, truth.bilabials, fps)
    into.contacts += _found(truth.labiodentals, touching, fps)
    into.contact_runs += _justified(touching, truth, truth.labiodentals, fps)
    rounding = np.maximum(
        motion[:, MOTION.index("mouthPucker")], motion[:, MOTION.index("mouthFunnel")]
    )
    block = round(_BLOCK * fps)
    jaw = motion[:, 0]
    for first in range(0, len(motion), block):
        part = np.arange(first, min(first + block, len(motion)))
        part = part[talking[part]]
        if len(part):
            into.jaw.append(np.stack([jaw[part], truth.jaw[part]]))
            into.rounding.append(np.stack([rounding[part], truth.rounding[part]]))
    into.lags.append(_lag_curve(jaw, truth.jaw, fps))


_LAGS = np.arange(-20, 21)


def _lag_curve(jaw: Floats, target: Floats, fps: float) -> Floats:
    """Covariance of jaw and target for the motion -200..200 ms late, at 100 Hz."""
    middles = (np.arange(len(jaw)) + 0.5) / fps
    ticks = np.arange(0, len(jaw) / fps, 1 / _TRUTH_RATE)
    said, aimed = np.interp(ticks, middles, jaw), np.interp(ticks, middles, target)
    said, aimed = said - said.mean(), aimed - aimed.mean()
    return np.array([np.mean(np.roll(said, -lag) * aimed) for lag in _LAGS]) * len(ticks)


def _correlation(blocks: list[Floats]) -> float:
    pooled = np.concatenate(blocks, 1)
    spread = pooled.std(1)
    return float(np.corrcoef(pooled)[0, 1]) if spread.min() > 1e-9 else 0.0


def _peak_ms(curves: list[Floats]) -> float:
    total = np.sum(curves, 0)
    k = int(np.clip(total.argmax(), 1, len(total) - 2))
    left, middle, right = total[k - 1 : k + 2]
    bend = left - 2 * middle + right
    return float(10 * (_LAGS[k] + (0.5 * (left - right) / bend if bend < 0 else 0.0)))


def _interval(
    items: list[Any], figure: Callable[[list[Any]], float], rng: np.random.Generator
) -> list[float]:
    values = []
    for _ in range(1000):
        drawn = [items[k] for k in rng.integers(len(items), size=len(items))]
        values.append(figure(drawn))
    return [round(float(v), 3) for v in np.percentile(values, [2.5, 97.5])]


def summarise(evidence: Evidence, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Each figure with its count and bootstrap 95 % interval (events, or blocks of two seconds)."""
    rng = np.random.default_rng(seed)
    share: Callable[[list[Any]], float] = lambda hits: float(np.mean(hits))  # noqa: E731
    figures: Iterable[tuple[str, list[Any], Callable[[list[Any]], float]]] = (
        ("jaw_correlation", evidence.jaw, _correlation),
        ("closure_recall", evidence.closures, share),
        ("closure_precision", evidence.closed_runs, share),
        ("labiodental_recall", evidence.contacts, share),
        ("labiodental_precision", evidence.contact_runs, share),
        ("rounding_correlation", evidence.rounding, _correlation),
        ("lag_ms", evidence.lags, _peak_ms),
    )
    return {
        name: {
            "value": round(figure(items), 3),
            "count": len(items),
            "interval": _interval(items, figure, rng),
        }
        if items
        else {"value": None, "count": 0, "interval": None}
        for name, items, figure in figures
    }  # fmt: skip


def judge(clips: list[Clip], motions: list[Floats], fps: float) -> dict[str, dict[str, Any]]:
    """All figures over several clips; "chance" is the same motion, shifted in time."""
    evidence, shifted = Evidence(), Evidence()
    rng = np.random.default_rng(1)
    for clip, motion in zip(clips, motions, strict=True):
        observe(clip, motion, fps, evidence)
        for _ in range(_SHIFTS):
            by = int(rng.uniform(0.3, 0.7) * len(motion))
            observe(clip, np.roll(motion, by, 0), fps, shifted)
    figures = summarise(evidence)
    for name, items in (
        ("closure_recall", shifted.closures), ("closure_precision", shifted.closed_runs),
        ("labiodental_recall", shifted.contacts), ("labiodental_precision", shifted.contact_runs),
    ):  # fmt: skip
        figures[name]["chance"] = round(float(np.mean(items)), 3) if items else None
    figures["jaw_correlation"]["chance"] = round(_correlation(shifted.jaw), 3)
    figures["rounding_correlation"]["chance"] = round(_correlation(shifted.rounding), 3)
    return figures


# --- clips and motion --------------------------------------------------------------------------


def read_clip(audio: Path, text: str, voice: str = "en-us") -> Clip:
    """Align a recording with its text."""
    from liveact_cli.mini.visemes import viseme_of_ipa
    from liveact_cli.training.align import Aligner

    samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    common = math.gcd(rate, 16000)
    mono = resample_poly(samples.mean(1), 16000 // common, rate // common).astype(np.float32)
    phones = Aligner(voice).align(mono, text)
    if phones is None:
        raise SystemExit(f"error: {audio} does not fit its text")
    named = [(viseme_of_ipa(p.ipa) if p.ipa else p.label, p.start, p.stop) for p in phones]
    return Clip(audio.stem, mono, named)


def test_clips() -> list[Clip]:
    """The LibriVox clips of pocketsphinx-testdata if installed, else those among the tests."""
    if _SYSTEM_CLIPS.exists():
        lines = (_SYSTEM_CLIPS / "transcription").read_text().splitlines()
        parts = [line.split("</s>") for line in lines if "</s>" in line]
        texts = {name.strip(" ()"): text.removeprefix("<s>").strip() for text, name in parts}
        return [read_clip(_SYSTEM_CLIPS / f"{name}.wav", text) for name, text in texts.items()]
    return [
        read_clip(p.with_suffix(".wav"), p.read_text())
        for p in sorted(_BUNDLED_CLIPS.glob("*.txt"))
    ]


def audio_net_motion(path: Path) -> Callable[[Clip], Floats]:
    """Motion straight from the audio net's training heads: jaw, closing, rounding, lip on teeth."""
    import torch

    from liveact_cli.mini.audio import FRAMES_PER_ROW, log_mel, normalise
    from liveact_cli.training.audio_heads import load_net, predict

    net, heads = load_net(path)

    def make(clip: Clip) -> Floats:
        frames = round(clip.seconds * 25)
        samples = np.pad(clip.samples, (0, 1280))
        mel = normalise(log_mel(torch.from_numpy(samples))[: frames * FRAMES_PER_ROW])
        guess = predict(net, heads, mel.numpy().astype(np.float16))
        jaw, close, lip_teeth, rounding, _ = guess["shapes"].T
        # A contact that is likelier than about a quarter is made (chosen on the hibari hold-out).
        bilabial, labiodental = np.minimum(1, guess["events"].T / 0.3)
        motion = np.zeros((frames, len(MOTION)))
        motion[:, MOTION.index("jawOpen")] = jaw * (1 - 0.5 * labiodental)
        motion[:, MOTION.index("mouthClose")] = np.maximum(close, bilabial)
        motion[:, MOTION.index("mouthPucker")] = rounding
        motion[:, MOTION.index("mouthRollLower")] = np.maximum(lip_teeth, 0.5 * labiodental)
        return motion

    return make


def model_motion(weights: Path | None, seed: int) -> Callable[[Clip], Floats]:
    """Motion as liveact-mini makes it, at 25 fps, without a prompt."""
    from liveact_cli.mini.model import load_mini
    from liveact_cli.training.evaluate import generate, hear, shipped

    model = load_mini(weights)

    def make(clip: Clip) -> Floats:
        rows, frames = hear(model, clip.samples)
        return generate(model, rows, frames, seed, shipped(model))

    return make


def _print(figures: dict[str, dict[str, Any]], clips: list[Clip]) -> None:
    print(f"{len(clips)} clips, {sum(clip.seconds for clip in clips):.1f} s")
    for name, figure in figures.items():
        low, high = figure["interval"] or ("-", "-")
        chance = f"  chance {figure['chance']}" if figure.get("chance") is not None else ""
        print(f"{name:22} {figure['value']!s:>7}  [{low}, {high}]  n={figure['count']}{chance}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--audio", type=Path, help="a recording; without it, the test clips")
    parser.add_argument("--text", type=Path, help="what is said in it")
    parser.add_argument("--voice", default="en-us", help="espeak-ng's name of the language")
    parser.add_argument("--motion", type=Path, help="judge this .npz instead of running the model")
    parser.add_argument(
        "--weights", type=Path, help="liveact-mini's weights; default: the packaged"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the generated motion")
    parser.add_argument("--audio-net", type=Path, help="judge an audio net's own lip shapes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.audio:
        if not options.text:
            parser.error("--audio needs --text")
        clips = [read_clip(options.audio, options.text.read_text(encoding="utf8"), options.voice)]
    else:
        clips = test_clips()
    fps = 25.0
    if options.motion:
        stored = np.load(options.motion)
        fps, motions = float(stored["fps"]), [np.asarray(stored["motion"])]
        if len(clips) != 1:
            parser.error("--motion needs --audio")
    else:
        if options.audio_net:
            make = audio_net_motion(options.audio_net)
        else:
            make = model_motion(options.weights, options.seed)
        motions = [make(clip) for clip in clips]
    figures = judge(clips, motions, fps)
    if options.json:
        print(json.dumps({"clips": [clip.name for clip in clips], "figures": figures}, indent=1))
    else:
        _print(figures, clips)
    return 0


if __name__ == "__main__":
    sys.exit(main())
