"""Where faces are: a short-range detector (BlazeFace), run on the picture and on tiles of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.nets import RGB, load, run, sigmoid

# The landmark net was trained on the box of the landmarks, made square and half as large again.
BOX_MARGIN = 1.5
_SIDE = 128
_THRESHOLD = 0.5
_TILE_THRESHOLD = 0.6


@dataclass(frozen=True, slots=True)
class Region:
    """A square that a face fills: centre and side in pixels, turned by `angle` radians."""

    x: float
    y: float
    side: float
    angle: float

    def scaled(self, factor: float) -> "Region":
        """Return the region in a picture that is `factor` times as large."""
        return Region(self.x * factor, self.y * factor, self.side * factor, self.angle)

    def overlaps(self, other: "Region") -> bool:
        """Return whether both can only be the same face."""
        apart = float(np.hypot(self.x - other.x, self.y - other.y))
        return apart < 0.35 * max(self.side, other.side)


@dataclass(frozen=True, slots=True)
class _Detection:
    score: float
    region: Region


class FaceDetector:
    """Finds the faces of a picture, also those that are small in it."""

    def __init__(self, model: bytes) -> None:
        self._net: Any = load(model)

    def find(self, image: RGB) -> list[Region]:
        """Return the regions of all faces, the most certain first."""
        return [found.region for found in _without_overlap(self._in_tiles(image))]

    def _in_tiles(self, image: RGB) -> list[_Detection]:
        height, width = image.shape[:2]
        found = self._in_tile(image, 0, 0, _THRESHOLD)
        for x, y, side in _tiles(width, height):
            found += self._in_tile(image[y : y + side, x : x + side], x, y, _TILE_THRESHOLD)
        return found

    def _in_tile(self, tile: RGB, left: int, top: int, threshold: float) -> list[_Detection]:
        square, zoom, shift = _letterbox(tile)
        boxes, logits = run(self._net, square[None].astype(np.float32) / 127.5 - 1.0)
        scores = sigmoid(logits[0, :, 0])
        # A row is a centre, a size and six key points, relative to its anchor, in detector pixels.
        keep = np.flatnonzero(scores >= threshold)
        rows = boxes[0, keep].reshape(len(keep), 8, 2).astype(np.float64)
        rows[:, [0, 2, 3, 4, 5, 6, 7]] += _anchors()[keep, None] * _SIDE
        centres = (rows[:, 0] - shift) / zoom + (left, top)
        sides = BOX_MARGIN * rows[:, 1].max(1) / zoom
        eyes = rows[:, 3] - rows[:, 2]
        angles = np.arctan2(eyes[:, 1], eyes[:, 0])
        return [
            _Detection(float(score), Region(float(x), float(y), float(side), float(angle)))
            for score, (x, y), side, angle in zip(scores[keep], centres, sides, angles, strict=True)
        ]


def _letterbox(tile: RGB) -> tuple[RGB, float, Array]:
    """Return a tile in the middle of a black square of the net's side, its zoom and its offset."""
    height, width = tile.shape[:2]
    zoom = _SIDE / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    small = cv2.resize(tile, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    x, y = (_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2
    square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    square[y : y + size[1], x : x + size[0]] = small
    return square, zoom, np.array([x, y], np.float64)


@cache
def _anchors() -> Array:
    """Return the anchors' centres `[896, 2]` (0..1): 2 per cell of 16x16, 6 per cell of 8x8."""
    centres = []
    for stride, repeat in ((8, 2), (16, 6)):
        cells = _SIDE // stride
        y, x = np.mgrid[:cells, :cells]
        centres.append(
            np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells, repeat, axis=0)
        )
    return np.concatenate(centres)


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Yield half-overlapping squares (left, top, side) of three sizes."""
    for share in (1.0, 0.6, 0.36):
        side = int(min(width, height) * share)
        if side < 64 or (share == 1.0 and width == height):
            continue
        for y in _starts(height, side):
            for x in _starts(width, side):
                yield x, y, side


def _starts(length: int, side: int) -> list[int]:
    count = 1 + int(np.ceil((length - side) / (side * 0.5)))
    return sorted({int(v) for v in np.linspace(0, length - side, count)})


def _without_overlap(found: list[_Detection]) -> list[_Detection]:
    kept: list[_Detection] = []
    for candidate in sorted(found, key=lambda d: -d.score):
        if not any(candidate.region.overlaps(other.region) for other in kept):
            kept.append(candidate)
    return kept
