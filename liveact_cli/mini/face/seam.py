"""The line where closed lips meet: the landmarks miss it by a few pixels, the dark row does not."""

import cv2
import numpy as np

from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.topology import LOWER_INNER, UPPER_INNER

_SEARCH_CM = 0.28
_STATIONS = 41
_STEPS = 29
# Cost of leaving the landmarks' line, and of bending, against the darkness (0..1 of its own range).
_AWAY_COST = 0.35
_BEND_COST = 0.02


def snap_lip_seam(image: RGB, landmarks: Array, scale: float) -> Array:
    """Return `[11, 2]` picture positions of the seam between closed lips, corner to corner.

    `landmarks` `[478, 3]` in pixels, `scale` in px per cm. The path of least brightness near the
    landmarks' middle line is found by dynamic programming; its ends stay at the corners.
    """
    middle = (landmarks[list(UPPER_INNER), :2] + landmarks[list(LOWER_INNER), :2]) / 2
    across = middle[-1] - middle[0]
    down = np.array([-across[1], across[0]]) / np.linalg.norm(across)
    stations = np.linspace(0, 10, _STATIONS)
    line = np.stack([np.interp(stations, np.arange(11), middle[:, k]) for k in (0, 1)], 1)
    shift = np.linspace(-1, 1, _STEPS) * _SEARCH_CM * scale
    grid = line[None] + shift[:, None, None] * down  # [steps, stations, 2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    bright = cv2.remap(
        grey, grid[..., 0].astype(np.float32), grid[..., 1].astype(np.float32), cv2.INTER_LINEAR
    ).astype(np.float64)
    bright = cv2.GaussianBlur(bright, (0, 0), 0.8)
    span = np.maximum(bright.max(0) - bright.min(0), 12.0)
    cost = (bright - bright.min(0)) / span + _AWAY_COST * (shift[:, None] / shift[-1]) ** 2
    # Toward the corners the picture says little: hold on to the landmarks.
    ends = np.abs(stations / 5 - 1) ** 4
    cost = cost * (1 - ends) + 3 * ends * (shift[:, None] / shift[-1]) ** 2
    offset = _smooth(shift[cheapest_path(cost, _BEND_COST)])
    at = np.interp(np.arange(11), stations, offset)
    at[[0, -1]] = 0.0
    return np.asarray(middle + at[:, None] * down)


def cheapest_path(cost: Array, bending: float) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Return the row in each column of `cost` whose sum is least; `bending` costs steps squared."""
    steps, stations = cost.shape
    bend = bending * (np.arange(steps)[:, None] - np.arange(steps)) ** 2
    total, back = cost[:, 0].copy(), np.zeros((stations, steps), np.intp)
    for j in range(1, stations):
        reach = total[None] + bend
        back[j] = reach.argmin(1)
        total = reach.min(1) + cost[:, j]
    path = np.zeros(stations, np.intp)
    path[-1] = total.argmin()
    for j in range(stations - 1, 0, -1):
        path[j - 1] = back[j, path[j]]
    return path


def _smooth(values: Array) -> Array:
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return np.convolve(np.pad(values, 2, mode="edge"), kernel, mode="valid")
