"""Folds and furrows: what moving skin throws up is light and shade, which no mesh shows.

Each crease is a curve over the person's own face, tied to an expression of the basis. It is drawn
once, in the picture, as a valley with a lit ridge beside it; a frame adds up those of its
expressions and takes them along with the skin.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numba
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from liveact_cli.mini.face.folds import MIDDLE, ROOT, SIDED, Crease
from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.raster import FAR
from liveact_cli.mini.face.topology import CHEEK_SKIN

if TYPE_CHECKING:
    from liveact_cli.mini.face.mesh import HeadModel

Float = NDArray[np.float32]
_PX_PER_CM: Final = 12.0
_STEP_CM: Final = 0.05
_FADED_CM: Final = 0.5
"""How far inside the outline of the face folds are whole."""
_LEAST: Final = 0.05
"""Expressions fainter than this fold nothing."""


@dataclass(frozen=True, slots=True)
class _Folds:
    """The creases of one expression of the basis: their light, and where it begins."""

    index: int
    left: int
    top: int
    light: Float


@dataclass(frozen=True, slots=True)
class Light:
    """Light on the skin, -1 to 1, for the part of the picture from `low` to `high` (x, y)."""

    gain: Float
    low: Array
    high: Array


class Creases:
    """The folds of one person's face."""

    def __init__(
        self, head: "HeadModel", picture: RGB, softness: float, glasses: bool, flat: float
    ) -> None:
        """Draw every crease; `softness` is the width of the picture's edges in pixels.

        Soft shade would look like dirt on a drawing in `flat` (1) colours.
        """
        outline = head.source[head.oval]
        low, high = outline.min(0) - 2.0, outline.max(0) + 2.0
        self._zoom = min(1.0, _PX_PER_CM / head.scale)
        self._low = low
        self._size = np.ceil((high - low) * self._zoom).astype(int) + 1
        self._blur = max(0.7, softness) / head.scale
        self._head = head
        mirror = _mirrored(head)
        skin = self._skin(picture) * np.float32(1.0 - flat)
        found: dict[str, Float] = {}
        for crease in SIDED:
            for side, other, sign in (("Right", None, -1.0), ("Left", mirror, 1.0)):
                line = self._line(crease, other, sign)
                # Seen along its way, "outward" lies to the right on the right side of the face.
                self._draw(found, crease, side, line, sign)
        for crease in MIDDLE if glasses else ROOT + MIDDLE:
            line = self._line(crease, None, 1.0)
            for side in ("Right", "Left") if "*" in crease.on else ("",):
                self._draw(found, crease, side, line, 1.0, 0.5 if side else 1.0)
        cut = (_cut(head.names.index(name), light * skin) for name, light in found.items())
        self._folds = [folds for folds in cut if folds.light.size]
        self._tint = _tint(head, picture)

    def light(self, coefficients: Array) -> Light | None:
        """Return how much darker or lighter the skin gets, or None where it stays as it is."""
        active = [
            (folds, float(coefficients[folds.index]) - _LEAST)
            for folds in self._folds
            if coefficients[folds.index] > _LEAST
        ]
        if not active:
            return None
        left = min(folds.left for folds, _ in active)
        top = min(folds.top for folds, _ in active)
        right = max(folds.left + folds.light.shape[1] for folds, _ in active)
        bottom = max(folds.top + folds.light.shape[0] for folds, _ in active)
        gain = np.zeros((bottom - top, right - left), np.float32)
        for folds, share in active:
            height, width = folds.light.shape
            y, x = folds.top - top, folds.left - left
            gain[y : y + height, x : x + width] += np.float32(min(share, 1.6)) * folds.light
        low = self._low + np.array([left, top]) / self._zoom
        return Light(gain, low, low + np.array(gain.shape[::-1]) / self._zoom)

    def shade(
        self, frame: RGB, maps: tuple[Float, Float, Float], light: Light, zoom: float, margin: float
    ) -> None:
        """Lay `light` on `frame` `[h, w, 3]`.

        `maps` say where in the texture its pixels lie (x, y) and how deep (`FAR`: no skin); the
        texture is `zoom` times as fine as the picture, with a `margin` of so many of its pixels.
        """
        shift = -(light.low + margin) * self._zoom
        numbers = np.array([self._zoom / zoom, shift[0], shift[1]], np.float32)
        shade_pixels(frame, *maps, light.gain, numbers, self._tint)

    # --- set-up

    def _line(self, crease: Crease, mirror: NDArray[np.intp] | None, sign: float) -> Array:
        """Return a smooth line `[n, 2]` in map pixels through a crease's places."""
        head = self._head
        points = []
        for vertex, outward, down in crease.places:
            at = head.shape[vertex if mirror is None else mirror[vertex]]
            points.append(at + np.array([sign * outward, down, 0.0]))
        placed = head.scale * np.array(points) @ head.rotation.T + head.translation
        flat = (placed[:, :2] - self._low) * self._zoom
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(flat, axis=0), axis=1))])
        count = max(8, int(along[-1] / (_STEP_CM * head.scale * self._zoom)))
        spline = CubicSpline(along, flat, bc_type="natural")
        return np.asarray(spline(np.linspace(0.0, along[-1], count)))

    def _draw(
        self,
        found: dict[str, Float],
        crease: Crease,
        side: str,
        line: Array,
        sign: float,
        share: float = 1.0,
    ) -> None:
        """Add a crease to the light of its expression."""
        cm = self._head.scale * self._zoom
        width = float(np.hypot(crease.width, self._blur))
        thinner = crease.width / width  # a blurred crease is shallower
        light = _profile(line, self._size, width * cm, crease.ridge * sign)
        name = crease.on.replace("*", side)
        total = found.setdefault(name, np.zeros((self._size[1], self._size[0]), np.float32))
        total += np.float32(crease.depth * share * thinner) * light

    def _skin(self, picture: RGB) -> Float:
        """Return where there is skin, 0..1: hair, frames and hats do not fold."""
        zoom, (width, height) = self._zoom, self._size
        to_picture = np.array([[1 / zoom, 0, self._low[0]], [0, 1 / zoom, self._low[1]]])
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        smooth = cv2.GaussianBlur(grey, (0, 0), max(0.8, 0.15 * self._head.scale))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(
            smooth,
            to_picture,
            (int(width), int(height)),
            flags=flags,
            borderMode=cv2.BORDER_REPLICATE,
        )
        typical = float(np.median(_cheeks(self._head, smooth)))
        bright = smoothstep((seen / max(typical, 1.0) - 0.25) / 0.3)
        return np.asarray(bright * self._inside(), np.float32)

    def _inside(self) -> Float:
        """Return 1 on the face, 0 from its outline on: a fold that reaches beyond ends there."""
        face = np.zeros((self._size[1], self._size[0]), np.uint8)
        outline = (self._head.source[self._head.oval] - self._low) * self._zoom
        cv2.fillPoly(face, [np.round(outline).astype(np.int32)], 1)
        away = cv2.distanceTransform(face, cv2.DIST_L2, 3) / (self._head.scale * self._zoom)
        return np.asarray(smoothstep(away / _FADED_CM), np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True, boundscheck=False)
