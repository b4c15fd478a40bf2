"""Faces, 478 landmarks and 52 blendshape scores of a picture, with LiteRT alone.

The networks are MediaPipe's `face_landmarker.task` (Apache-2.0): a zip of a short-range detector
(BlazeFace), a landmark net with irises, a blendshape scorer and the canonical face mesh.
"""

import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import cv2
import numpy as np

from liveact_cli.mini.face.canonical import NUM_MESH, CanonicalMesh, read_canonical
from liveact_cli.mini.face.detector import BOX_MARGIN, FaceDetector, Region
from liveact_cli.mini.face.geometry import Array, similarity
from liveact_cli.mini.face.nets import RGB, load, run, sigmoid, warp

_BLENDSHAPE_NAMES = (
    "_neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff "
    "cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft "
    "eyeLookDownRight eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft "
    "eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft "
    "jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight "
    "mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight "
    "mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper "
    "mouthSmileLeft mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft "
    "mouthUpperUpRight noseSneerLeft noseSneerRight"
)
BLENDSHAPES = tuple(_BLENDSHAPE_NAMES.split())

# The landmarks that the blendshape net reads, in its order (MediaPipe, face_blendshapes_graph).
_BLENDSHAPE_LANDMARK_NUMBERS = (
    "0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 "
    "87 88 91 93 95 103 105 107 109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 "
    "158 159 160 161 162 163 168 172 173 176 178 181 185 191 195 197 234 246 249 251 263 267 269 "
    "270 276 282 283 284 285 288 291 293 295 296 297 300 308 310 311 312 314 317 318 321 323 324 "
    "332 334 336 338 356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386 387 388 389 "
    "390 397 398 400 402 405 409 415 454 466 468 469 470 471 472 473 474 475 476 477"
)
_BLENDSHAPE_LANDMARKS = np.array(_BLENDSHAPE_LANDMARK_NUMBERS.split(), np.intp)

_LANDMARK_SIDE = 256
_MAX_DETECTION_SIDE = 2048
_LANDMARK_THRESHOLD = 0.5
_EYE_OUTER = (33, 263)
# Averaging the net over slightly shifted, scaled crops halves its pixel noise.
_JITTER = ((0.0, 0.0, 1.0), (0.02, 0.01, 1.04), (-0.02, 0.012, 0.97), (0.01, -0.02, 1.02))


@dataclass(frozen=True, slots=True)
class Landmarks:
    """One face: landmarks `[478, 3]` in pixels, z > 0 away from the viewer; confidence 0..1."""

    points: Array
    confidence: float
    region: Region

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height in pixels of the mesh landmarks."""
        low, high = self.points[:NUM_MESH, :2].min(0), self.points[:NUM_MESH, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


class FaceLandmarker:
    """Detects faces, reads landmarks and blendshapes; one instance serves many pictures."""

    def __init__(self) -> None:
        data = files("liveact_cli").joinpath("data", "face_landmarker.task").read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            self._detector = FaceDetector(bundle.read("face_detector.tflite"))
            self._landmarker = load(bundle.read("face_landmarks_detector.tflite"))
            self._blendshaper = load(bundle.read("face_blendshapes.tflite"))
            self._geometry = bundle.read("geometry_pipeline_metadata_landmarks.binarypb")

    @cached_property
    def canonical(self) -> CanonicalMesh:
        """The canonical face mesh that comes with the networks."""
        return read_canonical(self._geometry)

    def detect(self, image: RGB) -> list[Landmarks]:
        """Return every face of RGB `[H, W, 3]`, largest first, small ones too."""
        shrink = min(1.0, _MAX_DETECTION_SIDE / max(image.shape[:2]))
        small = image
        if shrink < 1.0:
            small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        faces: list[Landmarks] = []
        for region in self._detector.find(small):
            face = self.track(image, region.scaled(1.0 / shrink), passes=2)
            seen = any(face.region.overlaps(other.region) for other in faces)
            if face.confidence >= _LANDMARK_THRESHOLD and not seen:
                faces.append(face)
        return sorted(faces, key=lambda face: -face.region.side)

    def track(self, image: RGB, region: Region, passes: int = 1) -> Landmarks:
        """Return the landmarks of the face inside `region`, which each pass makes more precise."""
        for _ in range(passes):
            points, confidence = self._read_landmarks(image, region)
            region = _region_of(points)
        return Landmarks(points, confidence, region)

    def refine(self, image: RGB, face: Landmarks) -> Landmarks:
        """Return `face` averaged over slightly different crops: less noise, four times the work."""
        around, total, confidence = face.region, np.zeros_like(face.points), 0.0
        for dx, dy, zoom in _JITTER:
            region = Region(
                around.x + dx * around.side,
                around.y + dy * around.side,
                around.side * zoom,
                around.angle,
            )
            points, score = self._read_landmarks(image, region)
            total += points
            confidence += score
        points = total / len(_JITTER)
        return Landmarks(points, confidence / len(_JITTER), _region_of(points))

    def blendshapes(self, face: Landmarks) -> dict[str, float]:
        """Return the 52 ARKit blendshape scores (0..1) of a face."""
        points = face.points[_BLENDSHAPE_LANDMARKS, :2].astype(np.float32)
        (scores,) = run(self._blendshaper, points[None])
        return dict(zip(BLENDSHAPES, (float(s) for s in scores.ravel()), strict=True))

    def head_pose(self, face: Landmarks) -> tuple[float, Array, Array]:
        """Return scale (px/cm), rotation `[3, 3]`, translation `[3]` (px) of the canonical mesh."""
        mesh = self.canonical
        return similarity(mesh.vertices, face.points[:NUM_MESH], mesh.weights)

    def _read_landmarks(self, image: RGB, region: Region) -> tuple[Array, float]:
        zoom = _LANDMARK_SIDE / region.side
        cos, sin = np.cos(region.angle) * zoom, np.sin(region.angle) * zoom
        half = _LANDMARK_SIDE / 2
        to_crop = np.array(
            [
                [cos, sin, half - cos * region.x - sin * region.y],
                [-sin, cos, half + sin * region.x - cos * region.y],
            ]
        )
        crop = warp(image, to_crop, _LANDMARK_SIDE, zoom)
        raw, presence, _ = run(self._landmarker, crop[None].astype(np.float32) / 255.0)
        points = raw.reshape(-1, 3).astype(np.float64)
        back = cv2.invertAffineTransform(to_crop)
        found = np.column_stack([points[:, :2] @ back[:, :2].T + back[:, 2], points[:, 2] / zoom])
        return found, float(sigmoid(presence.ravel()[:1])[0])


def _region_of(points: Array) -> Region:
    right, left = points[_EYE_OUTER[0], :2], points[_EYE_OUTER[1], :2]
    angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
    upright = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = points[:, :2] @ upright.T
    low, high = turned.min(0), turned.max(0)
    x, y = upright.T @ ((low + high) / 2)
    return Region(float(x), float(y), BOX_MARGIN * float((high - low).max()), angle)
