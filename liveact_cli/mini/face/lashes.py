"""A strip of lashes along each upper lid: it moves with the lid's edge and is not stretched."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.canonical import NUM_MESH
from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.topology import EYES

# Height of the strip in cm, and its largest share of the way to the crease.
_STRIP_CM = 0.17
_LARGEST_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class LashStrips:
    """Extra vertices between lid edge and crease: `edge`, `crease` (old vertices) and `share`."""

    edge: NDArray[np.intp]
    crease: NDArray[np.intp]
    share: Array

    def between(self, points: Array) -> Array:
        """Return positions `[468, 3]` with the strip's vertices appended at their place at rest."""
        share = self.share[:, None]
        extra = points[self.edge] * (1 - share) + points[self.crease] * share
        return np.concatenate([points, extra])

    def rigid(self, offsets: Array) -> Array:
        """Return offsets `[468, 3]` with the strip's vertices moving like the lid's edge."""
        return np.concatenate([offsets, offsets[self.edge]])


def lash_strips(triangles: NDArray[np.int32], shape: Array) -> tuple[LashStrips, NDArray[np.int32]]:
    """Insert a strip above each upper lid edge; returns it and the new triangles.

    New vertices are numbered from 468 on; `shape` `[468, 3]` in cm decides their place.
    """
    edge = np.array([v for eye in EYES for v in eye.upper])
    crease = np.array([v for eye in EYES for v in eye.crease])
    way = np.linalg.norm((shape[crease] - shape[edge])[:, :2], axis=1)
    share = np.minimum(_STRIP_CM / np.maximum(way, 1e-3), _LARGEST_SHARE)
    renamed = np.arange(NUM_MESH, dtype=np.int32)
    renamed[edge] = NUM_MESH + np.arange(len(edge), dtype=np.int32)
    strips = []
    for i, eye in enumerate(EYES):
        first, last = eye.corners
        new = NUM_MESH + i * len(eye.upper) + np.arange(len(eye.upper))
        low = [first, *eye.upper, last]
        high = [first, *new.tolist(), last]
        for k in range(len(low) - 1):
            if k > 0:
                strips.append((low[k], low[k + 1], high[k]))
            if k < len(low) - 2:
                strips.append((low[k + 1], high[k + 1], high[k]))
    return (
        LashStrips(edge, crease, share),
        np.concatenate([renamed[triangles], np.array(strips, np.int32)]),
    )
