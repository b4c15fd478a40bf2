"""What an emotion or action on top of speech must leave to the lips: closures, teeth, rounding."""

from typing import TYPE_CHECKING, Final

import numpy as np

from liveact_cli.mini.motion import CHANNEL_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTING_CHANNELS: Final = [
    CHANNEL_INDEX[name] for name in ("mouthUpperUp", "mouthLowerDown", "mouthFunnel")
]
JAW: Final = CHANNEL_INDEX["jawOpen"]
CORNER_CHANNELS: Final = slice(
    CHANNEL_INDEX["mouthSmileLeft"], CHANNEL_INDEX["mouthFrownRight"] + 1
)
CLOSE, ROLL = CHANNEL_INDEX["mouthClose"], CHANNEL_INDEX["mouthRollLower"]
ROLLED: Final = 0.6
"""`mouthRollLower` of a lip that touches the teeth."""
SPARED: Final = 0.55
"""Share of a smile or frown that rounded lips take back, as the performer does."""
SPEECH_CHANNELS: Final = [
    CHANNEL_INDEX[name]
    for name in (
        *("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthPress"),
        *("mouthRollUpper", "mouthRollLower", "mouthUpperUp", "mouthLowerDown"),
    )
]
"""What lips and jaw do in speech."""
AGAPE_FROM, AGAPE = 0.4, 0.7
"""`jawOpen` of an action from which speech begins to lose the mouth, and at which it has."""


def spare_lips(change: "NDArray[np.float64]", motion: "NDArray[np.float32]") -> None:
    """Hold back in place what would part lips that speech closes or lays on the teeth, or widen
    those that it rounds.
    """
    closed = motion[:, CLOSE]
    touching = np.minimum(1.0, motion[:, ROLL] / ROLLED)
    room = ((1.0 - closed) * (1.0 - 0.85 * touching))[:, None]
    parting = change[:, PARTING_CHANNELS]
    change[:, PARTING_CHANNELS] = np.where(parting > 0.0, parting * room, parting)
    jaw = change[:, JAW]
    change[:, JAW] = np.where(jaw > 0.0, jaw * room[:, 0], jaw)
    rounded = motion[:, [CHANNEL_INDEX["mouthPucker"], CHANNEL_INDEX["mouthFunnel"]]].max(axis=1)
    change[:, CORNER_CHANNELS] *= 1.0 - SPARED * np.clip(rounded, 0.0, 1.0)[:, None]


def agape(acted: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return how far actions `[n, NUM_CHANNELS]` hold the jaw so wide open that nobody speaks,
    `[n]`, 0..1.
    """
    return np.clip((acted[:, JAW] - AGAPE_FROM) / (AGAPE - AGAPE_FROM), 0.0, 1.0)


def take_mouth(
    change: "NDArray[np.float64]",
    wanted: "NDArray[np.float64]",
    acted: "NDArray[np.float64]",
    motion: "NDArray[np.float32]",
) -> None:
    """Leave speech in place no part in a mouth that an action (`acted`) holds agape: jaw and lips
    are then as `wanted`. No `b` shuts the lips in the middle of a yawn.
    """
    alone = (wanted - motion)[:, SPEECH_CHANNELS]
    change[:, SPEECH_CHANNELS] += agape(acted)[:, None] * (alone - change[:, SPEECH_CHANNELS])
