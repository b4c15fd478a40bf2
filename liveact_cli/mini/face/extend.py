"""Continue a picture behind what is cut out of it, pixel after pixel from the edge inward.

Every new pixel is taken from the place in the known picture whose surroundings look most like what
is there already: where its neighbours came from, one further, or, at the edge, anywhere near. So
lines go on in their direction, and texture stays texture (Ashikhmin 2001; Efros and Leung 1999).
What a line points at comes before what lies beside it (as in Criminisi 2003), or the ground from
both sides would close over the line.
"""

import heapq

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.nets import RGB

_PATCH = 3
"""Half the side of what is compared, in pixels."""
_LEAST_REACH = 12
_LINES_FIRST = 0.05
"""How much sooner a line goes on per grey level that it stands out by."""
_FARNESS = 0.5
"""What a source a pixel farther away costs, in squared grey levels of a compared pixel."""


def extended(picture: RGB, known: NDArray[np.bool_], depth: float, reach: float) -> RGB:
    """Return the picture with unknown pixels up to `depth` pixels from `known` ones continued.

    Sources at the edge are looked for within `reach` pixels; what lies deeper stays as it is.
    """
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5)
    wanted = (distance > 0) & (distance <= depth)
    # A source's whole surroundings must be known.
    side = 2 * _PATCH + 1
    usable = cv2.erode(known.astype(np.uint8), np.ones((side, side), np.uint8))
    filled = picture.copy()
    extend_pixels(filled, known.copy(), wanted, usable, max(_LEAST_REACH, round(reach)))
    return filled


@numba.njit(cache=True, nogil=True, boundscheck=False)
def extend_pixels(
    picture: NDArray[np.uint8],
    there: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    usable: NDArray[np.uint8],
    reach: int,
) -> None:
    """Fill `picture` `[H, W, 3]` where `wanted` `[H, W]`, lines before what lies between them.

    `there` `[H, W]` says which pixels are there, and is kept up; sources are `usable` ones.
    """
    height, width = there.shape
    source = np.full((height, width, 2), -1, np.int32)
    queue = [(0.0, 0, 0)]
    queue.clear()
    for y in range(height):
        for x in range(width):
            if there[y, x] and not wanted[y, x]:
                _queue_around(queue, picture, there, wanted, 0.0, y, x)
    n = 0
    while len(queue) > 0:
        when, y, x = heapq.heappop(queue)
        if there[y, x]:
            continue
        best, best_y, best_x = np.float32(1e30), -1, -1
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                ny, nx = y + dy, x + dx
                if ny < 0 or nx < 0 or ny >= height or nx >= width or source[ny, nx, 0] < 0:
                    continue
                sy, sx = source[ny, nx, 0] - dy, source[ny, nx, 1] - dx
                cost = _difference(picture, there, usable, y, x, sy, sx, best)
                if cost < best:
                    best, best_y, best_x = cost, sy, sx
        if best_y < 0 or n % 32 == 0:
            stride = max(1, reach // 10)
            found = (best, best_y, best_x)
            found = _search(picture, there, usable, y, x, (y, x), reach, stride, found)
            if found[1] >= 0:  # a thin line goes on only from exactly its place, between the grid's
                found = _search(picture, there, usable, y, x, found[1:], stride - 1, 1, found)
            best, best_y, best_x = found
        n += 1
        if best_y < 0:
            continue
        for c in range(3):
            picture[y, x, c] = picture[best_y, best_x, c]
        there[y, x] = True
        source[y, x, 0], source[y, x, 1] = best_y, best_x
        _queue_around(queue, picture, there, wanted, when, y, x)


@numba.njit(cache=True, nogil=True, boundscheck=False)
def _search(
    picture: NDArray[np.uint8],
    there: NDArray[np.bool_],
    usable: NDArray[np.uint8],
    y: int,
    x: int,
    middle: tuple[int, int],
    reach: int,
    stride: int,
    found: tuple[np.float32, int, int],
) -> tuple[np.float32, int, int]:
    """Return the cheapest source (cost, row, column) on a grid, or `found` if that is cheaper."""
    best, best_y, best_x = found
    for sy in range(middle[0] - reach, middle[0] + reach + 1, stride):
        for sx in range(middle[1] - reach, middle[1] + reach + 1, stride):
            cost = _difference(picture, there, usable, y, x, sy, sx, best)
            if cost < best:
                best, best_y, best_x = cost, sy, sx
    return best, best_y, best_x


@numba.njit(cache=True, nogil=True, boundscheck=False)
def _queue_around(
    queue: list[tuple[float, int, int]],
    picture: NDArray[np.uint8],
    there: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    when: float,
    y: int,
    x: int,
) -> None:
    """Queue the wanted neighbours of a pixel that was filled at `when`, sooner along a line."""
    height, width = there.shape
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        ny, nx = y + dy, x + dx
        if not (0 <= ny < height and 0 <= nx < width) or there[ny, nx] or not wanted[ny, nx]:
            continue
        down, right = _slope(picture, there, y, x, 1, 0), _slope(picture, there, y, x, 0, 1)
        # A line runs across the slope; it is followed as far as the slope is not along it.
        across = abs(right * dy) + abs(down * dx) - abs(right * dx) - abs(down * dy)
        later = when + 1.0 / (1.0 + _LINES_FIRST * max(0.0, float(across)))
        heapq.heappush(queue, (later, ny, nx))


@numba.njit(cache=True, nogil=True, boundscheck=False)
def _slope(
    picture: NDArray[np.uint8], there: NDArray[np.bool_], y: int, x: int, dy: int, dx: int
) -> np.float32:
    """Return how many grey levels a pixel differs from its two neighbours that are there."""
    height, width = there.shape
    steepest = np.float32(0)
    for k in range(-1, 2, 2):
        ny, nx = y + k * dy, x + k * dx
        if 0 <= ny < height and 0 <= nx < width and there[ny, nx]:
            total = np.float32(0)
            for c in range(3):
                total += abs(np.float32(picture[y, x, c]) - np.float32(picture[ny, nx, c]))
            steepest = max(steepest, total / np.float32(3))
    return steepest


@numba.njit(cache=True, nogil=True, boundscheck=False)
def _difference(
    picture: NDArray[np.uint8],
    there: NDArray[np.bool_],
    usable: NDArray[np.uint8],
    y: int,
    x: int,
    sy: int,
    sx: int,
    limit: np.float32,
) -> np.float32:
    """Return how unlike the surroundings of (y, x), as far as there, and a source's are."""
    height, width = there.shape
    if sy < 0 or sx < 0 or sy >= height or sx >= width or usable[sy, sx] == 0:
        return np.float32(1e30)
    total, count = np.float32(0), 0
    for dy in range(-_PATCH, _PATCH + 1):
        for dx in range(-_PATCH, _PATCH + 1):
            ny, nx = y + dy, x + dx
            if ny < 0 or nx < 0 or ny >= height or nx >= width or not there[ny, nx]:
                continue
            if sy + dy < 0 or sx + dx < 0 or sy + dy >= height or sx + dx >= width:
                continue
            for c in range(3):
                d = np.float32(picture[ny, nx, c]) - np.float32(picture[sy + dy, sx + dx, c])
                total += d * d
            count += 1
    if count == 0:
        return np.float32(1e30)
    away = np.float32(abs(sy - y) + abs(sx - x))
    return total / np.float32(count) + np.float32(_FARNESS) * away
