"""The inside of the mouth: cavity, tongue, teeth, or the picture's own teeth if it shows them."""

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.mesh import HeadModel, HeadPose
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.topology import CHEEK_SKIN

Float = NDArray[np.float32]

TEETH_DEPTH_CM = 0.45
"""How far the teeth lie behind the lips."""
_PX_PER_CM = 48
# Half widths of the teeth from the middle outward and their visible heights, in cm (averages).
_UPPER_TEETH = ((0.43, 0.34, 0.39, 0.35, 0.34, 0.45), (0.00, -0.04, -0.01, -0.04, -0.07, -0.10))
_LOWER_TEETH = ((0.27, 0.30, 0.34, 0.35, 0.36, 0.45), (0.00, 0.00, 0.02, -0.01, -0.03, -0.05))
_TEETH_REACH_CM = 2.6
_DARK = 0.5
"""A mouth in which nothing is this bright, per the light on teeth, shows none of its own."""
_SKIN_TINT = np.array([1.24, 0.95, 0.81])
"""Red, green and blue of skin in white light, over their mean."""


@dataclass(frozen=True, slots=True)
class MouthLight:
    """Colours (RGB 0..255) of the inside of the mouth under the picture's light."""

    teeth: Array
    cavity: Array
    tongue: Array
    lip: Array


@dataclass(frozen=True, slots=True)
class OwnTeeth:
    """What the picture shows between the lips: RGBA patch, its origin and size in mouth cm."""

    patch: Float
    left: float
    top: float

    @property
    def brightest(self) -> float:
        """Grey level of what is brightest between the lips: teeth, if any are seen."""
        inside = self.patch[self.patch[..., 3] > 0.5, :3].mean(1)
        return float(np.percentile(inside, 92)) if len(inside) else 0.0


