"""Rotations and fits of the head frame: cm, x to image right, y down, z away from the viewer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def similarity(source: Array, target: Array, weights: Array) -> tuple[float, Array, Array]:
    """Return scale, rotation R and translation with `target ~ scale * source @ R.T + translation`.

    Both `[N, 3]`, weights `[N]`. Umeyama 1991.
    """
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    a, b = source - source_mean, target - target_mean
    u, spectrum, vt = np.linalg.svd((b * share[:, None]).T @ a)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ flip @ vt
    scale = float(np.trace(np.diag(spectrum) @ flip) / (share @ (a * a).sum(1)))
    return scale, rotation, target_mean - scale * rotation @ source_mean


def head_rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Return the rotation `[3, 3]` of angles in degrees, signs as in `liveact_cli.mini.motion`."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def head_angles(rotation: Array) -> tuple[float, float, float]:
    """Return (yaw, pitch, roll) in degrees of a rotation, the inverse of `head_rotation`."""
    pitch = np.arcsin(np.clip(rotation[2, 1], -1.0, 1.0))
    yaw = np.arctan2(rotation[2, 0], rotation[2, 2])
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    return float(np.rad2deg(yaw)), float(np.rad2deg(pitch)), float(np.rad2deg(roll))


def smoothstep(x: NDArray[np.floating[Any]] | float) -> Any:
    """Return the cubic ramp from 0 at x <= 0 to 1 at x >= 1, shaped like `x`."""
    t = np.clip(x, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
