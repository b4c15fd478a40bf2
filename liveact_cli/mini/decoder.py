"""Latents to motion curves, and motion curves to frames: a causal stream that keeps its state.

A chunk sees its neighbour only through a noisy memory, so head, brows and eyes would jump a little
at chunk boundaries. `MotionDecoder` continues every slow curve where it was, at the speed it had,
the gaze where it was, and lets the difference fade over most of a chunk; the mouth and the lids,
which are quick, over a few frames. Nothing is delayed for it.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from liveact_cli.mini.codec import MotionCodec
from liveact_cli.mini.motion import (
    CHANNEL_INDEX,
    EXPRESSED,
    EXPRESSIVE,
    MOTION_CHANNELS,
    MOTION_FPS,
    NUM_CHANNELS,
    group_slices,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

FADE: Final = 24
"""Video frames over which a seam's difference fades; less than any chunk but the first has."""
SLOW_REGIONS: Final = ("brows", "head")
QUICK_FADE: Final = 5
"""Video frames over which the difference fades in mouth and lids."""
QUICK_MENDING: Final = 1.5
"""Share of a jump in mouth and lids that is taken out, in halves (dev split)."""
LIP_JUMP: Final = 0.02
"""The most that is taken out where lips follow the sound, which knows of no boundary: a larger jump
there is speech. Smiles and the like are sampled, and differ from chunk to chunk."""
LIP_REGIONS: Final = ("mouth_shape", "mouth_corners")
LIDS: Final = ("eyeBlinkLeft", "eyeBlinkRight")
LOOKING: Final = ("gazeX", "gazeY", "eyeWide")
"""What rests between its own jumps: it goes on from where it was, at no speed."""
STEADYING: Final = 2.0
"""Standard deviation in frames of the smoothing of the slow curves: it takes the model's tremble,
less than 0.2 degrees at the rate of the latent frames, and leaves nods as they are."""
SIGNED: Final = frozenset({"yaw", "pitch", "roll", "tx", "ty", "scale"})
CLOSING: Final = (0.12, 0.24)
"""`mouthClose` from which lips begin to seal, and from which they are sealed (dev split)."""
SEALED: Final = (0.60, 0.85)
"""Share of the strongest closing (touching) near by from which lips begin to seal (the lower lip
to touch the teeth), and do (dev split)."""
NEAR_BY: Final = 3
"""Frames on each side that count as near by."""
TOUCHING: Final = (0.09, 0.24)
"""The same for `mouthRollLower` and the teeth."""
TOUCHING_JAW: Final = 0.15
SHUTTING: Final = (0.30, 0.65)
"""Lid closure from which a blink is meant, and from which the lids are shut."""
AWAKE: Final = 8
"""Frames at a recording's beginning in which nobody blinks."""
BLINK: Final = (0.15, 12)
"""Lid closure above which lids move, and the most frames that a blink keeps them there."""
BEHIND: Final = 2
"""Frames that interpolation to another frame rate looks ahead."""
DRAWING_THREADS: Final = 2
"""Frames drawn at the same time: the kernels run without Python's lock."""


class Renderer(Protocol):
    """Draws one frame: motion `[NUM_CHANNELS]` -> RGB `[H, W, 3]`; several threads may ask."""

    def render(self, motion: "NDArray[np.float32]") -> "NDArray[np.uint8]":
        """Draw a frame."""
        ...


def _rise(values: "NDArray[np.float32]", low: float, high: float) -> "NDArray[np.float32]":
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def _crest(values: "NDArray[np.float32]", before: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Each value's share of the largest near by; `before` are the values that came before."""
    padded = np.pad(np.concatenate([before, values]), NEAR_BY, mode="edge")
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR_BY + 1).max(1)
    return values / np.maximum(largest[len(before) :], 1e-3)


