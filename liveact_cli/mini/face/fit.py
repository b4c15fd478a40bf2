"""Find the face of a picture and measure what the renderer needs to know about it."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from liveact_cli.core.errors import MediaError
from liveact_cli.mini.face.canonical import NUM_MESH, CanonicalMesh
from liveact_cli.mini.face.drawings import on_the_lines
from liveact_cli.mini.face.geometry import Array, head_angles, similarity
from liveact_cli.mini.face.glasses import wears_glasses
from liveact_cli.mini.face.landmarker import FaceLandmarker
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.seam import snap_lip_seam
from liveact_cli.mini.face.topology import LOWER_INNER, UPPER_INNER

MIN_FACE_PIXELS = 28
"""Width of the smallest face that still moves believably."""
SMALL_FACE_PIXELS = 56
PROFILE_DEGREES = 32.0
LOW_CONFIDENCE = 0.85
OPEN_MOUTH_CM = 0.2
"""Gap between the lips from which the inside of the mouth counts as visible."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FaceFit:
    """One person's face in a picture, in pixels of that picture.

    `landmarks` `[478, 3]`; `scale` (px per cm), `rotation` and `translation` place the head frame;
    `shape` `[468, 3]` is the person's mesh in the head frame (cm); `blendshapes` is the picture's
    own expression. `lined_eyes` of a drawing are surrounded by a line that moves with the lids.
    """

    image: RGB
    landmarks: Array
    scale: float
    rotation: Array
    translation: Array
    shape: Array
    blendshapes: dict[str, float]
    canonical: CanonicalMesh
    glasses: bool
    lined_eyes: bool
    box: Box
    confidence: float
    index: int
    count: int
    warnings: tuple[str, ...]

    @property
    def mouth_gap(self) -> float:
        """The opening between the lips in the middle, in cm."""
        return float(self.shape[14, 1] - self.shape[13, 1])

    @property
    def mouth_open(self) -> bool:
        """Whether the picture shows the inside of the mouth."""
        return self.mouth_gap > OPEN_MOUTH_CM

    @property
    def angles(self) -> tuple[float, float, float]:
        """The head's own yaw, pitch and roll in the picture, in degrees."""
        return head_angles(self.rotation)


@cache
def face_landmarker() -> FaceLandmarker:
    """Return the landmarker that all fits of this process share."""
    return FaceLandmarker()


def fit_face(image: RGB, face: int | None = None) -> FaceFit:
    """Fit the face of RGB `[H, W, 3]`; `face` picks one by size (1 the largest, the default).

    Raises `MediaError` where there is no face, the face is too small, or `face` is out of range.
    """
    height, width = image.shape[:2]
    landmarker = face_landmarker()
    faces = landmarker.detect(image) if min(height, width) >= 8 else []
    if not faces:
        raise MediaError(
            f"no face was found in the picture ({width}x{height} pixels)",
            "use a picture with one clearly visible face, seen from the front",
        )
    index = 0 if face is None else face - 1
    if not 0 <= index < len(faces):
        raise MediaError(
            f"face {face} does not exist: the picture shows {len(faces)} "
            f"{'face' if len(faces) == 1 else 'faces'}",
            "faces are numbered from 1, the largest first",
        )
    pixels = faces[index].box[2]
    if pixels < MIN_FACE_PIXELS:
        raise MediaError(
            f"the face is {pixels:.0f} pixels wide, less than {MIN_FACE_PIXELS}",
            "use a larger picture, or cut the face out of the original",
        )
    found = landmarker.refine(image, faces[index])
    scale, rotation, translation = landmarker.head_pose(found)
    lined = on_the_lines(image, found.points, scale, landmarker.canonical)
    shape = _head_frame(lined.landmarks[:NUM_MESH], scale, rotation, translation)
    fit = FaceFit(
        image=image,
        landmarks=lined.landmarks,
        scale=scale,
        rotation=rotation,
        translation=translation,
        shape=shape,
        blendshapes=landmarker.blendshapes(found),
        canonical=landmarker.canonical,
        glasses=wears_glasses(image, shape, scale, rotation, translation),
        lined_eyes=lined.eyes,
        box=found.box,
        confidence=found.confidence,
        index=index,
        count=len(faces),
        warnings=(),
    )
    if not fit.mouth_open:
        fit = _with_closed_seam(fit, snap=not lined.lips)
    return replace(fit, warnings=_warnings(fit))


def frame_crop(image_size: tuple[int, int], face_box: Box, target: tuple[int, int]) -> Box:
    """Return the part (left, top, width, height) of a picture that fills `target` around the face.

    `image_size` and `target` are (width, height); the part has the target's shape and is as large
    as the picture allows. The face lies in its middle, a little above half height.
    """
    width, height = image_size
    zoom = max(target[0] / width, target[1] / height)
    crop_width, crop_height = target[0] / zoom, target[1] / zoom
    x, y, w, h = face_box
    left = np.clip(x + w / 2 - crop_width / 2, 0.0, width - crop_width)
    top = np.clip(y + h / 2 - 0.45 * crop_height, 0.0, height - crop_height)
    return float(left), float(top), float(crop_width), float(crop_height)


def default_size(image_size: tuple[int, int], longest: int = 1024) -> tuple[int, int]:
    """Return the output size for a picture: its own, at most `longest` on a side, even numbers."""
    width, height = image_size
    zoom = min(1.0, longest / max(width, height))
    return max(2, round(width * zoom / 2) * 2), max(2, round(height * zoom / 2) * 2)


def head_pose_of(canonical: CanonicalMesh, landmarks: Array) -> tuple[float, float, float]:
    """Return (yaw, pitch, roll) in degrees that a landmark fit `[478, 3]` measures."""
    _, rotation, _ = similarity(canonical.vertices, landmarks[:NUM_MESH], canonical.weights)
    return head_angles(rotation)


def _head_frame(points: Array, scale: float, rotation: Array, translation: Array) -> Array:
    return np.asarray((points - translation) @ rotation / scale)


def _with_closed_seam(fit: FaceFit, snap: bool) -> FaceFit:
    """Move both inner lip edges onto one line, the dark one by `snap`, so that they part there."""
    landmarks = fit.landmarks.copy()
    upper, lower = list(UPPER_INNER), list(LOWER_INNER)
    seam = (landmarks[upper, :2] + landmarks[lower, :2]) / 2
    if snap:
        seam = snap_lip_seam(fit.image, landmarks, fit.scale)
    landmarks[upper, :2] = landmarks[lower, :2] = seam
    landmarks[upper, 2] = landmarks[lower, 2] = (landmarks[upper, 2] + landmarks[lower, 2]) / 2
    shape = _head_frame(landmarks[:NUM_MESH], fit.scale, fit.rotation, fit.translation)
    return replace(fit, landmarks=landmarks, shape=shape)


def _warnings(fit: FaceFit) -> tuple[str, ...]:
    notes = []
    yaw = fit.angles[0]
    if abs(yaw) > PROFILE_DEGREES:
        notes.append(
            f"the head is turned {abs(yaw):.0f} degrees: a picture from the front looks better"
        )
    if fit.confidence < LOW_CONFIDENCE:
        notes.append(f"the face is hard to read (confidence {fit.confidence:.2f}): is it covered?")
    if fit.box[2] < SMALL_FACE_PIXELS:
        notes.append(f"the face is only {fit.box[2]:.0f} pixels wide: the mouth will be blurred")
    return tuple(notes)
