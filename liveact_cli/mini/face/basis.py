"""Expressions as offsets of the mesh: few vertices are placed by hand, the rest follows smoothly.

Everything is in the head frame (cm, x to image right, y down, z away from the viewer) of a face
whose lips are closed, and depends on the person's own shape.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from liveact_cli.mini.face.canonical import NUM_MESH, CanonicalMesh
from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.membrane import Membrane
from liveact_cli.mini.face.topology import (
    CHEEKS_LEFT,
    CHEEKS_RIGHT,
    EYES,
    FRAME_BROWS,
    LEFT_BROW,
    LEFT_EYE,
    LOWER_INNER,
    LOWER_ROWS,
    MOUTH_CORNERS,
    NOSE,
    OVAL,
    RIGHT_BROW,
    UPPER_INNER,
    UPPER_ROWS,
    Eye,
)

Offsets = dict[int, tuple[float, float, float]]
LipOffset = Callable[[int, float, float], tuple[float, float, float]]
"""(row 0 inner .. 3 outer, 1 upper or -1 lower, place -1..1 across) -> offset in cm."""

JAW_ANGLE = 0.21
"""How far the mandible turns at jawOpen 1, in radians."""
_STILL_OUTER = (234, 454, 93, 323, 132, 361)
_LOWER_FACE = (152, 148, 377, 176, 400, 149, 378, 150, 379, 136, 365, 172, 397, 58, 288)
_UNDER_GLASSES = 0.55
"""Brows rise only this much above a frame: the skin between them has no picture of its own."""
_LARGEST_EYE_CM = 1.8
_CHIN_SKIN = (175, 199, 171, 396)
_JAW_SKIN = {
    **dict.fromkeys(
        (152, 148, 377, 176, 400, 199, 175, 171, 396, 200, 18, 201, 421, 208, 428), 1.0
    ),
    **dict.fromkeys((83, 313, 182, 406), 1.0),
    **dict.fromkeys((149, 378), 0.93),
    **dict.fromkeys((150, 379), 0.85),
    **dict.fromkeys((136, 365), 0.74),
    **dict.fromkeys((172, 397), 0.55),
    **dict.fromkeys((58, 288), 0.25),
}


@dataclass(frozen=True, slots=True)
class Basis:
    """Named offsets: `closed` takes the picture's face to closed lips, where the others start."""

    names: tuple[str, ...]
    offsets: Array  # [names, 468, 3] cm
    closed: Array  # [468, 3] cm


def _zero(indices: Iterable[int]) -> Offsets:
    return dict.fromkeys(indices, (0.0, 0.0, 0.0))