def meet_lips(motion: "NDArray[np.float32]", before: "NDArray[np.float32] | None" = None) -> None:
    """Let lips that almost meet do meet, in place: motion `[n, NUM_CHANNELS]`.

    What the model says about lips is a mean over what the sound leaves open, and the mean of closed
    and open is never closed; people notice a missed closure more than an early one. So closing (and
    the lower lip against the teeth) counts as meant from `CLOSING` (`TOUCHING`) on. The mean over
    when it happens lasts longer than a contact, so lips seal and touch at its crest only. `before`
    is the motion of the frames before, as it was when it came here.
    """
    index = CHANNEL_INDEX
    past = motion[:0] if before is None else before

    def meant(name: str, thresholds: tuple[float, float]) -> "NDArray[np.float32]":
        values, earlier = motion[:, index[name]], past[:, index[name]]
        return _rise(values, *thresholds) * _rise(_crest(values, earlier), *SEALED)

    closed = meant("mouthClose", CLOSING)
    touch = meant("mouthRollLower", TOUCHING) * (1.0 - closed)
    parting = (1.0 - closed) * (1.0 - 0.85 * touch)
    for name in ("mouthUpperUp", "mouthLowerDown", "mouthFunnel"):
        motion[:, index[name]] *= parting
    jaw = motion[:, index["jawOpen"]]
    motion[:, index["jawOpen"]] = jaw + touch * (np.minimum(jaw, TOUCHING_JAW) - jaw)
    for name, weight, full in (
        ("mouthClose", closed, 1.0),
        ("mouthPress", closed, 0.5),
        ("mouthRollLower", touch, 0.6),
    ):
        motion[:, index[name]] = np.maximum(motion[:, index[name]], full * weight)


def shut_lids(motion: "NDArray[np.float32]") -> None:
    """Let lids that are more than half way shut do shut, in place; the same mean as for lips."""
    for name in LIDS:
        lid = motion[:, CHANNEL_INDEX[name]]
        motion[:, CHANNEL_INDEX[name]] = lid + _rise(lid, *SHUTTING) * (1.0 - lid)


def begin_awake(motion: "NDArray[np.float32]") -> None:
    """Leave out, in place, a blink that begins in a recording's first `AWAKE` frames.

    What people see of a video that does not play is its first frame. Lids that stay shut for longer
    than a blink were told to, and one lid alone winks.
    """
    moving, longest = BLINK
    columns = [CHANNEL_INDEX[name] for name in LIDS]
    closing = (motion[:, columns] > moving).all(axis=1)
    edges = np.diff(np.concatenate([[0], closing, [0]]))
    for first, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
        if first < AWAKE and stop < len(motion) and stop - first <= longest:
            motion[first:stop, columns] = motion[stop, columns]


def _limits() -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    low = np.zeros(NUM_CHANNELS, np.float32)
    high = np.ones(NUM_CHANNELS, np.float32)
    for name in ("gazeX", "gazeY"):
        low[CHANNEL_INDEX[name]] = -1.0
    for name in SIGNED:
        low[CHANNEL_INDEX[name]], high[CHANNEL_INDEX[name]] = -np.inf, np.inf
    return low, high


LOW, HIGH = _limits()
SCRIPTED_HIGH: Final = np.where(
    [name in EXPRESSIVE for name in MOTION_CHANNELS], np.float32(EXPRESSED), HIGH
)
"""What motion is held below once a script has been played on it."""


def _columns(regions: tuple[str, ...]) -> Tensor:
    """Return the channels of some face regions."""
    groups = [group for group in group_slices() if group.name in regions]
    return torch.cat([torch.arange(group.start, group.stop) for group in groups])


def _channels(names: tuple[str, ...]) -> Tensor:
    return torch.tensor([CHANNEL_INDEX[name] for name in names])


