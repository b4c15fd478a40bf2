"""Which vertices of MediaPipe's mesh form lips, lids, brows and outline.

"Right" and "left" are the person's own: right lies at image left of a frontal picture. Lip rows run
from the person's right corner to the left one; lid rows from the person's right to left as well.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Lip rows from the inner edge outward; entry 0 and 10 are the corners of the row.
UPPER_ROWS: Final = (
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
)
LOWER_ROWS: Final = (
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
)
UPPER_INNER: Final = UPPER_ROWS[0]
LOWER_INNER: Final = LOWER_ROWS[0]
MOUTH_LOOP: Final = UPPER_INNER + LOWER_INNER[-2:0:-1]
OUTER_LIP_LOOP: Final = UPPER_ROWS[3] + LOWER_ROWS[3][-2:0:-1]
MOUTH_CORNERS: Final = (61, 291, 76, 306, 62, 292, 78, 308)


class Eye:
    """One eye: lid edges without corners, the corners, the rows above and below them, the iris.

    Going away from the eye: crease and over above, under and bags below.
    """

    def __init__(
        self,
        upper: tuple[int, ...],
        lower: tuple[int, ...],
        corners: tuple[int, int],
        crease: tuple[int, ...],
        over: tuple[int, ...],
        under: tuple[int, ...],
        bags: tuple[int, ...],
        iris: tuple[int, ...],
    ) -> None:
        self.upper, self.lower, self.corners = upper, lower, corners
        self.crease, self.over, self.under, self.bags, self.iris = crease, over, under, bags, iris
        first, last = corners
        self.loop = (first, *upper, last, *reversed(lower))


RIGHT_EYE: Final = Eye(
    upper=(246, 161, 160, 159, 158, 157, 173),
    lower=(7, 163, 144, 145, 153, 154, 155),
    corners=(33, 133),
    crease=(247, 30, 29, 27, 28, 56, 190),
    over=(113, 225, 224, 223, 222, 221, 189),
    under=(25, 110, 24, 23, 22, 26, 112),
    bags=(226, 31, 228, 229, 230, 231, 232),
    iris=(468, 469, 470, 471, 472),
)
# Listed from the inner corner's mirror image: entry i mirrors entry i of the right eye.
LEFT_EYE: Final = Eye(
    upper=(466, 388, 387, 386, 385, 384, 398),
    lower=(249, 390, 373, 374, 380, 381, 382),
    corners=(263, 362),
    crease=(467, 260, 259, 257, 258, 286, 414),
    over=(342, 445, 444, 443, 442, 441, 413),
    under=(255, 339, 254, 253, 252, 256, 341),
    bags=(446, 261, 448, 449, 450, 451, 452),
    iris=(473, 474, 475, 476, 477),
)
EYES: Final = (RIGHT_EYE, LEFT_EYE)

OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The mesh's outer edge, clockwise as seen, from the top."""
CHIN: Final = 152

RIGHT_BROW: Final = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
LEFT_BROW: Final = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
FRAME_BROWS: Final = (46, 53, 52, 65, 55, 276, 283, 282, 295, 285, 8, 9, 168, 193, 417)
"""Lower row of the brows and the bridge of the nose: where the frame of glasses lies."""
NOSE: Final = (
    *(1, 2, 4, 5, 6, 19, 94, 97, 98, 168, 195, 197, 326, 327, 129, 358, 48, 278, 64, 294),
)
CHEEKS_RIGHT: Final = (50, 205, 187, 207)
CHEEKS_LEFT: Final = (280, 425, 411, 427)
CHEEK_SKIN: Final = (50, 280, 205, 425, 117, 346, 101, 330)


def face_triangles(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the mesh's triangles without those that cover the mouth and the eyes."""
    holes = [set(MOUTH_LOOP), *(set(eye.loop) for eye in EYES)]
    keep = [not any(set(row.tolist()) <= hole for hole in holes) for row in triangles]
    return triangles[np.array(keep)]


def smooth_curves() -> Iterable[tuple[int, ...]]:
    """Yield the rows along which the face is curved: lips, lids, creases (ends included)."""
    yield from UPPER_ROWS
    yield from LOWER_ROWS
    for eye in EYES:
        first, last = eye.corners
        yield (first, *eye.upper, last)
        yield (first, *eye.lower, last)
        yield eye.crease
        yield eye.under
