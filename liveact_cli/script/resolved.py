"""A script on the time axis of one recording: spans in frames, how they blend, what a chunk sees.

Times became frames through `core.geometry.frames_of` when a span was made; from here on everything
is counted in video frames. Within a kind spans lie on top of each other in the order of `spans`;
each hides what is below it as far as its envelope is open, so fades cross.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from liveact_cli.script.problems import Place
from liveact_cli.script.words import Kind, Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_PROMPT: Final = "A person speaks to the camera."
_SLIGHT, _MODERATE = 0.4, 0.75


@dataclass(frozen=True, slots=True)
class Span:
    """One emotion, action or prompt on frames `start..stop` (half open).

    `fade` is the length in frames of the ease at either end, centred on it: half way at `start`
    and at `stop`. `seconds` are the exact times the frames came from, `layer` orders presets,
    script and command line, `open_ended` spans last until something else is said. There is nothing
    to ease from at the very start of a recording (`from_start`) and at its very end (`to_end`).
    """

    kind: Kind
    text: str
    start: int
    stop: int
    seconds: tuple[float, float]
    intensity: float = 1.0
    fade: float = 0.0
    word: Word | None = None
    layer: int = 0
    order: int = 0
    open_ended: bool = False
    from_start: bool = False
    to_end: bool = False
    place: Place = field(default_factory=Place)

    @property
    def name(self) -> str:
        """The word's name, or the text."""
        return self.word.name if self.word is not None else self.text

    @property
    def reach(self) -> tuple[int, int]:
        """The frames on which the envelope is not zero."""
        half = int(np.ceil(self.fade / 2))
        return max(0, self.start - half), self.stop + half

    def envelope(self, start: int, stop: int) -> "NDArray[np.float64]":
        """Return how far it is blended in, 0..1, on frames `start..stop`."""
        middle = np.arange(start, stop, dtype=np.float64) + 0.5
        count = len(middle)
        rise = np.ones(count) if self.from_start else _ease(middle, self.start, self.fade)
        fall = np.zeros(count) if self.to_end else _ease(middle, self.stop, self.fade)
        return np.clip(rise - fall, 0.0, 1.0)


def _ease(t: "NDArray[np.floating]", centre: float, width: float) -> "NDArray[np.float64]":
    """Return a smooth step from 0 to 1 that is half way at `centre`."""
    if width <= 0.0:
        return (t >= centre).astype(np.float64)
    x = np.clip((t - centre) / width + 0.5, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x), np.float64)


@dataclass(frozen=True)
class Layer:
    """A span on a stretch of frames: its envelope, and what those above it leave free, 0..1."""

    span: Span
    envelope: "NDArray[np.float64]"
    free: "NDArray[np.float64]"


@dataclass(frozen=True)
class Idle:
    """How lively the person is when nothing is said: factors, 1 being the model's own."""

    head: float = 1.0
    blink: float = 1.0


