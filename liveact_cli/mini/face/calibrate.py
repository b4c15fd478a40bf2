"""What a landmark fit sees of a drawn face: how far it turns, and whether its lids close."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.canonical import CanonicalMesh
from liveact_cli.mini.face.detector import Region
from liveact_cli.mini.face.fit import face_landmarker, head_pose_of
from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.landmarker import Landmarks
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.motion import motion_vector

Render = Callable[[NDArray[np.float32]], RGB]
Place = Callable[[NDArray[np.float32]], Array]

_LARGEST, _SMALLEST = 1.8, 0.7
_LARGEST_LINED = 1.3
"""A drawing that is turned farther than this loses the lines of its outline."""
# Where gains are measured, in degrees; a turn is not quite linear.
_YAW_PROBE, _PITCH_PROBE = 7.0, 5.0
_SHUT_SCORE = 0.15
"""Of the blendshape net for shut lids; test portraits have 0.26 to 0.85, two cartoons 0.06."""


@dataclass(frozen=True, slots=True)
class HeadGain:
    """Degrees of the mesh per commanded degree, toward negative and toward positive angles."""

    yaw: tuple[float, float] = (1.0, 1.0)
    pitch: tuple[float, float] = (1.0, 1.0)

    def turned(self, yaw: float, pitch: float) -> tuple[float, float]:
        """Return the mesh's yaw and pitch for commanded ones."""
        return yaw * self.yaw[yaw > 0.0], pitch * self.pitch[pitch > 0.0]


def measure_gain(
    render: Render, place: Place, landmarks: Array, canonical: CanonicalMesh, lined: bool
) -> HeadGain:
    """Return the gain that makes commanded yaw and pitch those that are measured.

    `render` draws motion without gain, `place` returns its mesh `[468, 3]`; `landmarks` `[478, 3]`
    are those of the resting frame. A flat relief, hair and the landmark net itself make turns look
    smaller than they are, and a head that is turned in the picture already turns less to one side
    than to the other. A drawing whose eyes the net misses (`lined`) may look turned less than it is
    turned by far: then the mesh turns as commanded.
    """

    def seen(motion: NDArray[np.float32], precise: bool) -> Array:
        return np.array(head_pose_of(canonical, _found(render(motion), landmarks, precise).points))

    def placed(motion: NDArray[np.float32], _precise: bool) -> Array:
        return np.array(head_pose_of(canonical, place(motion)))

    gain = _gain(seen)
    followed = not lined or max(*gain.yaw, *gain.pitch) < _LARGEST_LINED
    return gain if followed else _gain(placed)


def _gain(angles: Callable[[NDArray[np.float32], bool], Array]) -> HeadGain:
    rest = angles(motion_vector(), True)

    def gain(channel: str, axis: int, degrees: float) -> float:
        found = 1.0
        for precise in (False, True):
            turned = angles(motion_vector({channel: found * degrees}), precise)
            seen = (turned - rest)[axis] / degrees
            found = float(np.clip(found / max(seen, 0.1), _SMALLEST, _LARGEST))
        return found

    return HeadGain(
        yaw=(gain("yaw", 0, -_YAW_PROBE), gain("yaw", 0, _YAW_PROBE)),
        pitch=(gain("pitch", 1, -_PITCH_PROBE), gain("pitch", 1, _PITCH_PROBE)),
    )


def lids_close(render: Render, landmarks: Array) -> bool:
    """Return whether lids that are drawn shut look shut.

    The eyes of cartoons may be larger than landmarks say: half of one would look out below the lid.
    """
    face = _found(render(motion_vector(eyeBlink=1.0)), landmarks)
    scores = face_landmarker().blendshapes(face)
    return scores["eyeBlinkLeft"] + scores["eyeBlinkRight"] > 2 * _SHUT_SCORE


def measured_angles(
    frame: RGB, landmarks: Array, canonical: CanonicalMesh, passes: int = 1
) -> tuple[float, float, float]:
    """Return (yaw, pitch, roll) in degrees as landmarks find them on a frame.

    `landmarks` `[478, 3]` are those of the resting frame: the face is looked for around them. It
    takes a second pass to look at a rolled head upright.
    """
    return head_pose_of(canonical, _found(frame, landmarks, passes=passes).points)


def region_of(landmarks: Array) -> Region:
    """Return the square around a face with landmarks `[478, 3]`, turned like it."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    (x, y), side = (low + high) / 2, 1.5 * float((high - low).max())
    eyes = landmarks[263] - landmarks[33]
    return Region(float(x), float(y), side, float(np.arctan2(eyes[1], eyes[0])))


def _found(frame: RGB, landmarks: Array, precise: bool = True, passes: int = 1) -> Landmarks:
    landmarker = face_landmarker()
    face = landmarker.track(frame, region_of(landmarks), passes)
    return landmarker.refine(frame, face) if precise else face