@numba.njit(cache=True, nogil=True, fastmath=True, boundscheck=False)
def paint_cavity(
    canvas: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    edge: Float,
    to_mouth: Float,
    jaw_to_mouth: Float,
    teeth_rows: Float,
    own: Float,
    numbers: Float,
    colours: Float,
) -> None:
    """Paint the pixels of `canvas` `[h, w, 3]` where `hole` is set.

    `edge` is the distance to the lips in cm; `to_mouth` and `jaw_to_mouth` (2x3) take a pixel to
    cm from the middle of the upper teeth's edge and of the lower ones'; `teeth_rows` `[4, n]` are
    edge and shade of the upper and the lower row along x; `own` RGBA `[H, W, 4]` or empty.
    """
    height, width = hole.shape
    # Protruding lips leave the teeth in the dark, where none are seen in the end.
    gone = min(max((numbers[1] - 0.25) / 0.35, 0.0), 1.0)
    gone = gone * gone * (3 - 2 * gone)
    reach, rows = numbers[0], teeth_rows.shape[1]
    rounding, tongue_up, own_left, own_top, own_scale = (
        numbers[1],
        numbers[2],
        numbers[3],
        numbers[4],
        numbers[5],
    )
    grain, flat = numbers[6], numbers[12]
    tongue_y, upper_gain, lower_gain, corner = numbers[7], numbers[8], numbers[9], numbers[10]
    for x in range(width):
        top = -1
        for y in range(height):
            if hole[y, x] == 0:
                top = -1
                continue
            if top < 0:
                top = y
            mx = to_mouth[0, 0] * x + to_mouth[0, 1] * y + to_mouth[0, 2]
            my = to_mouth[1, 0] * x + to_mouth[1, 1] * y + to_mouth[1, 2]
            jx = jaw_to_mouth[0, 0] * x + jaw_to_mouth[0, 1] * y + jaw_to_mouth[0, 2]
            jy = jaw_to_mouth[1, 0] * x + jaw_to_mouth[1, 1] * y + jaw_to_mouth[1, 2]
            below = (y - top) * numbers[11]  # cm under the upper lip
            red, green, blue = colours[1, 0], colours[1, 1], colours[1, 2]
            # Tongue: a mound that lies on the lower jaw behind the teeth.
            crown = tongue_y - tongue_up + 0.30 * (jx * 0.62) ** 2
            t = min(max((jy - crown) / 0.22 + 0.3, 0.0), 1.0) * min(
                max((0.66 * reach - abs(jx)) / 0.45, 0.0), 1.0
            )
            t = t * t * (3 - 2 * t)
            lit = 0.62 + 0.38 * min(max((jy - crown) / 0.55, 0.0), 1.0)
            lit *= 1.0 - 0.14 * np.exp(-((jx / 0.09) ** 2))
            lit += (1.0 - lit) * flat
            red += (colours[2, 0] * lit - red) * t
            green += (colours[2, 1] * lit - green) * t
            blue += (colours[2, 2] * lit - blue) * t
            # Lower teeth, then the upper ones in front of them.
            for row in range(2):
                px = jx if row == 0 else mx
                py = jy if row == 0 else -my
                if abs(px) >= reach:
                    continue
                at = (px / reach * 0.5 + 0.5) * (rows - 1)
                i = min(int(at), rows - 2)
                f = at - i
                k = 2 if row == 0 else 0
                rim = teeth_rows[k, i] * (1 - f) + teeth_rows[k, i + 1] * f
                shade = teeth_rows[k + 1, i] * (1 - f) + teeth_rows[k + 1, i + 1] * f
                inside = py - rim
                cover = min(max(inside / 0.05 + 0.5, 0.0), 1.0)
                cover *= min(max((reach - abs(px)) / 0.7, 0.0), 1.0)
                shade *= 1.0 - 0.35 * rounding
                if row == 0:
                    cover *= lower_gain * (1.0 - gone)
                    shade *= 0.74 * min(max(1.0 - (inside - 0.1) * 0.9, 0.25), 1.0)
                else:
                    cover *= upper_gain * (1.0 - gone)
                    shade *= min(0.90 + inside * 0.4, 1.0)
                shade += (1.0 - shade) * flat
                red += (colours[0, 0] * shade - red) * cover
                green += (colours[0, 1] * shade - green) * cover
                blue += (colours[0, 2] * shade - blue) * cover
            # Lips throw a shadow inward; it is deepest under the upper one and in the corners.
            shadow = 0.78 + 0.22 * min(below / 0.20, 1.0)
            rim_light = 0.80 + 0.20 * min(edge[y, x] / 0.08, 1.0)
            side = 1.0 - corner * min(abs(mx) / reach, 1.0) ** 2
            gain = shadow * rim_light * side
            gain += (1.0 - gain) * flat
            gain *= 1.0 - 0.45 * rounding
            # What little light there is has come through lips and cheeks: it is warm.
            red *= gain
            green *= gain * (1.0 - 0.12 * (1.0 - gain))
            blue *= gain * (1.0 - 0.22 * (1.0 - gain))
            # The wet inside of the lower lip.
            wet = min(max(1.0 - edge[y, x] / 0.09, 0.0), 1.0) * min(
                max(below / 0.12 - 0.5, 0.0), 1.0
            )
            wet *= 1.0 - flat
            red += (colours[3, 0] - red) * wet * 0.6
            green += (colours[3, 1] - green) * wet * 0.6
            blue += (colours[3, 2] - blue) * wet * 0.6
            if own.shape[0] > 1:
                ox = (mx - own_left) * own_scale
                oy = (my - own_top + 0.9 * rounding) * own_scale
                i, j = int(np.floor(ox)), int(np.floor(oy))
                if 0 <= i < own.shape[1] - 1 and 0 <= j < own.shape[0] - 1:
                    fx, fy = ox - i, oy - j
                    w00, w01 = (1 - fx) * (1 - fy), fx * (1 - fy)
                    w10, w11 = (1 - fx) * fy, fx * fy
                    cover = (
                        own[j, i, 3] * w00
                        + own[j, i + 1, 3] * w01
                        + own[j + 1, i, 3] * w10
                        + own[j + 1, i + 1, 3] * w11
                    )
                    dim = (0.62 + 0.38 * min(below / 0.16, 1.0)) * (1.0 - 0.5 * rounding)
                    dim *= 0.75 + 0.25 * min(edge[y, x] / 0.08, 1.0)
                    cover *= 1.0 - 0.5 * rounding
                    tint = 1.0 - 0.25 * (1.0 - dim)  # shade in the mouth is warm
                    r = own[j, i, 0] * w00 + own[j, i + 1, 0] * w01
                    r += own[j + 1, i, 0] * w10 + own[j + 1, i + 1, 0] * w11
                    g = own[j, i, 1] * w00 + own[j, i + 1, 1] * w01
                    g += own[j + 1, i, 1] * w10 + own[j + 1, i + 1, 1] * w11
                    b = own[j, i, 2] * w00 + own[j, i + 1, 2] * w01
                    b += own[j + 1, i, 2] * w10 + own[j + 1, i + 1, 2] * w11
                    red += (r * dim - red) * cover
                    green += (g * dim * tint - green) * cover
                    blue += (b * dim * tint * tint - blue) * cover
            # Grain that sticks to the teeth: a hash of the place, not of the frame.
            seed = np.uint32(int((mx + 8) * 97.0) * 73856093 ^ int((my + 8) * 97.0) * 19349663)
            seed = (seed ^ (seed >> np.uint32(13))) * np.uint32(1274126177)
            noise = grain * (np.float32(seed & np.uint32(1023)) / 511.5 - 1.0)
            canvas[y, x, 0] = np.uint8(min(max(red + noise, 0.0), 255.0))
            canvas[y, x, 1] = np.uint8(min(max(green + noise, 0.0), 255.0))
            canvas[y, x, 2] = np.uint8(min(max(blue + noise, 0.0), 255.0))