class BasisBuilder:
    """Makes the basis for one person's shape `[468, 3]` in the head frame.

    With `glasses`, nothing moves under the frame: brows rise above it, creases stay. The lids of
    `lined_eyes` take the line around the eye along.
    """

    def __init__(
        self,
        canonical: CanonicalMesh,
        shape: Array,
        glasses: bool = False,
        lined_eyes: bool = False,
    ) -> None:
        self._rest = canonical.vertices
        self._fill = Membrane(canonical).fill
        self._shape = shape
        self._glasses, self._lined_eyes = glasses, lined_eyes
        self.closed = np.zeros((NUM_MESH, 3))
        self._eyes = _zero(i for eye in EYES for i in eye.loop)
        self._nose = _zero(NOSE)
        top = _zero(i for i in OVAL if self._rest[i, 1] < 1)
        self._top = top
        self._still = {
            **self._eyes,
            **_zero(LEFT_BROW + RIGHT_BROW),
            **top,
            **self._nose,
            **_zero(_STILL_OUTER),
        }
        self._still_jaw = {**self._still, **_zero(_LOWER_FACE), **_zero(_CHIN_SKIN)}
        self.closed = self._close(shape, upper_share=0.4)
        self._closed_shape = shape + self.closed
        closed = self._closed_shape
        self._mouth_x = float((closed[13, 0] + closed[14, 0]) / 2)
        self.half_width = float(abs(closed[291, 0] - closed[61, 0])) / 2
        self._upper_lip = float(np.clip(abs(closed[13, 1] - closed[0, 1]), 0.25, 1.2))
        self._lower_lip = float(np.clip(abs(closed[17, 1] - closed[14, 1]), 0.3, 1.4))

    def build(self) -> Basis:
        """Return all expressions of the renderer."""
        table = {
            **self._jaw_shapes(),
            **self._lip_shapes(),
            **self._corner_shapes(),
            **self._upper_face(),
        }
        return Basis(tuple(table), np.stack(list(table.values())), self.closed)

    # --- helpers

    def _across(self, vertex: int) -> float:
        x = (self._closed_shape[vertex, 0] - self._mouth_x) / self.half_width
        return float(np.clip(x, -1.0, 1.0))

    def _lips(self, offset: LipOffset, skin: Offsets | None = None) -> Array:
        fixed = self._still_jaw | (skin or {})
        for rows, side in ((UPPER_ROWS, 1.0), (LOWER_ROWS, -1.0)):
            for k, row in enumerate(rows):
                for vertex in row:
                    fixed[vertex] = offset(k, side, self._across(vertex))
        return self._fill(fixed)

    def _close(self, shape: Array, upper_share: float, sides_only: bool = False) -> Array:
        """Return offsets that bring the inner lip edges together, or just their sides."""
        fixed = dict(self._still_jaw)
        follow = (1.0, 0.92, 0.78, 0.62)
        gaps = (shape[list(LOWER_INNER)] - shape[list(UPPER_INNER)]) * (1.0, 1.0, 0.3)
        for n in range(1, 10):
            gap = gaps[n]
            if sides_only:
                # An ellipse of four fifths of the width stays open.
                open_part = np.sqrt(max(0.0, 1.0 - ((n / 5 - 1) / 0.8) ** 2))
                gap = gap - np.minimum(gaps[5] * open_part, 1.15 * gap)
            for k in range(4):
                fixed[UPPER_ROWS[k][n]] = tuple(gap * upper_share * follow[k])
                fixed[LOWER_ROWS[k][n]] = tuple(-gap * (1 - upper_share) * follow[k])
        fixed |= _zero(MOUTH_CORNERS)
        return self._fill(fixed)

    def _relax(self) -> Array:
        """Return offsets that give the closed mouth its resting form: the canonical face's lips."""
        rest, shape = self._rest, self._closed_shape
        middle = (shape[13] + shape[14]) / 2 - (rest[13] + rest[14]) / 2
        fixed = dict(self._still_jaw)
        for rows in (UPPER_ROWS, LOWER_ROWS):
            for row in rows:
                for vertex in row:
                    fixed[vertex] = tuple((rest[vertex] + middle - shape[vertex]) * (1.0, 1.0, 0.3))
        for up, low in zip(UPPER_INNER, LOWER_INNER, strict=True):
            fixed[up] = fixed[low] = tuple((np.array(fixed[up]) + np.array(fixed[low])) / 2)
        return self._fill(fixed)

    # --- mouth

    def _jaw_shapes(self) -> dict[str, Array]:
        shape, rest = self._closed_shape, self._rest
        axis = np.array([0.0, rest[234, 1] - 0.2, rest[234, 2] + 1.5])  # through the condyles

        def turned(vertex: int, share: float) -> tuple[float, float, float]:
            cos, sin = np.cos(JAW_ANGLE * share), np.sin(JAW_ANGLE * share)
            _, y, z = shape[vertex] - axis
            return 0.0, float(y * cos - z * sin - y), float(y * sin + z * cos - z)

        fixed = dict(self._still)
        for row in LOWER_ROWS:
            for vertex in row:
                fixed[vertex] = turned(vertex, 1.0 - 0.62 * abs(self._across(vertex)) ** 2.2)
        for row in UPPER_ROWS:
            for vertex in row:
                u = abs(self._across(vertex))
                x, y, z = turned(vertex, 0.38 * u**4)
                fixed[vertex] = (x, y - 0.06 * (1 - u * u), z)
        for vertex in MOUTH_CORNERS:
            _, y, z = turned(vertex, 0.38)
            fixed[vertex] = (-0.12 * float(np.sign(self._across(vertex))), y, z)
        fixed |= {vertex: turned(vertex, share) for vertex, share in _JAW_SKIN.items()}
        jaw = self._fill(fixed)
        relax = self._relax()
        return {
            "jawOpen": jaw,
            "mouthClose": self._close(shape + jaw, upper_share=0.25),
            "round": self._close(shape + jaw, upper_share=0.3, sides_only=True),
            "relax": relax,
            **self._seam_shapes(relax),
        }

    def _seam_shapes(self, relax: Array) -> dict[str, Array]:
        """Return what takes the form of the closed lips' seam out of lips that are open.

        A smile's curve, pushed together by rounding, would be a notch; and the lower lip does not
        keep the print of the upper one.
        """
        closed, relaxed = (
            (shape[list(UPPER_INNER)] + shape[list(LOWER_INNER)]) / 2
            for shape in (self._closed_shape, self._closed_shape + relax)
        )
        x = np.clip((closed[:, 0] - self._mouth_x) / self.half_width, -1.0, 1.0)
        bent = _beyond_line(closed)
        curve = 1.0 - x * x
        print_ = bent - curve * (curve @ bent) / (curve @ curve)

        def straight(bend: Array, rows: tuple[tuple[tuple[int, ...], ...], ...]) -> Array:
            fixed = dict(self._still_jaw)
            fixed |= _zero(vertex for row in (*UPPER_ROWS, *LOWER_ROWS) for vertex in row)
            for side in rows:
                for row, share in zip(side, (1.0, 0.9, 0.7, 0.5), strict=True):
                    for vertex, y in zip(row, bend.tolist(), strict=True):
                        fixed[vertex] = (0.0, -y * share, 0.0)
            return self._fill(fixed)

        both = (UPPER_ROWS, LOWER_ROWS)
        return {
            "straight": straight(bent, both),
            "straightRelaxed": straight(_beyond_line(relaxed), both),
            "parted": straight(print_, (LOWER_ROWS,)),
        }

    def _lip_shapes(self) -> dict[str, Array]:
        upper, lower = self._upper_lip, self._lower_lip
        # A mouth that smiles is wide; rounding starts from its resting width.
        half = min(self.half_width, 1.05 * float(self._rest[291, 0]))

        def pucker(k: int, side: float, x: float) -> tuple[float, float, float]:
            inward = -0.38 * half * np.sign(x) * abs(x) ** 0.9
            return inward, -side * 0.10 * k / 3 * (1 - x * x), -0.55 * (1 - 0.5 * x * x)

        def funnel(k: int, side: float, x: float) -> tuple[float, float, float]:
            lift = 0.30 if k < 3 else 0.34
            return -0.30 * half * x, -side * lift * (1 - x * x) ** 0.5, -0.5 * (1 - 0.4 * x * x)

        def press(k: int, side: float, x: float) -> tuple[float, float, float]:
            thin = 0.22 * (upper if side > 0 else -lower) * k / 3
            return 0.05 * x, thin * (1 - abs(x) ** 3), 0.0

        def roll(k: int, side: float, x: float, which: float) -> tuple[float, float, float]:
            thickness = upper if which > 0 else -lower
            thin = 0.45 * thickness * k / 3 * (1 - abs(x) ** 3) if side == which else 0.0
            return 0.0, thin, 0.1 * (1 - x * x)

        def part(_: int, side: float, x: float, which: float) -> tuple[float, float, float]:
            return 0.0, -which * 0.38 * (1 - x**4) if side == which else 0.0, 0.0

        return {
            "mouthPucker": self._lips(pucker),
            "mouthFunnel": self._lips(funnel),
            "mouthPress": self._lips(press),
            "mouthRollUpper": self._lips(lambda k, s, x: roll(k, s, x, 1.0)),
            "mouthRollLower": self._lips(lambda k, s, x: roll(k, s, x, -1.0)),
            "mouthUpperUp": self._lips(lambda k, s, x: part(k, s, x, 1.0)),
            "mouthLowerDown": self._lips(lambda k, s, x: part(k, s, x, -1.0)),
        }

    def _corner_shapes(self) -> dict[str, Array]:
        table = {}
        for sign, name in ((1.0, "Left"), (-1.0, "Right")):

            def side(x: float, sign: float = sign) -> float:
                return float(np.clip(0.5 + 0.8 * x * sign, 0.0, 1.0))

            def smile(
                _k: int, _s: float, x: float, sign: float = sign
            ) -> tuple[float, float, float]:
                u, own = abs(x), side(x, sign)
                lift = -0.78 * u**2.5 - 0.03 * (1 - u * u)
                return sign * 0.50 * u**1.3 * own, lift * own, 0.22 * u * u * own

            def stretch(
                k: int, s: float, x: float, sign: float = sign
            ) -> tuple[float, float, float]:
                u, own = abs(x), side(x, sign)
                return (
                    sign * 0.62 * u**1.2 * own,
                    0.06 * u * u * own + s * 0.05 * k / 3,
                    0.15 * u * u * own,
                )

            def frown(
                _k: int, _s: float, x: float, sign: float = sign
            ) -> tuple[float, float, float]:
                u, own = abs(x), side(x, sign)
                # The chin that bulges under a frown lifts the middle of the lips.
                lift = -0.13 * (1 - u * u)
                return sign * 0.30 * u**1.3 * own, (0.54 * u**2.2 + lift) * own, 0.0

            table[f"mouthSmile{name}"] = self._lips(smile, _zygomatic(sign))
            table[f"mouthStretch{name}"] = self._lips(stretch)
            table[f"mouthFrown{name}"] = self._lips(frown)
        return table

    # --- upper face

    def _upper_face(self) -> dict[str, Array]:
        table = {}
        lips = _zero(UPPER_ROWS[3] + LOWER_ROWS[3])
        calm = {**self._eyes, **self._nose, **self._top, **lips}
        calm |= {**self._framed(), **self._lines()}
        freedom = _UNDER_GLASSES if self._glasses else 1.0
        for sign, name, brow in ((1.0, "Left", LEFT_BROW), (-1.0, "Right", RIGHT_BROW)):
            outward = {i: float(np.clip((abs(self._rest[i, 0]) - 1.5) / 3.5, 0, 1)) for i in brow}
            # The outer ends of a frame reach above the brow: there it stays where it is.
            tips = 0.9 if self._glasses else 0.0
            raised: Offsets = {
                i: (0.0, (-0.2 - 0.55 * t) * freedom * (1 - tips * t), 0.0)
                for i, t in outward.items()
            }
            lowered: Offsets = {
                i: (-sign * 0.18 * (1 - t), 0.42 - 0.1 * t, 0.0) for i, t in outward.items()
            }
            table[f"browOuterUp{name}"] = self._fill({**raised, **calm})
            table[f"browDown{name}"] = self._fill({**lowered, **calm})
            cheeks = CHEEKS_LEFT if sign > 0 else CHEEKS_RIGHT
            squint: Offsets = dict.fromkeys(cheeks, (0.0, -0.3, -0.1))
            eye = LEFT_EYE if sign > 0 else EYES[0]
            for low, up, under in zip(eye.lower, eye.upper, eye.under, strict=True):
                squint[low] = (0.0, -0.16 * self._opening(up, low), 0.0)
                if self._lined_eyes:
                    squint[under] = squint[low]
            table[f"cheekSquint{name}"] = self._fill({**calm, **squint})
            table[f"eyeBlink{name}"] = self._blink(eye, brow)
        inner: Offsets = {}
        for i in LEFT_BROW + RIGHT_BROW:
            t = float(np.clip((abs(self._rest[i, 0]) - 1.0) / 4, 0, 1))
            inner[i] = (0.0, (-0.95 * (1 - t) + 0.02) * freedom, 0.0)
        table["browInnerUp"] = self._fill({**inner, **calm})
        table["eyeWide"] = self._eye_wide()
        table["noseSneer"] = self._nose_sneer()
        return table

    def _blink(self, eye: Eye, brow: tuple[int, ...]) -> Array:
        fixed = {
            **self._nose,
            **_zero(brow),
            **_zero(eye.corners),
            **_zero(UPPER_ROWS[3] + LOWER_ROWS[3]),
        }
        if self._lined_eyes:
            fixed |= _zero(eye.over)
        for up, low, crease, under in zip(eye.upper, eye.lower, eye.crease, eye.under, strict=True):
            gap = self._shape[low] - self._shape[up]
            fixed[up] = tuple((1.0 if self._lined_eyes else 0.95) * gap + (0.0, 0.01, -0.25))
            fixed[low] = tuple(-0.07 * gap)
            fixed[crease] = tuple(0.34 * gap + (0.0, 0.0, -0.1))
            if self._lined_eyes:
                fixed[crease], fixed[under] = fixed[up], fixed[low]
        return self._fill(fixed | self._framed())

    def _framed(self) -> Offsets:
        """Return the vertices that lie under the frame of glasses, which stays put."""
        if not self._glasses:
            return {}
        return _zero([*FRAME_BROWS, *(v for eye in EYES for v in (*eye.crease, *eye.bags))])

    def _lines(self) -> Offsets:
        """Return the vertices around the line of a drawn eye, which does not follow the brow."""
        if not self._lined_eyes:
            return {}
        return _zero(v for eye in EYES for v in (*eye.crease, *eye.over, *eye.under))

    def _opening(self, up: int, low: int) -> float:
        """Return how far lids are apart that are moved by a share of it; the eyes of drawings are
        larger than what is moved around them.
        """
        return float(min(self._shape[low, 1] - self._shape[up, 1], _LARGEST_EYE_CM))

    def _eye_wide(self) -> Array:
        fixed = {**self._nose, **_zero(UPPER_ROWS[3] + LOWER_ROWS[3])}
        for eye in EYES:
            fixed |= _zero(eye.corners)
            rows = zip(eye.upper, eye.lower, eye.crease, eye.under, strict=True)
            for up, low, crease, under in rows:
                height = self._opening(up, low)
                fixed[up] = (0.0, -0.22 * height, 0.0)
                fixed[low] = (0.0, 0.05 * height, 0.0)
                fixed[crease] = (0.0, -0.14 * height, 0.0)
                if self._lined_eyes:
                    fixed[crease], fixed[under] = fixed[up], fixed[low]
        return self._fill(fixed | self._framed())

    def _nose_sneer(self) -> Array:
        fixed = {**self._eyes, **_zero(_CHIN_SKIN), **_zero((6, 197, 195, 5, 4, 1, 19, 168))}
        for wing in (129, 358, 48, 278, 64, 294, 98, 327):
            fixed[wing] = (0.0, -0.30, 0.0)
        for side, beside in ((-1.0, (203, 36, 142, 126)), (1.0, (423, 266, 371, 355))):
            for vertex in beside:
                fixed[vertex] = (side * 0.05, -0.24, -0.05)
        # The lip is pulled up most below the wings. A lower lip that lies on it comes along.
        for rows, shares in (
            (UPPER_ROWS, (1.0, 1.0, 1.0, 1.0)),
            (LOWER_ROWS, (1.0, 0.8, 0.6, 0.4)),
        ):
            for row, share in zip(rows, shares, strict=True):
                for vertex in row:
                    u = abs(self._across(vertex))
                    lift = 0.14 + 0.08 * float(np.exp(-(((u - 0.45) / 0.25) ** 2)))
                    fixed[vertex] = (0.0, -lift * (1 - u**4) * share, 0.0)
        return self._fill(fixed)


def _beyond_line(points: Array) -> Array:
    """Return how far below the line from the first to the last each of `points` `[n, 3]` lies."""
    along = (points[:, 0] - points[0, 0]) / (points[-1, 0] - points[0, 0])
    return np.asarray(points[:, 1] - points[0, 1] - along * (points[-1, 1] - points[0, 1]))


def _zygomatic(sign: float) -> Offsets:
    """Return how a smile lifts the cheek of one side (sign 1 left), and widens the wing."""
    cheek, fold, low, wing = ((425, 280), 426, 411, 358) if sign > 0 else ((205, 50), 206, 187, 129)
    return {
        cheek[0]: (sign * 0.16, -0.40, -0.16),
        cheek[1]: (sign * 0.10, -0.26, -0.12),
        fold: (sign * 0.22, -0.36, 0.0),
        low: (sign * 0.30, -0.36, -0.06),
        wing: (sign * 0.08, -0.05, 0.0),
    }
