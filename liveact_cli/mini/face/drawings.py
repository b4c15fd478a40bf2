"""Lay the landmarks of a drawing on its lines: eyes and mouths of cartoons are not a person's.

The net has learned faces. In a drawing it finds them, but lays lids across eyes that are drawn
larger, and lips beside the line that is meant. Where a face is drawn in flat colours with dark
outlines, these say better where lids and lips are.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.canonical import NUM_MESH, CanonicalMesh
from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.membrane import Membrane
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.seam import cheapest_path
from liveact_cli.mini.face.topology import (
    CHEEK_SKIN,
    CHIN,
    EYES,
    LEFT_BROW,
    LOWER_ROWS,
    NOSE,
    OUTER_LIP_LOOP,
    OVAL,
    RIGHT_BROW,
    UPPER_ROWS,
    Eye,
)

Mask = NDArray[np.uint8]

_PX_PER_CM: Final = 24.0
_DRAWN: Final = 0.5
_SKIN_RANGE: Final = 24
"""Largest difference from the skin's colour, in any channel, that is still skin."""
_DARK: Final = 0.42
"""Brightness of a line, per that of the skin."""
_EYE_REACH_CM: Final = (2.5, 2.9)
_MOUTH_REACH_CM: Final = 4.2
_OUTLINED: Final = 0.6
"""Share of an eye's surroundings that a line covers; drawings without one have 0.4 at most."""
_THICKEST_CM: Final = 0.7
_BROW_CM: Final = 1.2
_EYE_SIZES: Final = (1.15, 4.5)
"""Area of an eye per that of the landmarks' between which it is taken from the drawing."""
_ALIKE: Final = 0.7
"""Overlap (intersection over union) from which the landmarks' own lips are good enough."""
_NOSE_BASE: Final = 2


def drawn(image: RGB, landmarks: Array) -> float:
    """Return 1 for a face drawn in flat colours, 0 for a photograph or a painting."""
    low, high = landmarks[[234, 454, 9, CHIN], :2].min(0), landmarks[:, :2].max(0)
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.floor(low), 0, [width - 3, height - 3]).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    grey = cv2.cvtColor(np.ascontiguousarray(image[y0:y1, x0:x1]), cv2.COLOR_RGB2GRAY)
    block = np.ones((3, 3), np.uint8)
    flat = cv2.subtract(cv2.dilate(grey, block), cv2.erode(grey, block)) <= 1
    # Of the test portraits, photographs and paintings have 0 to 0.12, drawings 0.57 and more.
    return float(smoothstep((flat.mean() - 0.25) / 0.2))


@dataclass(frozen=True, slots=True)
class Lined:
    """Landmarks `[478, 3]` of a drawing, on its lines: which of them."""

    landmarks: Array
    eyes: bool
    lips: bool


def on_the_lines(image: RGB, landmarks: Array, scale: float, mesh: CanonicalMesh) -> Lined:
    """Return landmarks `[478, 3]` moved onto the outlines of a drawing, as far as it has some.

    `landmarks` in pixels of RGB `image`, `scale` in px per cm.
    """
    if drawn(image, landmarks) < _DRAWN:
        return Lined(landmarks, False, False)
    sheet = Sheet(image, landmarks, scale)
    places = sheet.landmarks.copy()
    moved = [_move_eye(sheet, places, eye) for eye in EYES]
    for brow in (RIGHT_BROW, LEFT_BROW):
        _move_brow(sheet, places, brow)
    lips = _move_lips(sheet, places)
    if not any(moved) and not lips:
        return Lined(landmarks, False, False)
    # What is not on a line follows what is.
    held = {*OVAL, *NOSE, *LEFT_BROW, *RIGHT_BROW}
    for eye in EYES:
        held |= {*eye.loop, *eye.crease, *eye.over, *eye.under}
    held |= {v for row in (*UPPER_ROWS, *LOWER_ROWS) for v in row}
    change = sheet.to_picture(places) - landmarks[:, :2]
    fixed = {v: (float(change[v, 0]), float(change[v, 1]), 0.0) for v in held}
    result = landmarks.copy()
    result[:NUM_MESH] += Membrane(mesh).fill(fixed)
    result[NUM_MESH:, :2] += change[NUM_MESH:]
    return Lined(result, all(moved), lips)


@dataclass(frozen=True, slots=True)
class _Lips:
    """A drawn mouth, by columns from the right corner to the left one: edges and seam (y)."""

    left: int
    upper: Array
    seam: Array
    lower: Array