class MotionDecoder:
    """Decodes chunk after chunk of latents to motion at 25 fps."""

    def __init__(self, codec: MotionCodec, *, mend: bool = True) -> None:
        """`mend` joins the slow curves at chunk boundaries."""
        self.codec = codec
        self.mend = mend
        self.tail: Tensor | None = None
        self.slow = _columns(SLOW_REGIONS)
        self.quick = torch.cat([_columns(LIP_REGIONS), _channels(LIDS)])
        names = [MOTION_CHANNELS[i] for i in self.quick]
        free = (*EXPRESSIVE, *LIDS)
        self.most = torch.tensor([math.inf if name in free else LIP_JUMP for name in names])
        self.looking = _channels(LOOKING)

    def decode(self, latent: Tensor) -> "NDArray[np.float32]":
        """Return motion `[n, NUM_CHANNELS]` of the next chunk's latent `[C, F, 1, regions]`.

        The first chunk of a recording makes `4F - 3` frames, every other `4F`.
        """
        motion = self.codec.decode(latent.cpu(), first=self.tail is None)
        self._steady(motion)
        if self.tail is not None and self.mend:
            self._join(motion)
            self._join_quick(motion)
            self._join_looking(motion)
        before = None if self.tail is None else np.clip(self.tail.numpy(), LOW, HIGH)
        self.tail = motion[-3:].clone()
        values = np.clip(motion.numpy(), LOW, HIGH)
        if before is None:
            begin_awake(values)
        meet_lips(values, before)
        shut_lids(values)
        return values

    def _join(self, motion: Tensor) -> None:
        """Continue the slow curves from the tail: a cubic that ends in the new curve."""
        assert self.tail is not None
        past, new = self.tail[:, self.slow], motion[:4, self.slow]
        speed = 0.5 * (past[-1] - past[0])
        own_speed = (new[3] - new[0]) / 3.0
        gap = past[-1] + speed - new[0]
        count = min(FADE, len(motion))
        t = (torch.arange(count) / FADE)[:, None]
        fade = (1 + 2 * t) * (1 - t).square()
        drift = t * (1 - t).square() * FADE
        motion[:count, self.slow] += gap * fade + (speed - own_speed) * drift

    def _join_quick(self, motion: Tensor) -> None:
        """Take the jump out of mouth and lids: how far the first frame lies off a curve.

        One through the two frames before and the second and third after sees half of a jump.
        """
        assert self.tail is not None
        past, new = self.tail[:, self.quick], motion[:3, self.quick]
        if len(new) < 3:
            return
        between = (4.0 * (past[-1] + new[1]) - past[-2] - new[2]) / 6.0
        gap = (QUICK_MENDING * (between - new[0])).clamp(-self.most, self.most)
        count = min(QUICK_FADE, len(motion))
        t = (torch.arange(count) / QUICK_FADE)[:, None]
        motion[:count, self.quick] += gap * (1 + 2 * t) * (1 - t).square()

    def _join_looking(self, motion: Tensor) -> None:
        """Look on to where the eyes looked; the difference fades."""
        assert self.tail is not None
        gap = self.tail[-1, self.looking] - motion[0, self.looking]
        count = min(FADE, len(motion))
        t = (torch.arange(count) / FADE)[:, None]
        motion[:count, self.looking] += gap * (1 + 2 * t) * (1 - t).square()

    def _steady(self, motion: Tensor) -> None:
        """Smooth the slow curves within the chunk; beyond its ends they go on straight."""
        slow = motion[:, self.slow]
        reach = round(3 * STEADYING)
        ahead = torch.arange(1, reach + 1)[:, None]
        count = min(3, len(slow) - 1)
        first = slow[0] - ahead.flip(0) * (slow[count] - slow[0]) / count
        last = slow[-1] + ahead * (slow[-1] - slow[-1 - count]) / count
        offsets = torch.arange(-reach, reach + 1)
        kernel = torch.exp(-0.5 * (offsets / STEADYING) ** 2)
        windows = torch.cat([first, slow, last]).unfold(0, len(kernel), 1)
        motion[:, self.slow] = windows @ (kernel / kernel.sum())

    def state(self) -> dict[str, Tensor]:
        """Return what decoding must remember."""
        return {} if self.tail is None else {"tail": self.tail}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.tail = state.get("tail")