@dataclass(frozen=True)
class ResolvedScript:
    """All that a renderer needs to know of a script: immutable, in frames at `fps`.

    `spans` are in blending order, the strongest last.
    """

    fps: float
    frames: int
    prompt: str = ""
    spans: tuple[Span, ...] = ()
    idle: Idle = Idle()

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to direct."""
        return not self.spans and not self.prompt and self.idle == Idle()

    @cached_property
    def _reach(self) -> "NDArray[np.int64]":
        return np.array([span.reach for span in self.spans], np.int64).reshape(-1, 2)

    def cut(self, start: int, frames: int) -> "ResolvedScript":
        """Return the script as it is on `frames` frames from `start` on, counted from there.

        What began before goes on: its start is negative, and nothing eases in again.
        """
        seen = self.near(start, start + frames)
        spans = (replace(s, start=s.start - start, stop=s.stop - start) for s in seen)
        return replace(self, frames=frames, spans=tuple(spans))

    def near(self, start: int, stop: int) -> list[Span]:
        """Return the spans that can be seen on frames `start..stop`, in blending order."""
        seen = (self._reach[:, 0] < stop) & (self._reach[:, 1] > start)
        return [self.spans[i] for i in np.flatnonzero(seen)]

    def weights(
        self, kind: Kind, start: int, stop: int
    ) -> "list[tuple[Span, NDArray[np.float64]]]":
        """Return each span of `kind` with its share of frames `start..stop`, 0..1 a frame.

        Shares of one kind add up to at most 1; intensity is not in them.
        """
        layers = self.layers(kind, start, stop)
        shares = ((layer.span, layer.envelope * layer.free) for layer in layers)
        return [(span, share) for span, share in shares if share.any()]

    def layers(self, kind: Kind, start: int, stop: int) -> "list[Layer]":
        """Return the spans of `kind` on frames `start..stop` in blending order, lowest first."""
        free = np.ones(stop - start)
        layers = []
        for span in reversed(self.near(start, stop)):
            if span.kind is kind:
                envelope = span.envelope(start, stop)
                layers.append(Layer(span, envelope, free))
                free = free * (1.0 - envelope)
        return layers[::-1]

    def levels(self, start: int, stop: int) -> "dict[str, NDArray[np.float64]]":
        """Return how strong each word of liveact-mini is on frames `start..stop`, 0..1 a frame."""
        levels: dict[str, NDArray[np.float64]] = {}
        for kind in (Kind.EMOTION, Kind.ACTION):
            for span, share in self.weights(kind, start, stop):
                for name, weight in span.word.motion if span.word is not None else ():
                    level = levels.setdefault(name, np.zeros(stop - start))
                    level += share * (span.intensity * weight)
        return {name: np.minimum(level, 1.0) for name, level in levels.items()}

    def texts(self, bounds: Sequence[int]) -> list[str]:
        """Return the prompt of every cell `bounds[i]..bounds[i + 1]` of the whole video's grid.

        Spans are moved to the nearest bounds, but none is lost on the way.
        """
        cells: list[dict[Kind, Span]] = [{} for _ in range(len(bounds) - 1)]
        for span in self.spans:
            start, stop = snap(span, bounds)
            for cell in cells[start:stop]:
                cell[span.kind] = span
        return [self._text(cell) for cell in cells]

    def _text(self, cell: Mapping[Kind, Span]) -> str:
        # As in the released system, a prompt of the timeline stands instead of the base prompt.
        prompt = cell[Kind.PROMPT].text if Kind.PROMPT in cell else self.prompt
        parts = [prompt or DEFAULT_PROMPT]
        if Kind.EMOTION in cell:
            parts.append(emotion_sentence(cell[Kind.EMOTION]))
        if Kind.ACTION in cell:
            parts.append(action_sentence(cell[Kind.ACTION]))
        if len(parts) == 1:
            return parts[0]
        return " ".join(part if part[-1] in ".!?。！？" else f"{part}." for part in parts)


def snap(span: Span, bounds: Sequence[int]) -> tuple[int, int]:
    """Return the cells `start..stop` of a grid that stand for `span`: one at least."""
    start, stop = _nearest(bounds, span.start), _nearest(bounds, span.stop)
    if stop > start:
        return start, stop
    cell = bisect_right(bounds, (span.start + span.stop) / 2) - 1
    cell = max(0, min(cell, len(bounds) - 2))
    return cell, cell + 1


def _nearest(bounds: Sequence[int], frame: int) -> int:
    i = bisect_left(bounds, frame)
    if i == 0 or i == len(bounds):
        return min(i, len(bounds) - 1)
    return i if bounds[i] - frame < frame - bounds[i - 1] else i - 1


def emotion_sentence(span: Span) -> str:
    """Return what liveact-18b reads of an emotion."""
    text = span.word.text if span.word is not None else span.text
    return f"The person speaks, {_degree(span.intensity)}{text}."


def action_sentence(span: Span) -> str:
    """Return what liveact-18b reads of an action."""
    if span.word is None:
        return f"The person: {span.text}."
    return f"The person {_degree(span.intensity)}{span.word.text}."


def _degree(intensity: float) -> str:
    if intensity < _SLIGHT:
        return "slightly "
    return "moderately " if intensity < _MODERATE else ""