def shade_pixels(
    frame: NDArray[np.uint8],
    map_x: Float,
    map_y: Float,
    nearest: Float,
    light: Float,
    numbers: Float,
    tint: Float,
) -> None:
    """Multiply the pixels of `frame` `[h, w, 3]` by 1 + `light` where they show it.

    `numbers` are the scale and shift that take `map_x`, `map_y` into `light`; nothing is drawn
    where `nearest` is `FAR`; `tint` `[3]` says how much of the shade each colour takes.
    """
    height, width = map_x.shape
    right, bottom = np.float32(light.shape[1] - 1), np.float32(light.shape[0] - 1)
    scale, left, top = numbers[0], numbers[1], numbers[2]
    one, half, white = np.float32(1), np.float32(0.5), np.float32(255)
    for y in range(height):
        for x in range(width):
            u = map_x[y, x] * scale + left
            v = map_y[y, x] * scale + top
            if u < 0 or v < 0 or u >= right or v >= bottom:
                continue
            i, j = int(u), int(v)
            if light[j, i] == 0 and light[j + 1, i + 1] == 0:
                continue
            if nearest[y, x] == FAR:
                continue
            fx, fy = u - np.float32(i), v - np.float32(j)
            upper = light[j, i] + (light[j, i + 1] - light[j, i]) * fx
            lower = light[j + 1, i] + (light[j + 1, i + 1] - light[j + 1, i]) * fx
            gain = upper + (lower - upper) * fy
            for c in range(3):
                value = np.float32(frame[y, x, c]) * (one + gain * tint[c]) + half
                frame[y, x, c] = np.uint8(min(value, white))


