"""Where skin folds: curves over the face, each tied to the expression that throws it up.

Which muscles fold what follows FACS (Ekman, Friesen and Hager 2002); numbers are its action units.
"""

from dataclasses import dataclass
from typing import Final

Place = tuple[int, float, float]
"""A vertex and an offset in cm: outward (away from the middle of the face) and down."""


@dataclass(frozen=True, slots=True)
class Crease:
    """A curve through `places`, `width` cm wide and `depth` dark; `ridge` is lit outward (+) or in.

    It belongs to the expression `on`; "*" stands for the side.
    """

    on: str
    places: tuple[Place, ...]
    width: float
    depth: float
    ridge: float = 0.0


SIDED: Final = (
    # AU 12: from the wing of the nose around the corner of the mouth.
    Crease(
        "mouthSmile*",
        ((129, 0.0, -0.2), (203, 0.0, 0.1), (206, 0.05, 0.15), (216, 0.05, 0.2), (212, 0.15, 0.0)),
        width=0.16,
        depth=0.26,
        ridge=0.30,
    ),
    Crease(
        "mouthSmile*",
        ((61, 0.20, -0.6), (61, 0.34, -0.1), (61, 0.24, 0.4)),
        width=0.18,
        depth=0.20,
    ),
    # AU 6: below the lower lid, and crow's feet.
    Crease(
        "cheekSquint*",
        ((31, 0.0, 0.1), (228, 0.0, 0.1), (229, 0.0, 0.05), (230, 0.0, 0.0), (231, 0.0, -0.05)),
        width=0.13,
        depth=0.15,
        ridge=0.2,
    ),
    Crease("cheekSquint*", ((33, 0.45, -0.20), (33, 0.8, -0.38), (33, 1.2, -0.62)), 0.08, 0.14),
    Crease("cheekSquint*", ((33, 0.45, 0.05), (33, 0.85, 0.02), (33, 1.3, 0.0)), 0.08, 0.16),
    Crease("cheekSquint*", ((33, 0.40, 0.30), (33, 0.8, 0.42), (33, 1.2, 0.66)), 0.08, 0.12),
    # AU 4: upright between the brows, a little slanted, and the shade under the brow.
    Crease(
        "browDown*",
        ((107, -0.36, -0.9), (107, -0.42, -0.1), (55, -0.36, 0.4)),
        width=0.14,
        depth=0.28,
        ridge=0.15,
    ),
    Crease("browDown*", ((55, -0.15, 0.30), (65, 0.0, 0.35), (52, 0.0, 0.38)), 0.28, 0.20),
    # AU 15: from the corner of the mouth down.
    Crease(
        "mouthFrown*",
        ((61, 0.08, 0.0), (61, 0.30, 0.6), (61, 0.32, 1.4)),
        width=0.18,
        depth=0.24,
        ridge=0.25,
    ),
    # AU 9: around the wing, and aslant beside the nose.
    Crease(
        "noseSneer",
        ((129, -0.05, -0.6), (129, 0.12, -0.1), (203, 0.05, 0.1), (206, 0.0, 0.2)),
        width=0.17,
        depth=0.26,
        ridge=0.30,
    ),
    Crease("noseSneer", ((6, 0.45, 0.0), (6, 0.72, 0.35), (6, 0.92, 0.95)), 0.14, 0.18, 0.2),
    Crease("noseSneer", ((197, 0.45, 0.0), (197, 0.70, 0.25), (197, 0.90, 0.75)), 0.12, 0.15, 0.2),
    # AU 2: arches over the outer brow.
    Crease(
        "browOuterUp*",
        ((107, 0.0, -1.1), (66, 0.3, -1.15), (105, 0.2, -1.2), (63, 0.1, -0.9)),
        width=0.13,
        depth=0.15,
        ridge=-0.25,
    ),
    Crease(
        "browOuterUp*",
        ((107, 0.0, -2.0), (66, 0.3, -2.05), (105, 0.2, -2.05), (63, 0.1, -1.7)),
        width=0.13,
        depth=0.12,
        ridge=-0.25,
    ),
)
ROOT: Final = (
    # AU 9: across the root of the nose.
    Crease("noseSneer", ((6, -0.65, -0.28), (6, 0.0, -0.05), (6, 0.65, -0.28)), 0.15, 0.20, 0.2),
    Crease("noseSneer", ((168, -0.6, 0.0), (168, 0.0, 0.15), (168, 0.6, 0.0)), 0.13, 0.15, 0.2),
)
"""Where the frame of glasses lies."""
MIDDLE: Final = (
    # AU 1: across the middle of the forehead.
    Crease(
        "browInnerUp",
        ((9, -2.3, -1.2), (9, -1.2, -1.5), (9, 0.0, -1.4), (9, 1.2, -1.5), (9, 2.3, -1.2)),
        width=0.13,
        depth=0.18,
        ridge=-0.25,
    ),
    Crease(
        "browInnerUp",
        ((9, -2.2, -2.1), (9, -1.1, -2.35), (9, 0.0, -2.3), (9, 1.1, -2.35), (9, 2.2, -2.1)),
        width=0.13,
        depth=0.14,
        ridge=-0.25,
    ),
    # AU 17 with 15: above the chin.
    Crease("mouthFrown*", ((18, -1.3, 0.15), (18, 0.0, -0.05), (18, 1.3, 0.15)), 0.24, 0.14),
)
