"""One step of mesh subdivision as a matrix: curved along lips, lids and outline, flat elsewhere.

The same matrix maps source positions, depths and every expression, so a resting face is the
identity. Curves follow the four-point scheme (Dyn, Levin, Gregory 1987), which keeps old vertices.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Edge = tuple[int, int]
Refined = tuple[csr_array, NDArray[np.int32], dict[Edge, int]]


def subdivision(
    count: int,
    triangles: NDArray[np.int32],
    curves: Iterable[Sequence[int]],
    closed: Sequence[int],
) -> Refined:
    """Split every triangle in four.

    Returns the matrix `[new, count]` (old vertices first), the triangles and the new vertex of each
    edge (smaller index first). `curves` are open rows, `closed` one closed row of vertices.
    """
    stencils = _curve_stencils(curves, closed)
    middle: dict[Edge, int] = {}
    rows: list[dict[int, float]] = [{i: 1.0} for i in range(count)]
    fine = []
    for a, b, c in triangles.tolist():
        ab, bc, ca = (_split(edge, middle, rows, stencils) for edge in ((a, b), (b, c), (c, a)))
        fine += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    entries = [(i, j, weight) for i, row in enumerate(rows) for j, weight in row.items()]
    i, j, weights = zip(*entries, strict=True)
    matrix = csr_array((weights, (i, j)), shape=(len(rows), count))
    return matrix, np.array(fine, np.int32), middle


def _split(
    edge: Edge,
    middle: dict[Edge, int],
    rows: list[dict[int, float]],
    stencils: dict[Edge, dict[int, float]],
) -> int:
    key = (min(edge), max(edge))
    if key not in middle:
        middle[key] = len(rows)
        rows.append(stencils.get(key, {key[0]: 0.5, key[1]: 0.5}))
    return middle[key]


def _curve_stencils(
    curves: Iterable[Sequence[int]], closed: Sequence[int]
) -> dict[Edge, dict[int, float]]:
    stencils: dict[Edge, dict[int, float]] = {}
    for curve in curves:
        for i in range(len(curve) - 1):
            a, b = curve[i], curve[i + 1]
            before = curve[i - 1] if i > 0 else None
            after = curve[i + 2] if i + 2 < len(curve) else None
            stencils[min(a, b), max(a, b)] = _four_point(before, a, b, after)
    ring = list(closed)
    for i in range(len(ring)):
        before, a, b, after = (ring[(i + k) % len(ring)] for k in (-1, 0, 1, 2))
        stencils[min(a, b), max(a, b)] = _four_point(before, a, b, after)
    return stencils


def _four_point(before: int | None, a: int, b: int, after: int | None) -> dict[int, float]:
    """Weights of the point between a and b; a missing neighbour is the reflected end."""
    weights = {a: 9 / 16, b: 9 / 16}
    if before is None:
        weights[a] -= 2 / 16
        weights[b] += 1 / 16
    else:
        weights[before] = -1 / 16
    if after is None:
        weights[b] -= 2 / 16
        weights[a] += 1 / 16
    else:
        weights[after] = -1 / 16
    return weights
