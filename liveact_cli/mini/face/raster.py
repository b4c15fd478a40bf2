"""Compiled kernels: triangles into coordinate maps. One thread, so that frames are the same bytes.

A map pixel holds where in the texture its colour lies. Kernels are compiled once per installation
and kept in numba's cache.
"""

import numba
import numpy as np
from numpy.typing import NDArray

FAR = np.float32(1e9)

Float = NDArray[np.float32]


@numba.njit(cache=True, nogil=True, fastmath=True, boundscheck=False)
def draw_triangles(
    place: Float,
    depth: Float,
    source: Float,
    triangles: NDArray[np.int32],
    map_x: Float,
    map_y: Float,
    nearest: Float,
) -> None:
    """Fill `map_x`, `map_y` `[h, w]` with interpolated `source` where a triangle is the nearest.

    `place` `[N, 2]` are pixel positions in the map, `depth` `[N]` grows away from the viewer,
    `source` `[N, 2]`, `triangles` `[T, 3]`; `nearest` `[h, w]` is the depth buffer.
    """
    height, width = map_x.shape
    slack = np.float32(1e-3)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = place[a, 0], place[a, 1]
        bx, by = place[b, 0], place[b, 1]
        cx, cy = place[c, 0], place[c, 1]
        area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy)
        if abs(area) < 1e-6:
            continue
        top = max(0, int(np.ceil(min(ay, by, cy) - slack)))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy) + slack)))
        left = max(0, int(np.ceil(min(ax, bx, cx) - slack)))
        right = min(width - 1, int(np.floor(max(ax, bx, cx) + slack)))
        if top > bottom or left > right:
            continue
        inverse = np.float32(1.0) / area
        du, dv = (by - cy) * inverse, (cy - ay) * inverse
        dz = du * (depth[a] - depth[c]) + dv * (depth[b] - depth[c])
        dsx = du * (source[a, 0] - source[c, 0]) + dv * (source[b, 0] - source[c, 0])
        dsy = du * (source[a, 1] - source[c, 1]) + dv * (source[b, 1] - source[c, 1])
        for y in range(top, bottom + 1):
            u = ((cx - bx) * (y - cy) - (by - cy) * cx) * inverse
            v = ((ax - cx) * (y - cy) - (cy - ay) * cx) * inverse
            start, stop = left, right
            # Each barycentric weight is linear in x: cut the span where one turns negative.
            for k in range(3):
                if k == 0:
                    offset, slope = u, du
                elif k == 1:
                    offset, slope = v, dv
                else:
                    offset, slope = np.float32(1.0) - u - v, -du - dv
                if slope > 1e-12:
                    start = max(start, int(np.ceil((-slack - offset) / slope)))
                elif slope < -1e-12:
                    stop = min(stop, int(np.floor((-slack - offset) / slope)))
                elif offset < -slack:
                    stop = start - 1
            if start > stop:
                continue
            us, vs = u + du * start, v + dv * start
            z = us * (depth[a] - depth[c]) + vs * (depth[b] - depth[c]) + depth[c]
            sx = (
                us * (source[a, 0] - source[c, 0])
                + vs * (source[b, 0] - source[c, 0])
                + source[c, 0]
            )
            sy = (
                us * (source[a, 1] - source[c, 1])
                + vs * (source[b, 1] - source[c, 1])
                + source[c, 1]
            )
            for x in range(start, stop + 1):
                step = np.float32(x - start)
                if z + dz * step < nearest[y, x]:
                    nearest[y, x] = z + dz * step
                    map_x[y, x] = sx + dsx * step
                    map_y[y, x] = sy + dsy * step
