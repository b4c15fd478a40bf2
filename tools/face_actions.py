"""What a face does, measured on its landmarks: action units in centimetres of a canonical head.

The landmarks of a frame are laid into the head's own frame, so that turning and nearing count for
nothing, and each action is a distance between a few of them. Which landmarks, and how far a face
moves them at the most (`FULL`), is frozen here, apart from the code that makes and draws motion.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.fit import face_landmarker, head_pose_of
from liveact_cli.mini.face.landmarker import Landmarks

Floats = NDArray[np.floating]

SIDES: Final = ("Right", "Left")
INNER_BROW: Final = ((107, 66, 55, 65), (336, 296, 285, 295))
OUTER_BROW: Final = ((70, 63, 46, 53), (300, 293, 276, 283))
EYE_CORNERS: Final = ((33, 133), (263, 362))
UPPER_LID: Final = ((160, 159, 158), (387, 386, 385))
LOWER_LID: Final = ((144, 145, 153), (373, 374, 380))
CHEEK: Final = ((50, 101, 118), (280, 330, 347))
NOSE_WING: Final = ((129, 64, 98), (358, 294, 327))
IRIS: Final = (468, 473)
MOUTH_CORNER: Final = (61, 291)
UPPER_LIP, LOWER_LIP = (37, 0, 267), (84, 17, 314)
"""Outer edges of the lips' middle thirds."""
UPPER_INNER, LOWER_INNER = (82, 13, 312), (87, 14, 317)
NOSE_TIP: Final = (4, 1)
NOSE_BASE: Final = 2

FULL: Final[dict[str, float]] = {
    "innerBrow": 0.6,
    "outerBrow": 0.6,
    "lids": 0.4,
    "lowerLid": 0.2,
    "cheek": 0.5,
    "noseWing": 0.5,
    "cornerUp": 0.6,
    "cornerOut": 0.5,
    "upperLip": 0.4,
    "lowerLip": 1.2,
    "lipsApart": 1.5,
    "lipsThick": 0.5,
    "iris": 0.35,
}
"""How far, in cm, each action goes at the most."""


def in_head_frame(face: Landmarks) -> Floats:
    """Return the landmarks `[478, 3]` in cm: x to image right, y down, without the head's pose."""
    scale, rotation, translation = face_landmarker().head_pose(face)
    return np.asarray((face.points - translation) @ rotation / scale)


def actions(face: Landmarks) -> dict[str, float]:
    """Return every action of a face; 1 is about as far as faces go, the person's rest is not 0.

    Sided ones end in Left and Right, the person's own. Up and out are positive.
    """
    points = in_head_frame(face)

    def height(indices: tuple[int, ...]) -> float:
        return -float(points[list(indices), 1].mean())

    found: dict[str, float] = {}
    for i, side in enumerate(SIDES):
        eye = height(EYE_CORNERS[i])
        nose = height(NOSE_TIP)
        corner = points[MOUTH_CORNER[i]]
        middle = points[NOSE_BASE]
        upper, lower = height(UPPER_LID[i]), height(LOWER_LID[i])
        left, right = sorted(float(points[c, 0]) for c in EYE_CORNERS[i])
        sided = {
            "innerBrow": height(INNER_BROW[i]) - eye,
            "outerBrow": height(OUTER_BROW[i]) - eye,
            "lids": upper - lower,
            "lowerLid": lower - eye,
            "cheek": height(CHEEK[i]) - eye,
            "noseWing": height(NOSE_WING[i]) - eye,
            "cornerUp": -float(corner[1]) - nose,
            "cornerOut": abs(float(corner[0] - middle[0])),
            "irisX": float(points[IRIS[i], 0]) - 0.5 * (left + right),
            "irisY": eye - height((IRIS[i],)),
        }
        found |= {f"{name}{side}": value / _full(name) for name, value in sided.items()}
    upper, lower = height(UPPER_INNER), height(LOWER_INNER)
    thick = height(UPPER_LIP) - upper + lower - height(LOWER_LIP)
    whole = {
        "upperLip": height(UPPER_LIP) - height(NOSE_TIP),
        "lowerLip": -(height(LOWER_LIP) - height(NOSE_TIP)),
        "lipsApart": upper - lower,
        "lipsThick": thick,
    }
    return found | {name: value / _full(name) for name, value in whole.items()}


def _full(name: str) -> float:
    return FULL["iris" if name.startswith("iris") else name]


def as_channels(face: Landmarks) -> dict[str, float]:
    """Return the motion channels that a face shows; a resting face's values are not 0."""
    act = actions(face)
    points = face.points
    yaw, pitch, roll = head_pose_of(face_landmarker().canonical, points)

    def both(name: str) -> float:
        return 0.5 * (act[f"{name}Left"] + act[f"{name}Right"])

    sided: dict[str, float] = {}
    for side in SIDES:
        sided |= {
            f"mouthSmile{side}": act[f"cornerUp{side}"],
            f"mouthFrown{side}": -act[f"cornerUp{side}"],
            f"mouthStretch{side}": act[f"cornerOut{side}"],
            f"eyeBlink{side}": -act[f"lids{side}"],
            f"browOuterUp{side}": act[f"outerBrow{side}"],
            f"browDown{side}": -act[f"innerBrow{side}"],
            f"cheekSquint{side}": act[f"lowerLid{side}"],
        }
    return sided | {
        "jawOpen": act["lipsApart"],
        "mouthFunnel": -both("cornerOut"),
        "mouthPucker": -both("cornerOut"),
        "mouthPress": -act["lipsThick"],
        "mouthRollUpper": -act["lipsThick"],
        "mouthRollLower": -act["lipsThick"],
        "mouthUpperUp": act["upperLip"],
        "mouthLowerDown": act["lowerLip"],
        "eyeWide": both("lids"),
        "browInnerUp": both("innerBrow"),
        "noseSneer": both("noseWing"),
        "gazeX": both("irisX"),
        "gazeY": both("irisY"),
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "scale": float(np.log(face_landmarker().head_pose(face)[0])),
    }