class CurveResampler:
    """Resamples motion at 25 fps to another frame rate by cubic interpolation, as a stream.

    Output frame j shows the moment (j + 1/2) / fps, the middle of its time on screen.
    """

    def __init__(self, fps: float) -> None:
        """Take the output frame rate."""
        self.step = MOTION_FPS / fps
        self.held = np.zeros((0, NUM_CHANNELS), np.float32)
        self.first = 0
        self.made = 0

    def push(self, motion: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Take the next motion frames; return the output frames that are certain."""
        self.held = np.concatenate([self.held, motion])
        return self._make(self.first + len(self.held) - BEHIND)

    def flush(self) -> "NDArray[np.float32]":
        """Return the rest: the last motion frame holds."""
        return self._make(self.first + len(self.held))

    def _make(self, limit: float) -> "NDArray[np.float32]":
        """Return all output frames whose moment lies before motion frame `limit`."""
        known = self.first + len(self.held)
        count = 0
        while (self.made + count + 0.5) * self.step <= limit:
            count += 1
        if not count:
            return np.zeros((0, NUM_CHANNELS), np.float32)
        place = (self.made + np.arange(count) + 0.5) * self.step - 0.5
        base = np.floor(place).astype(int)
        t = (place - base).astype(np.float32)[:, None]
        a, b, c, d = (
            self.held[np.clip(base + k, 0, known - 1).clip(self.first) - self.first]
            for k in (-1, 0, 1, 2)
        )
        slope_b, slope_c = 0.5 * (c - a), 0.5 * (d - b)
        curve = b + t * (slope_b + t * (3 * (c - b) - 2 * slope_b - slope_c))
        curve += t**3 * (2 * (b - c) + slope_b + slope_c)
        self.made += count
        keep = max(0, int((self.made + 0.5) * self.step - 0.5) - 2 - self.first)
        self.held, self.first = self.held[keep:], self.first + keep
        return np.clip(curve, LOW, SCRIPTED_HIGH)

    def state(self) -> dict[str, Tensor]:
        """Return what resampling must remember."""
        return {
            "held": torch.from_numpy(self.held.copy()),
            "counts": torch.tensor([self.first, self.made]),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.held = state["held"].numpy().copy()
        self.first, self.made = (int(value) for value in state["counts"])


class MotionFrameDecoder:
    """The `FrameDecoder` of liveact-mini: latents to frames of the reference picture in motion."""

    def __init__(self, codec: MotionCodec, renderer: Renderer, fps: float = MOTION_FPS) -> None:
        """Draw with `renderer` at `fps` frames a second."""
        self.motion = MotionDecoder(codec)
        self.resampler = CurveResampler(fps)
        self.renderer = renderer

    def decode(self, latent: Tensor) -> "Iterator[NDArray[np.uint8]]":
        """Return the frames `[H, W, 3]` that the next chunk's latent completes."""
        return self._draw(self.resampler.push(self.motion.decode(latent)))

    def flush(self) -> "Iterator[NDArray[np.uint8]]":
        """Return what the look-ahead still holds."""
        return self._draw(self.resampler.flush())

    def _draw(self, frames: "Iterable[NDArray[np.float32]]") -> "Iterator[NDArray[np.uint8]]":
        """Yield the frames in order, a few of them drawn ahead."""
        ahead: deque[Future[NDArray[np.uint8]]] = deque()
        with ThreadPoolExecutor(DRAWING_THREADS, "drawing") as pool:
            for motion in frames:
                ahead.append(pool.submit(self.renderer.render, motion))
                if len(ahead) > DRAWING_THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def state(self) -> dict[str, Tensor]:
        """Return what must be saved to go on later."""
        parts = {"motion": self.motion.state(), "resampler": self.resampler.state()}
        return {f"{part}.{name}": v for part, state in parts.items() for name, v in state.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        for name, part in (("motion", self.motion), ("resampler", self.resampler)):
            prefix = f"{name}."
            part.load_state(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
