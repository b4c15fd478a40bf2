"""The motion channels of liveact-mini: the performer writes them, the renderer draws them.

Names are ARKit's; Left and Right are the person's own. A motion track is float32
`[frames, NUM_CHANNELS]` in the order of `MOTION_CHANNELS`; all zeros is the resting face with its
lips as the picture has them.

Units: coefficients are 0..1, in speech; scripts take those of `EXPRESSIVE` to `EXPRESSED`.
`gazeX` (> 0: image right) and `gazeY` (> 0: image down) are -1..1.
`yaw` (> 0: the face turns toward image right), `pitch` (> 0: chin down) and `roll` (> 0: clockwise
as seen) are degrees as a landmark fit measures them on the rendered frame. `tx` (> 0: right) and
`ty` (> 0: down) are centimetres at the face, `scale` (> 0: nearer) is relative.
`mouthClose` is the fraction of the gap opened by `jawOpen` that the lips close again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOTION_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "mouth_shape": (
        "jawOpen",
        "mouthClose",
        "mouthFunnel",
        "mouthPucker",
        "mouthPress",
        "mouthRollUpper",
        "mouthRollLower",
        "tongueOut",
    ),
    "mouth_corners": (
        "mouthUpperUp",
        "mouthLowerDown",
        "mouthSmileLeft",
        "mouthSmileRight",
        "mouthStretchLeft",
        "mouthStretchRight",
        "mouthFrownLeft",
        "mouthFrownRight",
    ),
    "eyes": ("eyeBlinkLeft", "eyeBlinkRight", "gazeX", "gazeY", "eyeWide"),
    "brows": (
        "browInnerUp",
        "browOuterUpLeft",
        "browOuterUpRight",
        "browDownLeft",
        "browDownRight",
        "cheekSquintLeft",
        "cheekSquintRight",
        "noseSneer",
    ),
    "head": ("yaw", "pitch", "roll", "tx", "ty", "scale"),
}
"""Channels by face region; each is one spatial token of the latent, padded to `GROUP_WIDTH`."""

MOTION_CHANNELS: Final[tuple[str, ...]] = tuple(
    name for group in MOTION_GROUPS.values() for name in group
)
NUM_CHANNELS: Final = len(MOTION_CHANNELS)
NUM_GROUPS: Final = len(MOTION_GROUPS)
GROUP_WIDTH: Final = max(len(group) for group in MOTION_GROUPS.values())
CHANNEL_INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(MOTION_CHANNELS)}
MOTION_FPS: Final = 25.0
"""Frame rate of every motion track inside the model; other rates resample the curves at output."""

EXPRESSIVE: Final = frozenset(
    (
        *("mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight"),
        *("mouthStretchLeft", "mouthStretchRight", "cheekSquintLeft", "cheekSquintRight"),
        *("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "browDownLeft", "browDownRight"),
        *("eyeWide", "noseSneer"),
    )
)
EXPRESSED: Final = 1.7
"""How far a script's emotions and actions take the channels of `EXPRESSIVE`: at 1, which speech
does not pass, a face looks moved, but is not read at a glance."""

SIDED: Final[tuple[str, ...]] = tuple(
    name.removesuffix("Left") for name in MOTION_CHANNELS if name.endswith("Left")
)
"""Names that exist as `...Left` and `...Right`."""


@dataclass(frozen=True, slots=True)
class GroupSlice:
    """Where one group lies in the channel vector: `start:stop` of `MOTION_CHANNELS`."""

    name: str
    start: int
    stop: int


def group_slices() -> tuple[GroupSlice, ...]:
    """Return the groups in order with their places in the channel vector."""
    slices, start = [], 0
    for name, channels in MOTION_GROUPS.items():
        slices.append(GroupSlice(name, start, start + len(channels)))
        start += len(channels)
    return tuple(slices)


def motion_vector(
    values: Mapping[str, float] | None = None, /, **named: float
) -> "NDArray[np.float32]":
    """Return one motion frame `[NUM_CHANNELS]`; names of `SIDED` without a side set both sides.

    Raises `KeyError` for a name that is neither a channel nor one of `SIDED`.
    """
    motion = np.zeros(NUM_CHANNELS, np.float32)
    for name, value in {**(values or {}), **named}.items():
        if name in SIDED:
            motion[CHANNEL_INDEX[f"{name}Left"]] = value
            motion[CHANNEL_INDEX[f"{name}Right"]] = value
        else:
            motion[CHANNEL_INDEX[name]] = value
    return motion


def lip_aperture(motion: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return the lip aperture `[...]` (0 closed, about 1 widest) of `[..., NUM_CHANNELS]`."""
    jaw, close = motion[..., CHANNEL_INDEX["jawOpen"]], motion[..., CHANNEL_INDEX["mouthClose"]]
    upper = motion[..., CHANNEL_INDEX["mouthUpperUp"]]
    lower = motion[..., CHANNEL_INDEX["mouthLowerDown"]]
    funnel = motion[..., CHANNEL_INDEX["mouthFunnel"]]
    press = motion[..., CHANNEL_INDEX["mouthPress"]]
    aperture = jaw * (1.0 - close) + 0.5 * (upper + lower) + 0.35 * funnel - 0.15 * press
    return np.maximum(aperture, np.float32(0.0)).astype(np.float32)