class Sheet:
    """The face upright at a fixed size: where its skin and its lines are, and its landmarks."""

    def __init__(self, image: RGB, landmarks: Array, scale: float) -> None:
        """Resample the picture and tell skin from lines."""
        flat = landmarks[:, :2]
        eyes = flat[EYES[1].corners[0]] - flat[EYES[0].corners[0]]
        along = eyes / np.linalg.norm(eyes)
        turn = np.array([along, [-along[1], along[0]]]) * (_PX_PER_CM / scale)
        upright = flat @ turn.T
        low = np.floor(upright.min(0) - _PX_PER_CM)
        self._turn, self._low = turn, low
        self.landmarks = upright - low
        size = np.ceil(self.landmarks.max(0) + _PX_PER_CM).astype(int)
        to_sheet = np.column_stack([turn, -low])
        view = np.asarray(
            cv2.warpAffine(
                image,
                to_sheet,
                tuple(int(v) for v in size),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )
        x, y = np.round(self.landmarks[list(CHEEK_SKIN)]).astype(int).T
        skin = np.median(view[y, x].astype(np.float64), axis=0)
        self.brightness = view.max(2)
        self.skin: Mask = (np.abs(view - skin).max(2) < _SKIN_RANGE).astype(np.uint8)
        self.dark: Mask = (self.brightness < _DARK * skin.max()).astype(np.uint8)

    def to_picture(self, places: Array) -> Array:
        """Return sheet positions `[N, 2]` in the picture's pixels."""
        return np.asarray(np.linalg.solve(self._turn, (places + self._low).T).T)

    def window(self, low: Array, high: Array) -> tuple[slice, slice]:
        """Return the rows and columns from `low` to `high` (x, y), within the sheet."""
        x0, y0 = np.maximum(np.round(low), 0).astype(int).tolist()
        x1, y1 = np.round(high).astype(int).tolist()
        return slice(y0, min(y1, self.skin.shape[0])), slice(x0, min(x1, self.skin.shape[1]))


def _touching(mask: Mask, region: Mask) -> Mask:
    """Return the connected parts of `mask` that reach into `region` but not to the border."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    height, width = mask.shape
    kept = np.zeros(mask.shape, np.uint8)
    for label in range(1, count):
        left, top, wide, tall = (int(v) for v in stats[label, :4])
        inside = left > 0 and top > 0 and left + wide < width and top + tall < height
        part = labels == label
        if inside and region[part].any():
            kept[part] = 1
    return kept


def _polygon(shape: tuple[int, ...], points: Array) -> Mask:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask


def _edges(mask: Mask) -> tuple[int, Array, Array]:
    """Return the first column of a mask, and the first and last row in each of its columns."""
    columns = np.flatnonzero(mask.any(0))
    first, last = int(columns[0]), int(columns[-1])
    part = mask[:, first : last + 1]
    at = np.arange(last - first + 1)
    there = part.any(0)
    upper = np.interp(at, at[there], part.argmax(0)[there])
    lower = np.interp(at, at[there], (len(part) - 1 - part[::-1].argmax(0))[there])
    return first, upper, lower


# --- eyes


def _move_eye(sheet: Sheet, places: Array, eye: Eye) -> bool:
    """Lay lids and iris on the outline of a drawn eye, in place; return whether there is one."""
    loop = places[list(eye.loop)]
    reach = np.array(_EYE_REACH_CM) * _PX_PER_CM
    window = sheet.window(loop.mean(0) - reach, loop.mean(0) + reach)
    corner = np.array([window[1].start, window[0].start])
    white = ((sheet.skin[window] | sheet.dark[window]) == 0).astype(np.uint8)
    white = np.asarray(cv2.morphologyEx(white, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    known = _polygon(white.shape, loop - corner)
    parts = _touching(white, known)
    if np.count_nonzero(parts) < 20:
        return False
    hull = cv2.convexHull(np.argwhere(parts)[:, ::-1].astype(np.int32))[:, 0]
    opening = _polygon(white.shape, hull)
    around = cv2.dilate(opening, np.ones((7, 7), np.uint8)) - cv2.dilate(
        opening, np.ones((3, 3), np.uint8)
    )
    least, most = _EYE_SIZES
    size = opening.sum() / max(int(known.sum()), 1)
    outlined = sheet.dark[window][around > 0].mean() > _OUTLINED
    if not outlined or not least < size < most or sheet.skin[window][opening > 0].mean() > 0.05:
        return False
    _lay_lids(sheet, places, eye, opening, corner)
    _lay_iris(places, eye, opening & sheet.dark[window], corner)
    return True


def _lay_lids(sheet: Sheet, places: Array, eye: Eye, opening: Mask, corner: Array) -> None:
    """Lay the lids' edges on an eye's border, and the rows beyond behind its line."""
    first, upper, lower = _edges(opening)
    known = places.copy()
    start, stop = known[eye.corners[0], 0], known[eye.corners[1], 0]
    columns = np.arange(len(upper))
    # Rows begin at the outer corner: at image left on the right side, at image right on the left.
    begin, end = (0.0, columns[-1]) if start < stop else (columns[-1], 0.0)

    def across(vertex: int) -> float:
        return float(
            begin + (end - begin) * np.clip((known[vertex, 0] - start) / (stop - start), 0, 1)
        )

    for row, edge in ((eye.upper, upper), (eye.lower, lower)):
        for vertex in row:
            x = across(vertex)
            places[vertex] = corner + np.array([first + x, np.interp(x, columns, edge)])
    middle = (upper + lower) / 2
    for vertex, x in zip(eye.corners, (begin, end), strict=True):
        places[vertex] = corner + np.array([first + x, np.interp(x, columns, middle)])
    for beyond, lids, side in ((eye.crease, eye.upper, -1), (eye.under, eye.lower, 1)):
        for vertex, lid in zip(beyond, lids, strict=True):
            places[vertex] = places[lid] + (0.0, side * _line_width(sheet, places[lid], side))
    for vertex, crease in zip(eye.over, eye.crease, strict=True):
        places[vertex] = places[crease] - (0.0, 0.6 * _room_above(sheet, places[crease]))


def _line_width(sheet: Sheet, lid: Array, side: int) -> float:
    """Return how far the line beyond a place on a lid's edge reaches, up (side -1) or down."""
    x, y = (int(v) for v in np.round(lid))
    reach = np.arange(round(_THICKEST_CM * _PX_PER_CM))
    rows = np.clip(y + side * reach, 0, len(sheet.dark) - 1)
    column = sheet.dark[rows, x - 2 : x + 3].max(1) > 0
    # A pixel or two between white and black is neither; so is the line's other side.
    begin = int(column.argmax()) if column[:6].any() else 0
    rest = np.flatnonzero(~column[begin:])
    return float(begin + (rest[0] if len(rest) else len(column) - begin)) + 2.0


def _room_above(sheet: Sheet, crease: Array) -> float:
    """Return how much bare skin lies above a place, up to the largest eye's lid."""
    x, y = (int(v) for v in np.round(crease))
    column = sheet.skin[max(0, y - round(1.5 * _PX_PER_CM)) : y, x][::-1]
    covered = np.flatnonzero(column[2:] == 0)
    return float(covered[0] + 2 if len(covered) else len(column))


def _lay_iris(places: Array, eye: Eye, black: Mask, corner: Array) -> None:
    """Widen the iris to a black one that is larger than the landmarks' own."""
    outlines, _ = cv2.findContours(black, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return
    blob = max(outlines, key=cv2.contourArea)
    (x, y), _ = cv2.minEnclosingCircle(blob)
    radius = float(np.sqrt(cv2.contourArea(blob) / np.pi))
    iris = places[list(eye.iris)]
    own = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
    if radius > own:
        places[list(eye.iris)] = corner + np.array([x, y]) + (iris - iris[0]) * (radius / own)


def _move_brow(sheet: Sheet, places: Array, brow: tuple[int, ...]) -> None:
    """Lay the rows of a brow above and below what is drawn between them, in place."""
    known = places.copy()
    for above, below in zip(brow[:5], brow[5:], strict=True):
        middle = float(known[above, 1] + known[below, 1]) / 2
        top, _ = _drawn_between(sheet, float(known[above, 0]), middle) or (np.inf, 0.0)
        _, bottom = _drawn_between(sheet, float(known[below, 0]), middle) or (0.0, -np.inf)
        places[above, 1] = min(known[above, 1], top)
        places[below, 1] = max(known[below, 1], bottom)


def _drawn_between(sheet: Sheet, x: float, y: float) -> tuple[float, float] | None:
    """Return the rows of bare skin above and below what is drawn at a place, or near it."""
    reach = round(_BROW_CM * _PX_PER_CM)
    first = max(round(y) - reach, 0)
    column = sheet.skin[first : round(y) + reach + 1, round(x)]
    drawn_rows = np.flatnonzero(column == 0)
    if not len(drawn_rows):
        return None
    at = int(drawn_rows[np.abs(drawn_rows + first - y).argmin()])
    above, below = np.flatnonzero(column[:at]), np.flatnonzero(column[at:])
    if not len(above) or not len(below) or abs(at + first - y) > reach / 2:
        return None
    return first + float(above[-1]) - 1.0, first + at + float(below[0]) + 1.0


# --- lips


def _move_lips(sheet: Sheet, places: Array) -> bool:
    """Lay the lips, closed, on a drawn mouth, in place; return whether there is one."""
    lips = _drawn_lips(sheet, places)
    if lips is None:
        return False
    known, last = places.copy(), len(lips.seam) - 1
    right, left = known[UPPER_ROWS[3][0], 0], known[UPPER_ROWS[3][-1], 0]
    columns = np.arange(last + 1)
    for rows, edge in ((UPPER_ROWS, lips.upper), (LOWER_ROWS, lips.lower)):
        for k, row in enumerate(rows):
            for vertex in row:
                x = last * float(np.clip((known[vertex, 0] - right) / (left - right), 0, 1))
                inner, outer = (np.interp(x, columns, line) for line in (lips.seam, edge))
                places[vertex] = (lips.left + x, inner + (outer - inner) * k / 3)
    return True


def _drawn_lips(sheet: Sheet, places: Array) -> _Lips | None:
    loop = places[list(OUTER_LIP_LOOP)]
    middle = float(loop[:, 0].mean())
    reach = _MOUTH_REACH_CM * _PX_PER_CM
    low = np.array([middle - reach, places[_NOSE_BASE, 1]])
    high = np.array([middle + reach, places[CHIN, 1] - 0.3 * _PX_PER_CM])
    window = sheet.window(low, high)
    corner = np.array([window[1].start, window[0].start])
    lines = (sheet.skin[window] == 0).astype(np.uint8)
    known = _polygon(lines.shape, loop - corner)
    near = cv2.dilate(known, np.ones((2 * round(0.35 * _PX_PER_CM) + 1,) * 2, np.uint8))
    mouth = _touching(lines, np.asarray(near, np.uint8))
    outlines, _ = cv2.findContours(mouth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    outlines = sorted(outlines, key=lambda line: -cv2.boundingRect(line)[2])
    widest = cv2.drawContours(np.zeros(lines.shape, np.uint8), outlines, 0, 1, cv2.FILLED)
    if np.count_nonzero(widest & known) > _ALIKE * np.count_nonzero(widest | known):
        return None
    first, upper, lower = _edges(widest)
    if not 0.5 < len(upper) / max(float(np.ptp(loop[:, 0])), 1.0) < 2.0:
        return None
    black = sheet.dark[window]
    coloured = bool(widest[black == 0].sum() > 0.25 * widest.sum())
    bright = sheet.brightness[window][:, first : first + len(upper)]
    seam = _seam(bright, upper, lower, coloured)
    if not coloured:
        lower = _below(seam, first, [cv2.boundingRect(line) for line in outlines[1:]])
    shift = float(corner[1])
    return _Lips(int(corner[0]) + first, upper + shift, seam + shift, lower + shift)


def _seam(bright: NDArray[np.uint8], upper: Array, lower: Array, coloured: bool) -> Array:
    """Return the row of the darkest line from corner to corner, inside the lips' own outline."""
    rows = np.arange(bright.shape[0])[:, None]
    away = 0.3 * (lower - upper) if coloured else np.zeros_like(upper)
    cost = bright / 255.0 + 4.0 * ((rows < upper + away) | (rows > lower - away))
    path = cheapest_path(cost, 0.002).astype(np.float64)
    return np.asarray(cv2.GaussianBlur(path[None], (0, 0), 3.0, borderType=cv2.BORDER_REPLICATE)[0])


def _below(seam: Array, first: int, others: list[tuple[int, int, int, int]]) -> Array:
    """Return the lower edge of a mouth that is a mere line: down to a stroke below it."""
    x = np.linspace(-1.0, 1.0, len(seam))
    depth = 0.5 * _PX_PER_CM
    for left, top, wide, tall in others:
        at = int(np.clip(left + wide // 2 - first, 0, len(seam) - 1))
        if 0 < top - seam[at] < 1.2 * _PX_PER_CM:
            depth = max(depth, top + tall / 2 - float(seam[at]))
    return np.asarray(seam + depth * np.sqrt(np.maximum(1.0 - x * x, 0.0)))
