"""What closed eyes look like: smooth lid skin and a line of lashes, painted once per person.

Stretching the few pixels of an open lid over the eye smears crease and lashes. Instead the closed
lid takes the colour of the skin around the eye, and keeps the picture's own crease.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.nets import RGB

Float = NDArray[np.float32]

_FINE = 4
"""Lids are painted at this multiple of the frame and shrunk, so that lashes stay smooth."""
_CREASE_CM = 0.13
"""Width of the transition from the picture's crease to the painted skin."""
_LASH_CM = 0.075
_AROUND_CM = 1.1


def paint_closed_lid(
    canvas: RGB, picture: RGB, opening: Array, crease: Array, edge: Array, scale: float
) -> None:
    """Paint one closed lid into `canvas`, a frame with the lids already moved down.

    All in frame pixels: `opening` is the open eye's outline in `picture`; `crease` and `edge` are
    the upper and the lower border of the closed lid; `scale` is px per cm.
    """
    outline = np.concatenate([crease, edge[::-1]])
    margin = _AROUND_CM * scale
    low = np.maximum(np.floor(np.minimum(outline.min(0), opening.min(0)) - margin), 0).astype(int)
    high = np.ceil(np.maximum(outline.max(0), opening.max(0)) + margin).astype(int) + 1
    high = np.minimum(high, [picture.shape[1], picture.shape[0]])
    if (high - low).min() < 4:
        return
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    skin, lash = _colours(picture[window], opening - low, scale)
    size = tuple(int(v) for v in (high - low) * _FINE)
    fine = cv2.resize(canvas[window], size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    skin = cv2.resize(skin, size, interpolation=cv2.INTER_LINEAR)

    detail = _skin_texture(picture, outline, low, high, scale)
    texture = cv2.resize(detail, size, interpolation=cv2.INTER_LINEAR)

    def to_fine(points: Array) -> NDArray[np.int32]:
        return np.round(((points - low + 0.5) * _FINE - 0.5) * 16).astype(np.int32)

    lid = np.zeros(fine.shape[:2], np.uint8)
    cv2.fillPoly(lid, [to_fine(outline)], 255, cv2.LINE_AA, 4)
    cm = np.float32(1.0 / (scale * _FINE))
    below_crease = _distance(fine.shape[:2], to_fine(crease)) * cm
    above_edge = _distance(fine.shape[:2], to_fine(edge)) * cm
    place = below_crease / np.maximum(below_crease + above_edge, 1e-3)  # 0 crease .. 1 edge
    shade = 0.95 + 0.09 * np.sin(np.pi * np.clip(place, 0, 1)) - 0.05 * smoothstep(place * 4 - 3)
    share = smoothstep(below_crease / _CREASE_CM) * (lid / 255.0)
    # Half of the light and shade is the stretched lid's own, without its lashes and streaks.
    own = cv2.GaussianBlur(fine, (0, 0), 0.14 * scale * _FINE)
    own = np.clip(own, 0.86 * skin, 1.12 * skin)
    painted = (0.5 * skin + 0.5 * own) * shade[..., None] + texture
    fine += (painted - fine) * share[..., None]
    thickness = max(_LASH_CM, 0.8 / scale)  # at least visible: one pixel
    line = _lash_line(above_edge, to_fine(edge), fine.shape[:2], thickness)
    fine += (lash - fine) * line[..., None]
    small = cv2.resize(fine, tuple(int(v) for v in high - low), interpolation=cv2.INTER_AREA)
    touched = cv2.resize(
        np.maximum(lid / 255.0, above_edge < 2 * _LASH_CM).astype(np.float32),
        tuple(int(v) for v in high - low),
        interpolation=cv2.INTER_AREA,
    )[..., None]
    mixed = canvas[window] * (1 - touched) + small * touched
    canvas[window] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _colours(around: RGB, opening: Array, scale: float) -> tuple[Float, Float]:
    """Return the smooth skin `[h, w, 3]` around an eye and the colour of its lashes `[3]`."""
    image = around.astype(np.float32)
    grey = cv2.cvtColor(around, cv2.COLOR_RGB2GRAY).astype(np.float32)
    eye = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(eye, [np.round(opening * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    size = 2 * round(0.22 * scale) + 1
    wide = cv2.dilate(eye, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    outside = wide == 0
    typical = float(np.percentile(grey[outside], 60)) if outside.any() else float(grey.mean())
    # Brows, frames of glasses, hair and glints are not skin.
    likeness = np.exp(-(((grey - typical) / (0.22 * typical + 6)) ** 2)).astype(np.float32)
    weight = likeness * outside
    sigma = max(1.0, 0.35 * scale)
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    colour = cv2.GaussianBlur(image * weight[..., None], (0, 0), sigma)
    mean = (image * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-3)
    skin = (colour + 0.02 * mean) / (total + 0.02)[..., None]
    rim = (wide > 0) & (cv2.erode(eye, np.ones((3, 3), np.uint8)) == 0)
    dark = image[rim & (grey <= np.percentile(grey[rim], 12))] if rim.any() else mean[None]
    lash = np.minimum(dark.mean(0), 0.72 * mean)
    return skin.astype(np.float32), lash.astype(np.float32)


def _skin_texture(picture: RGB, outline: Array, low: Array, high: Array, scale: float) -> Float:
    """Return the fine texture of the skin right below the eye, for the window `low`..`high`."""
    down = round(float(np.ptp(outline[:, 1])) + 0.25 * scale)
    x = np.clip(np.arange(low[0], high[0]), 0, picture.shape[1] - 1)
    y = np.clip(np.arange(low[1], high[1]) + down, 0, picture.shape[0] - 1)
    skin = picture[np.ix_(y, x)].astype(np.float32)
    fine = skin - cv2.GaussianBlur(skin, (0, 0), max(1.0, 0.12 * scale))
    limit = 2.5 * float(np.median(np.abs(fine))) + 1.0
    return np.asarray(np.clip(fine, -limit, limit), np.float32)


def _distance(shape: tuple[int, ...], line: NDArray[np.int32]) -> Float:
    free = np.full(shape, 255, np.uint8)
    cv2.polylines(free, [line], False, 0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 5), np.float32)


def _lash_line(
    distance: Float, edge: NDArray[np.int32], shape: tuple[int, ...], thickness: float
) -> Float:
    """Return the opacity of the lashes: a line that tapers into the corners."""
    # The left eye's row begins at image right.
    first, last = sorted((edge[0, 0] / 16, edge[-1, 0] / 16))
    along = np.abs((np.arange(shape[1]) - first) / max(last - first, 1e-3) * 2 - 1)
    taper = 1.0 - 0.6 * smoothstep((along - 0.35) / 0.65)
    inside = along < 1.02
    width = thickness * np.maximum(taper, 0.35)
    # It lies just above the border, on the lid itself.
    line = (
        0.85 * np.exp(-(((distance - 0.4 * thickness) / width[None]) ** 2)) * (taper * inside)[None]
    )
    return np.asarray(line, np.float32)
