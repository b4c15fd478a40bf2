"""A resolved script as liveact-mini plays it: contexts for the transformer, curves for the frames.

The transformer is told every word of its vocabulary per latent frame, 0.16 s, and moves as it has
learned to, with the onsets and offsets of the performer that taught it. What a script wants of
time is finer: an envelope of its own, to the frame. So the motion is then corrected in curve space
by the difference between what the script wants and what the transformer is known to make of its
context: little in the middle of an event, the timing at its ends, and the length where it is not
the one that was learned.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from liveact_cli.core.geometry import ChunkSpan
from liveact_cli.mini.codec import STRIDE, MotionCodec
from liveact_cli.mini.decoder import LOW, SCRIPTED_HIGH, MotionDecoder
from liveact_cli.mini.lips import spare_lips, take_mouth
from liveact_cli.mini.motion import CHANNEL_INDEX, MOTION_FPS, NUM_CHANNELS
from liveact_cli.mini.performer.direction import sampled_frames
from liveact_cli.mini.performer.expression import (
    ACTION_TEMPLATES,
    MANNERS,
    OFFSET,
    ONSET,
    action_frames,
)
from liveact_cli.mini.response import (
    BEFORE,
    Response,
    manner_offset,
    template_offsets,
)
from liveact_cli.mini.vocabulary import (
    EMOTIONS,
    VOCABULARY,
    WORD_INDEX,
    context_rows,
    read_prompt,
)
from liveact_cli.script.resolved import ResolvedScript, Span
from liveact_cli.script.words import Kind, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAD: Final = round(MOTION_FPS * (ONSET + OFFSET) / 4)
"""Frames that an emotion is announced early: the performer is half way ONSET / 2 after its cue."""
MARGIN: Final = 64
"""Frames around a stretch whose cues reach into it: the longest onset, lead and action ramp."""
REPEATED: Final = frozenset({"nod", "shake"})
"""Actions that are done again when they shall last."""
LOOPED: Final = {"laugh": (0.3, 0.3 + 3 / 9)}
"""Actions that go round between two phases of their template while they last."""
STRETCHED: Final = frozenset({"sigh", "yawn"})
"""Actions with a course of their own, done slower or faster; all others hold their peak."""
PEAK_PHASE: Final = 0.5
HEAD_CHANNELS: Final = [CHANNEL_INDEX[name] for name in ("yaw", "pitch", "roll", "tx", "ty")]
BLINK_CHANNELS: Final = [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]
BLINK_RISE: Final = 0.2
BLINK_FRAMES: Final = 14
"""Lids that stay down for longer are not blinking."""
_PHASES: Final = np.arange(0.0, 1.0, 1 / 256)


@dataclass(frozen=True, slots=True)
class Cue:
    """An action of the vocabulary as the transformer is told it: frames and intensity."""

    word: str
    start: int
    stop: int
    intensity: float


class MiniDirection:
    """A script in the terms of liveact-mini (a `PromptTrack`), at `MOTION_FPS` frames a second.

    Everything is a function of the frame's number, so there is no state to save.
    """

    def __init__(self, script: ResolvedScript, response: Response) -> None:
        """Hold a script resolved at `MOTION_FPS`; `response` is how the transformer answers."""
        if script.fps != MOTION_FPS:
            raise ValueError(f"a script at {script.fps} frames a second, not {MOTION_FPS}")
        script = _with_prompt(script)
        self.script = script
        self.response = response
        self._steps = replace(script, spans=tuple(replace(span, fade=0.0) for span in script.spans))

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to correct in the curves."""
        idle = self.script.idle
        return not self.script.spans and idle.head == 1.0 and idle.blink == 1.0

    def context(self, span: ChunkSpan) -> Tensor:
        """Return `[F, CONTEXT_ROWS, words]` for the latent frames of a chunk."""
        frames = sampled_frames(span.latent_stop)[span.latent_start :]
        first, last = int(frames[0]), int(frames[-1]) + 1
        track = self.told(first, last)
        return torch.from_numpy(context_rows(track[frames - first]))

    def told(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Return every word's intensity `[stop - start, words]` as the transformer is told it."""
        track = np.zeros((stop - start, len(VOCABULARY)), np.float32)
        for word, level in self._emotions(self._steps, start + LEAD, stop + LEAD).items():
            track[:, WORD_INDEX[word]] = level
        for cue in self.cues(start, stop):
            rows = slice(max(0, cue.start - start), max(0, cue.stop - start))
            column = track[rows, WORD_INDEX[cue.word]]
            np.maximum(column, np.float32(cue.intensity), out=column)
        np.minimum(track, 1.0, out=track)
        track[~track[:, : len(EMOTIONS)].any(axis=1), WORD_INDEX["neutral"]] = 1.0
        return track

    def cues(self, start: int, stop: int) -> Iterator[Cue]:
        """Yield the actions that the transformer is told on frames `start..stop`.

        It knows them at the length of the performer's template, so that is what it is told.
        """
        for layer in self._steps.layers(Kind.ACTION, start - MARGIN, stop + MARGIN):
            span, free = layer.span, layer.free
            centre = (span.start + span.stop) // 2 - (start - MARGIN)
            seen = float(free[int(np.clip(centre, 0, len(free) - 1))])
            for word, weight in span.word.motion if span.word is not None else ():
                intensity = min(1.0, span.intensity * weight * seen)
                if word not in ACTION_TEMPLATES or intensity <= 0.0:
                    continue
                for first, _ in pieces(word, span):
                    begin = first - round(_half_width(word)[0] * action_frames(word))
                    yield Cue(word, begin, begin + action_frames(word), intensity)

    def apply(self, motion: "NDArray[np.float32]", start: int) -> "NDArray[np.float32]":
        """Return motion `[n, NUM_CHANNELS]` from frame `start` on as the script wants it."""
        if self.is_plain or not len(motion):
            return motion
        stop = start + len(motion)
        wanted = self.wanted(start, stop)
        change = wanted - self.asked(start, stop)
        spare_lips(change, motion)
        take_mouth(change, wanted, self._acted(start, stop), motion)
        changed = motion + change
        idle = self.script.idle
        if idle.head != 1.0:
            changed[:, HEAD_CHANNELS] += (idle.head - 1.0) * motion[:, HEAD_CHANNELS]
        if idle.blink < 1.0:
            _drop_blinks(changed, idle.blink, start)
        return np.clip(changed, LOW, SCRIPTED_HIGH).astype(np.float32)

    def wanted(self, start: int, stop: int) -> "NDArray[np.float64]":
        """Return the offsets `[stop - start, NUM_CHANNELS]` that the script asks for."""
        offsets = self._acted(start, stop)
        for word, level in self._emotions(self.script, start, stop).items():
            offsets += level[:, None] * manner_offset(word)
        return offsets

    def _acted(self, start: int, stop: int) -> "NDArray[np.float64]":
        """Return what the script's actions ask for."""
        offsets = np.zeros((stop - start, NUM_CHANNELS))
        for layer in self.script.layers(Kind.ACTION, start, stop):
            for word, weight in layer.span.word.motion if layer.span.word is not None else ():
                if word in ACTION_TEMPLATES:
                    strength = layer.free * (layer.span.intensity * weight)
                    held = word not in REPEATED and word not in STRETCHED
                    strength = strength * layer.envelope if held else strength
                    offsets += strength[:, None] * _course(word, layer.span, start, stop)
        return offsets

    def asked(self, start: int, stop: int) -> "NDArray[np.float64]":
        """Return the offsets that the transformer makes of what it is told."""
        offsets = np.zeros((stop - start, NUM_CHANNELS))
        told = _by_latent(self.told, start - MARGIN, stop + BEFORE)
        for word in EMOTIONS:
            level = told[:, WORD_INDEX[word]].astype(np.float64)
            if word in self.response.onsets and level.any():
                offsets += self._answer(word, level)[MARGIN:-BEFORE]
        for cue in self.cues(start, stop):
            answer = self.response.actions[cue.word]
            known = told_from(cue.start) - BEFORE
            first, last = max(start, known), min(stop, known + len(answer))
            if first < last:
                part = answer[first - known : last - known]
                offsets[first - start : last - start] += cue.intensity * part
        return offsets

    def _answer(self, word: str, level: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the answer to a level that changes in steps; before the first it has settled."""
        onset, offset = self.response.onsets[word], self.response.offsets[word]
        lasting = onset[-1]
        answer = np.repeat(level[0] * lasting[None].astype(np.float64), len(level), axis=0)
        for at in (int(edge) + 1 for edge in np.flatnonzero(np.diff(level))):
            first = max(0, at - BEFORE)
            since = np.minimum(np.arange(first, len(level)) - at + BEFORE, len(onset) - 1)
            way = onset[since] if level[at] > level[at - 1] else lasting - offset[since]
            answer[first:] += (level[at] - level[at - 1]) * way
        return answer

    def _emotions(
        self, script: ResolvedScript, start: int, stop: int
    ) -> "dict[str, NDArray[np.float64]]":
        """Return the levels of emotions on frames `start..stop`, the recording's edges repeated."""
        frames = np.clip(np.arange(start, stop), 0, script.frames - 1)
        first = int(frames[0])
        levels = script.levels(first, int(frames[-1]) + 1)
        return {word: level[frames - first] for word, level in levels.items() if word in MANNERS}


class DirectedMotionDecoder(MotionDecoder):
    """A `MotionDecoder` whose motion follows a script."""

    def __init__(self, codec: MotionCodec, direction: MiniDirection, *, mend: bool = True) -> None:
        """Decode with `codec` and correct by `direction`."""
        super().__init__(codec, mend=mend)
        self.direction = direction
        self.frames = 0

    def decode(self, latent: Tensor) -> "NDArray[np.float32]":
        """Return motion `[n, NUM_CHANNELS]` of the next chunk's latent, directed."""
        motion = super().decode(latent)
        start, self.frames = self.frames, self.frames + len(motion)
        return self.direction.apply(motion, start)

    def state(self) -> dict[str, Tensor]:
        """Return what decoding must remember."""
        return super().state() | {"directed_frames": torch.tensor(self.frames)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        super().load_state(state)
        self.frames = int(state["directed_frames"])


def _with_prompt(script: ResolvedScript) -> ResolvedScript:
    """Return the script with the emotions that its prompt names underneath, if it has no other."""
    words = {w: v for w, v in read_prompt(script.prompt).items() if w in MANNERS}
    based = any(s.kind is Kind.EMOTION and s.from_start and s.to_end for s in script.spans)
    if based or not words:
        return script
    word = Word("prompt", Kind.EMOTION, (), (), script.prompt, tuple(words.items()))
    seconds = (0.0, script.frames / script.fps)
    span = Span(Kind.EMOTION, "prompt", 0, script.frames, seconds, word=word)
    span = replace(span, from_start=True, to_end=True, open_ended=True)
    return replace(script, spans=(span, *script.spans))


def pieces(word: str, span: Span) -> list[tuple[int, int]]:
    """Return the stretches of frames in which an action is done once; most are done once in all."""
    length = span.stop - span.start
    count = max(1, round(length / action_frames(word))) if word in REPEATED else 1
    edges = [span.start + round(i * length / count) for i in range(count + 1)]
    return list(pairwise(edges))


@cache
def _half_width(word: str) -> tuple[float, float]:
    """Return the phases at which an action's first channel passes half its peak, up and down."""
    main = np.abs(next(iter(ACTION_TEMPLATES[word].curves(_PHASES).values())))
    above = np.flatnonzero(main >= 0.5 * main.max())
    return float(_PHASES[above[0]]), float(_PHASES[above[-1]])


def _course(word: str, span: Span, start: int, stop: int) -> "NDArray[np.float64]":
    """Return what an action wants on frames `start..stop` at full strength; if held, its peak."""
    middle = np.arange(start, stop, dtype=np.float64) + 0.5
    if word in REPEATED:
        parts = (
            template_offsets(word, (middle - a) / (b - a)) for a, b in pieces(word, span) if b > a
        )
        return np.asarray(sum(parts, np.zeros((stop - start, NUM_CHANNELS))))
    if word in STRETCHED:
        rise, fall = _half_width(word)
        length = (span.stop - span.start) / (fall - rise)
        return template_offsets(word, (middle - span.start) / length + rise)
    if word in LOOPED:
        first, last = LOOPED[word]
        turn = (middle - span.start) / action_frames(word) % (last - first)
        return template_offsets(word, first + turn)
    return np.repeat(template_offsets(word, np.array([PEAK_PHASE])), stop - start, axis=0)


def told_from(frame: int) -> int:
    """Return the first frame of the first latent frame that is told a cue beginning at `frame`."""
    latent = -(-(frame + STRIDE // 2 - 1) // STRIDE)
    return STRIDE * latent - STRIDE + 1


def _by_latent(
    told: "Callable[[int, int], NDArray[np.float32]]", start: int, stop: int
) -> "NDArray[np.float32]":
    """Return `told` on frames `start..stop`, each frame as its latent frame is told."""
    latents = -(-np.maximum(np.arange(start, stop), 0) // STRIDE)
    samples = np.maximum(0, STRIDE * latents - STRIDE // 2 + 1)
    first = int(samples[0])
    return told(first, int(samples[-1]) + 1)[samples - first]


def _drop_blinks(motion: "NDArray[np.float64]", share: float, start: int) -> None:
    """Leave out blinks in place so that `share` of them stay; those at the edges always do."""
    lids = motion[:, BLINK_CHANNELS].mean(axis=1)
    rest = float(np.median(lids))
    shut = np.concatenate(([False], lids > rest + BLINK_RISE, [False]))
    for first, last in np.flatnonzero(np.diff(shut.astype(np.int8))).reshape(-1, 2):
        whole = first > 0 and last < len(lids) and last - first <= BLINK_FRAMES
        if whole and random.Random(f"blink/{start + first}").random() >= share:
            motion[first:last, BLINK_CHANNELS] = rest
