"""From a motion frame to what the mesh does: expressions beyond the picture's own, and the pose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.calibrate import HeadGain
from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.mesh import HeadPose
from liveact_cli.mini.motion import (
    CHANNEL_INDEX,
    EXPRESSIVE,
    MOTION_CHANNELS,
    SIDED,
    lip_aperture,
)

# How much of a picture's own smile a resting face keeps.
_KEPT_SMILE = 0.75
_SMILE_FROM, _SMILE_FULL = 0.25, 0.75
# Lids follow the gaze: share of a blink at gazeY 1, of eyeWide at gazeY -1.
_LID_WITH_GAZE = 0.32
# How much of its curve the seam of rounded lips loses; the aperture of lips that are well apart.
_STRAIGHT = 0.85
_PARTED = 0.2
_OVERDRAWN = 0.4
"""How much farther a face in flat colours, on which nothing folds, takes its expressions: what is
told by lines alone, people who draw exaggerate."""
_TURNED_AWAY = 12.0
"""Degrees of a head's own yaw from which one side of the face is hardly seen."""
OTHER_SIDE = {
    f"{name}{side}": f"{name}{other}"
    for name in SIDED
    for side, other in (("Left", "Right"), ("Right", "Left"))
}
"""What a sided channel is called on the other side."""


@dataclass(frozen=True, slots=True)
class Gesture:
    """One frame for the renderer: basis coefficients, pose, and what paints mouth and eyes."""

    coefficients: Array
    pose: HeadPose
    jaw: float
    rounding: float
    tongue: float
    gaze: tuple[float, float]
    blink: tuple[float, float]


class Controls:
    """Turns motion channels into basis coefficients for one person.

    What a face does on one side it does on the side that is seen: motion means its left one, which
    a head whose own `yaw` (degrees) is large turns away. A face drawn in `flat` (1) colours shows
    more of every expression than a photograph (0).
    """

    def __init__(
        self,
        names: tuple[str, ...],
        blendshapes: dict[str, float],
        yaw: float = 0.0,
        flat: float = 0.0,
    ) -> None:
        self._place = {name: i for i, name in enumerate(names)}
        self._channels = [
            (i, CHANNEL_INDEX[name]) for i, name in enumerate(names) if name in CHANNEL_INDEX
        ]
        # Lids of a drawing are lines, which tear when they are pulled far.
        shown = [name in EXPRESSIVE and name != "eyeWide" for name in names]
        self._gain = np.where(shown, 1.0 + _OVERDRAWN * flat, 1.0)
        self.mirrored = yaw > _TURNED_AWAY
        self._order = [CHANNEL_INDEX[OTHER_SIDE.get(name, name)] for name in MOTION_CHANNELS]
        self.gain = HeadGain()
        self.blinks = True
        smile = (blendshapes["mouthSmileLeft"] + blendshapes["mouthSmileRight"]) / 2
        self.own_smile = float(
            np.clip((smile - _SMILE_FROM) / (_SMILE_FULL - _SMILE_FROM), 0.0, 1.0)
        )

    def gesture(self, motion: NDArray[np.float32]) -> Gesture:
        """Return the gesture of motion `[NUM_CHANNELS]`, signs and units as in `mini.motion`."""
        motion = motion[self._order] if self.mirrored else motion
        value = {name: float(motion[i]) for name, i in CHANNEL_INDEX.items()}
        coefficients = np.zeros(len(self._place))
        for to, channel in self._channels:
            coefficients[to] = motion[channel]
        rounding = float(np.clip(max(value["mouthPucker"], value["mouthFunnel"]), 0.0, 1.0))
        self._set(coefficients, "mouthClose", value["mouthClose"] * max(value["jawOpen"], 0.0))
        opened = max(value["jawOpen"], 0.0) * (1.0 - value["mouthClose"])
        self._set(coefficients, "round", opened * rounding)
        relaxed = self._relax_smile(coefficients, value, rounding)
        self._set(coefficients, "straight", _STRAIGHT * rounding * (1.0 - relaxed))
        self._set(coefficients, "straightRelaxed", _STRAIGHT * rounding * relaxed)
        parted = float(smoothstep(float(lip_aperture(motion)) / _PARTED))
        self._set(coefficients, "parted", parted * (1.0 - _STRAIGHT * rounding))
        blinks = []
        for side in ("Right", "Left"):
            wide = max(value["eyeWide"], 0.0)
            closing = max(value[f"eyeBlink{side}"], 0.0) + _LID_WITH_GAZE * max(value["gazeY"], 0.0)
            blink = float(np.clip(closing, 0.0, 1.0)) if self.blinks else 0.0
            self._set(coefficients, f"eyeBlink{side}", blink)
            blinks.append(blink)
        wide += _LID_WITH_GAZE * max(-value["gazeY"], 0.0)
        self._set(coefficients, "eyeWide", wide * (1.0 - max(blinks)))
        yaw, pitch = self.gain.turned(value["yaw"], value["pitch"])
        pose = HeadPose(
            yaw=yaw,
            pitch=pitch,
            roll=value["roll"],
            tx=value["tx"],
            ty=value["ty"],
            scale=value["scale"],
        )
        return Gesture(
            coefficients * self._gain,
            pose,
            jaw=value["jawOpen"],
            rounding=rounding,
            tongue=value["tongueOut"],
            gaze=(value["gazeX"], value["gazeY"]),
            blink=(blinks[0], blinks[1]),
        )

    def _set(self, coefficients: Array, name: str, value: float) -> None:
        coefficients[self._place[name]] = value

    def _relax_smile(self, coefficients: Array, value: dict[str, float], rounding: float) -> float:
        """Take back the picture's own smile where the motion asks for another mouth: how much?"""
        smile = (value["mouthSmileLeft"] + value["mouthSmileRight"]) / 2
        frown = (value["mouthFrownLeft"] + value["mouthFrownRight"]) / 2
        stretch = (value["mouthStretchLeft"] + value["mouthStretchRight"]) / 2
        lowered = (value["browDownLeft"] + value["browDownRight"]) / 2
        # Speech stretches lips and moves brows a little; fear, anger and surprise do not smile.
        grave = max(stretch - 0.4, lowered - 0.4, value["eyeWide"] - 0.6)
        against = float(np.clip(1.4 * max(rounding, frown, grave), 0.0, 1.0))
        kept = max(_KEPT_SMILE * (1.0 - against), min(smile, 1.0) * (1.0 - rounding))
        relaxed = self.own_smile * (1.0 - kept)
        self._set(coefficients, "relax", relaxed)
        for side in ("Left", "Right"):
            beyond = value[f"mouthSmile{side}"] - self.own_smile * kept
            self._set(coefficients, f"mouthSmile{side}", max(beyond, 0.0))
        return relaxed