def _mirrored(head: "HeadModel") -> NDArray[np.intp]:
    """Return the vertex `[468]` on the other side of the face for each one."""
    rest = head.rest_shape
    other = rest * (-1.0, 1.0, 1.0)
    distance = np.linalg.norm(other[:, None] - rest[None], axis=2)
    return np.asarray(distance.argmin(1))


def _profile(line: Array, size: "NDArray[np.int_]", width: float, ridge: float) -> Float:
    """Return a valley of depth 1 along `line` `[n, 2]` that fades out at its ends, `[h, w]`.

    `width` is in pixels; `ridge` is the light beside it, to the right (> 0) or left of its way.
    """
    reach = 5.0 * width
    low = np.maximum(np.floor(line.min(0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(line.max(0) + reach) + 1, size).astype(int)
    light = np.zeros((size[1], size[0]), np.float32)
    if (high - low).min() < 1:
        return light
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    dx = x[..., None] - line[:, 0].astype(np.float32)
    dy = y[..., None] - line[:, 1].astype(np.float32)
    square = dx * dx + dy * dy
    nearest = square.argmin(2)
    distance = np.sqrt(np.take_along_axis(square, nearest[..., None], 2)[..., 0])
    way = np.gradient(line, axis=0)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    ahead = way[nearest]
    beside = np.take_along_axis(dx, nearest[..., None], 2)[..., 0] * -ahead[..., 1]
    beside += np.take_along_axis(dy, nearest[..., None], 2)[..., 0] * ahead[..., 0]
    place = nearest / (len(line) - 1)
    fade = smoothstep(place / 0.35 + 0.1) * smoothstep((1.0 - place) / 0.45)
    # Skin bulges over a fold on one side and comes back slowly on the other.
    side = beside * np.sign(ridge) / width
    flat = np.where(side < 0.0, 1.8, 1.0)
    valley = -np.exp(-((distance / (width * flat)) ** 2))
    lit = abs(ridge) * np.exp(-(((side - 2.4) / 1.4) ** 2)) * (distance < reach)
    light[low[1] : high[1], low[0] : high[0]] = (valley + lit) * fade
    return light


def _cut(index: int, light: Float) -> _Folds:
    """Return the part of `light` that is not 0."""
    faint = np.where(np.abs(light) < 2e-3, np.float32(0), light)
    rows, columns = np.flatnonzero(faint.any(1)), np.flatnonzero(faint.any(0))
    if not len(rows):
        return _Folds(index, 0, 0, np.zeros((0, 0), np.float32))
    top, left = int(rows[0]), int(columns[0])
    part = faint[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    return _Folds(index, left, top, np.ascontiguousarray(part))


def _cheeks(head: "HeadModel", picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture's values on the cheeks."""
    at = np.round(head.landmarks[list(CHEEK_SKIN), :2]).astype(int)
    x, y = np.clip(at[:, 0], 0, head.width - 1), np.clip(at[:, 1], 0, head.height - 1)
    return picture[y, x]


def _tint(head: "HeadModel", picture: RGB) -> Float:
    """Return how much shade each colour takes: folded skin is redder, grey stays grey."""
    skin = np.median(_cheeks(head, picture).astype(np.float64), axis=0)
    tint = 1.0 + 0.4 * (skin.mean() / np.maximum(skin, 1.0) - 1.0)
    return np.asarray(np.clip(tint, 0.7, 1.3), np.float32)
