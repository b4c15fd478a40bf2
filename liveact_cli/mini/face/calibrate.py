"""How much the mesh must turn so that a landmark fit measures the commanded angles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.canonical import CanonicalMesh
from liveact_cli.mini.face.detector import Region
from liveact_cli.mini.face.fit import face_landmarker, head_pose_of
from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.motion import motion_vector

Render = Callable[[NDArray[np.float32]], RGB]

_PROBE_DEGREES = 5.0
_LARGEST, _SMALLEST = 1.8, 0.8


@dataclass(frozen=True, slots=True)
class HeadGain:
    """Degrees of the mesh per commanded degree."""

    yaw: float = 1.0
    pitch: float = 1.0


def measure_gain(render: Render, landmarks: Array, canonical: CanonicalMesh) -> HeadGain:
    """Return the gain that makes commanded yaw and pitch those that are measured.

    `render` draws motion without gain; `landmarks` `[478, 3]` are those of the resting frame. A
    flat relief, hair and the landmark net itself make turns look smaller than they are.
    """
    return HeadGain(
        yaw=_gain("yaw", 0, render, landmarks, canonical),
        pitch=_gain("pitch", 1, render, landmarks, canonical),
    )


def _gain(
    channel: str, axis: int, render: Render, landmarks: Array, canonical: CanonicalMesh
) -> float:
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    (x, y), side = (low + high) / 2, 1.5 * float((high - low).max())
    eyes = landmarks[263] - landmarks[33]
    region = Region(float(x), float(y), side, float(np.arctan2(eyes[1], eyes[0])))
    measured = []
    for sign in (1.0, -1.0):
        frame = render(motion_vector({channel: sign * _PROBE_DEGREES}))
        found = face_landmarker().track(frame, region, passes=2)
        measured.append(head_pose_of(canonical, found.points)[axis])
    slope = (measured[0] - measured[1]) / (2 * _PROBE_DEGREES)
    return float(np.clip(1.0 / max(slope, 0.1), _SMALLEST, _LARGEST))