class Mouth:
    """Paints the cavity of one person into a patch of the frame.

    That of a drawing in `flat` (1) colours has no shade, and one row of teeth without gaps.
    """

    def __init__(self, head: HeadModel, picture: RGB, is_open: bool, flat: float) -> None:
        self._head, self._flat = head, flat
        self.light = _mouth_light(head, picture)
        self._rows = _teeth_rows(head.mouth_half_width / 2.6)
        closed = head.closed_shape
        seam = (closed[13] + closed[14]) / 2
        self._middle = np.array([float(closed[[13, 14, 61, 291], 0].mean()), seam[1], seam[2]])
        self._grain = _grain(head, picture)
        self.softness = 0.75 * _softness(head, picture)
        own = self._own_teeth(picture) if is_open else None
        self._own = own if own and own.brightest > _DARK * self.light.teeth.mean() else None
        colours = np.stack([self.light.teeth, self.light.cavity, self.light.tongue, self.light.lip])
        self._colours = colours.astype(np.float32)
        self._empty = np.zeros((1, 1, 4), np.float32)

    def paint(
        self,
        patch: NDArray[np.uint8],
        hole: NDArray[np.uint8],
        to_patch: tuple[float, float, float],
        pose: HeadPose,
        jaw: float,
        rounding: float,
        tongue: float,
    ) -> None:
        """Fill `hole` `[h, w]` of RGB `patch`; `to_patch` is (left, top, magnification)."""
        _, _, k = to_patch
        cm = 1.0 / (self._head.scale * k)
        edge = cv2.distanceTransform(hole, cv2.DIST_L2, 3) * np.float32(cm)
        upper = self._plane(np.array([0.0, 0.30, TEETH_DEPTH_CM]), to_patch, pose)
        drop = self._head.jaw_drop * jaw
        lower = self._plane(np.array([0.0, -0.05, TEETH_DEPTH_CM]) + drop, to_patch, pose)
        own = self._own
        left, top = (own.left, own.top - 0.30) if own else (0.0, 0.0)
        numbers = np.array(
            [
                _TEETH_REACH_CM * self._head.mouth_half_width / 2.6,
                rounding,
                0.10 + 0.9 * tongue,
                left,
                top,
                _PX_PER_CM,
                self._grain,
                -0.30,
                0.0 if own else 1.0,
                0.9 * (1.0 - self._flat),
                0.5,
                cm,
                self._flat,
            ],
            np.float32,
        )
        paint_cavity(
            patch,
            hole,
            edge,
            upper,
            lower,
            self._rows,
            own.patch if own else self._empty,
            numbers,
            self._colours,
        )

    def _plane(self, offset: Array, to_patch: tuple[float, float, float], pose: HeadPose) -> Float:
        """Return the 2x3 map from patch pixels to cm on a plane `offset` from the seam's middle."""
        origin = self._middle + offset
        corners = origin + np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        left, top, k = to_patch
        at = (self._head.project(corners, pose) - (left, top) + 0.5) * k - 0.5
        forward = np.column_stack([at[1] - at[0], at[2] - at[0], at[0]])
        return np.asarray(cv2.invertAffineTransform(forward), np.float32)

    def _own_teeth(self, picture: RGB) -> OwnTeeth:
        """Cut out what the picture shows between the lips, flattened to the plane of the seam."""
        head = self._head
        upper, lower = head.lip_edges()
        loop = head.source[[*upper, *lower[-2:0:-1]]]
        corners = self._middle + np.array([[0.0, 0, 0], [1.0, 0, 0], [0.0, 1.0, 0]])
        corners[:, 2] += TEETH_DEPTH_CM
        at = (head.scale * corners @ head.rotation.T + head.translation)[:, :2]
        forward = np.column_stack([at[1] - at[0], at[2] - at[0], at[0]])  # cm -> output pixels
        inverse = cv2.invertAffineTransform(forward)
        plane = loop @ inverse[:, :2].T + inverse[:, 2]
        low, high = plane.min(0) - 0.2, plane.max(0) + 0.2
        size = np.ceil((high - low) * _PX_PER_CM).astype(int)
        to_picture = np.column_stack(
            [forward[:, :2] / _PX_PER_CM, forward[:, :2] @ low + forward[:, 2]]
        )
        colour = cv2.warpAffine(
            picture,
            to_picture,
            tuple(int(v) for v in size),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cover = np.zeros(colour.shape[:2], np.uint8)
        outline = np.round((plane - low) * _PX_PER_CM * 16).astype(np.int32)
        cv2.fillPoly(cover, [outline], 255, cv2.LINE_AA, 4)
        cover = cv2.erode(cover, np.ones((5, 5), np.uint8))
        soft = cv2.GaussianBlur(cover, (0, 0), 0.06 * _PX_PER_CM)
        patch = np.dstack([colour, soft / 255.0]).astype(np.float32)
        return OwnTeeth(patch, float(low[0]), float(low[1]))


def _mouth_light(head: HeadModel, picture: RGB) -> MouthLight:
    """Guess colours from the skin: its brightness is the light, its tint the light's colour."""
    at = np.round(head.landmarks[list(CHEEK_SKIN), :2]).astype(int)
    x, y = np.clip(at[:, 0], 0, head.width - 1), np.clip(at[:, 1], 0, head.height - 1)
    smooth = cv2.GaussianBlur(picture, (0, 0), max(1.0, head.face_height / 60))
    skin = np.median(smooth[y, x].astype(np.float64), axis=0)
    light = float(np.clip(skin.mean() / 165.0, 0.3, 1.05))
    tint = skin / max(float(skin.mean()), 1.0)
    colourful = float(np.clip(np.ptp(tint) / 0.12, 0.0, 1.0))
    # Skin that is yellower than skin is, is lit (or varnished) yellow; so are teeth.
    warm = 1.0 + (np.clip(tint / _SKIN_TINT, 0.55, 1.25) - 1.0) * colourful
    warm[1] = min(warm[1], warm[0])  # never green

    def shade(rgb: tuple[float, float, float]) -> Array:
        colour = np.array(rgb)
        grey = np.full(3, colour @ (0.3, 0.59, 0.11))
        return np.asarray((grey + (colour - grey) * colourful) * light * warm)

    low, high = _tones(head, picture)

    def toned(colour: Array) -> Array:
        """Bring a colour into the range of tones that the face has."""
        return np.asarray(low + colour / 255.0 * (high - low))

    return MouthLight(
        teeth=_ivory(toned(shade((240.0, 219.0, 192.0))), skin),
        cavity=toned(shade((50.0, 19.0, 18.0))),
        tongue=toned(shade((158.0, 82.0, 80.0))),
        lip=0.55 * _lip_colour(head, smooth),
    )


def _ivory(teeth: Array, skin: Array) -> Array:
    """Return the colour of teeth without the green that they would have in yellow light.

    What falls on them has been reflected by lips and cheeks: a part of it has the skin's colour.
    """
    red, green, blue = teeth
    yellow = min(max((red - blue) / max(red, 1.0), 0.0), 0.6) / 0.6
    ivory = np.array([red, min(green, red * (1.0 - 0.20 * yellow)), blue])
    alike = skin * (ivory.mean() / max(float(skin.mean()), 1.0))
    return np.asarray(np.minimum(0.82 * ivory + 0.18 * alike, 250.0))


def _face_part(head: HeadModel, picture: RGB) -> NDArray[np.uint8]:
    """Return the grey picture between brows and chin."""
    at = head.landmarks[[234, 454, 9, 152], :2]
    x0, y0 = np.clip(np.floor(at.min(0)), 0, [head.width - 2, head.height - 2]).astype(int)
    x1, y1 = np.clip(np.ceil(at.max(0)), [x0 + 2, y0 + 2], [head.width, head.height]).astype(int)
    return np.asarray(cv2.cvtColor(picture[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY), np.uint8)


def _tones(head: HeadModel, picture: RGB) -> tuple[float, float]:
    """Return the darkest and the brightest grey level that the face makes use of."""
    low, high = np.percentile(_face_part(head, picture), (0.7, 99.5))
    return 0.9 * float(low), float(max(high, low + 60.0))


def _softness(head: HeadModel, picture: RGB) -> float:
    """Return the width (sigma, pixels) of the sharpest edges in the face.

    An edge blurred by s loses slope by sqrt(1 + 1/s^2) when it is blurred by one pixel more.
    """
    grey = _face_part(head, picture).astype(np.float32)

    def steepest(image: Float) -> float:
        dx, dy = np.diff(image, axis=1)[:-1], np.diff(image, axis=0)[:, :-1]
        return float(np.percentile(np.hypot(dx, dy), 99.0))

    ratio = steepest(grey) / max(steepest(cv2.GaussianBlur(grey, (0, 0), 1.0)), 1e-3)
    width = 1.0 / np.sqrt(max(ratio * ratio - 1.0, 0.05))
    return float(np.clip(width, 0.45, 2.5))


def _lip_colour(head: HeadModel, smooth: RGB) -> Array:
    """Return the median colour of the lower lip's red."""
    at = np.round(head.landmarks[[86, 15, 316, 85, 315, 87, 317], :2]).astype(int)
    x, y = np.clip(at[:, 0], 0, head.width - 1), np.clip(at[:, 1], 0, head.height - 1)
    return np.asarray(np.median(smooth[y, x].astype(np.float64), axis=0))


def _grain(head: HeadModel, picture: RGB) -> float:
    """Return the amplitude of the picture's noise on the skin, in grey levels."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.0))
    at = np.round(head.landmarks[list(CHEEK_SKIN), :2]).astype(int)
    x, y = np.clip(at[:, 0], 2, head.width - 3), np.clip(at[:, 1], 2, head.height - 3)
    near = [fine[b - 2 : b + 3, a - 2 : a + 3].mean() for a, b in zip(x, y, strict=True)]
    return float(np.clip(np.median(near), 0.0, 4.0))


def _teeth_rows(size: float) -> Float:
    """Return edge height (cm, > 0 shorter) and shade of both rows along x, `[4, n]`."""
    reach = _TEETH_REACH_CM * size
    x = np.linspace(-reach, reach, 513)
    rows = []
    for (widths, heights), arc in ((_UPPER_TEETH, 0.045), (_LOWER_TEETH, 0.03)):
        edges = np.concatenate([[0], np.cumsum(widths)]) * size
        distance = np.abs(x)
        tooth = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, len(widths) - 1)
        half = np.array(widths)[tooth] * size / 2
        u = np.clip((distance - edges[tooth] - half) / half, -1, 1)
        rounded = 0.022 * np.abs(u) ** 4
        rim = -np.array(heights)[tooth] + rounded + arc * distance**2
        gap = 1.0 - 0.16 * np.exp(-(((1 - np.abs(u)) * half / 0.028) ** 2))
        shade = gap * (0.94 + 0.06 * np.sqrt(1 - u * u)) * (1.0 - 0.06 * distance**2)
        rows += [
            cv2.GaussianBlur(row[None], (0, 0), 1.5)[0] for row in (rim, np.maximum(shade, 0.2))
        ]
    return np.asarray(np.stack(rows), np.float32)
