"""Unfold the far cheek of a turned head: no triangle may lie upside down in the picture.

A landmark net puts some vertices of the cheek that is turned away beyond the face's outline. Such
triangles would show the picture inside out once the head turns back.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from liveact_cli.mini.face.geometry import Array

_ROUNDS = 400
_SHARE = 0.15
"""A triangle is upright when its area is at least this share of the typical one's."""


def around(outline: Array, features: Array, inside: float) -> Array:
    """Return a closed `outline` `[N, 2]` pushed out so that `features` lie `inside` it by so much.

    On drawings the outline that a landmark net finds may cut through an eye.
    """
    placed = outline.copy()
    centre = outline.mean(0)
    for feature in features:
        contour = placed.astype(np.float32).reshape(-1, 1, 2)
        at = (float(feature[0]), float(feature[1]))
        missing = inside - cv2.pointPolygonTest(contour, at, measureDist=True)
        if missing <= 0.0:
            continue
        outward = feature - centre
        outward /= np.linalg.norm(outward)
        distance = np.linalg.norm(placed - feature, axis=1) / (4.0 * inside)
        placed += missing * np.exp(-(distance**2))[:, None] * outward
    return placed


def unfolded(points: Array, triangles: NDArray[np.int32], movable: NDArray[np.bool_]) -> Array:
    """Return `points` `[N, 2]` in which `movable` ones have left upside-down `triangles`.

    Vertices of such a triangle, and those next to them, go to the middle of their neighbours.
    """
    areas = _areas(points, triangles)
    facing = np.sign(np.median(areas))
    least = _SHARE * abs(float(np.median(areas)))
    neighbours = _neighbours(len(points), triangles)
    placed = points.copy()
    for _ in range(_ROUNDS):
        bad = triangles[facing * _areas(placed, triangles) < least]
        bad = bad[movable[bad].any(1)]
        if not len(bad):
            break
        touched = np.zeros(len(points))
        touched[bad] = 1.0
        moving = ((neighbours @ touched + touched) > 0) & movable
        placed[moving] += 0.5 * ((neighbours @ placed)[moving] - placed[moving])
    return placed


def _areas(points: Array, triangles: NDArray[np.int32]) -> Array:
    a, b, c = (points[triangles[:, i]] for i in range(3))
    first, second = b - a, c - a
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


def _neighbours(count: int, triangles: NDArray[np.int32]) -> csr_array:
    """Return the matrix `[N, N]` that takes each vertex to the middle of its neighbours."""
    pairs = np.concatenate([triangles[:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))])
    both = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    degree = np.bincount(both[:, 0], minlength=count)
    return csr_array((1.0 / degree[both[:, 0]], (both[:, 0], both[:, 1])), shape=(count, count))
