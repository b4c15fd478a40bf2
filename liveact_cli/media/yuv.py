"""RGB frames to planar 4:2:0, the form that H.264 keeps: half the bytes on the encoder's pipe."""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

_BITS: Final = 16
# BT.709 in television's range: 16..235 for Y, 16..240 for the colour differences.
_RED, _BLUE = 0.2126, 0.0722
_GREEN = 1.0 - _RED - _BLUE


def _scaled(red: float, green: float, blue: float, span: float) -> tuple[int, int, int]:
    """Return integer weights whose sum is exact, so that grey keeps no tint."""
    r, b = (round(span / 255 * weight * (1 << _BITS)) for weight in (red, blue))
    total = round(span / 255 * (red + green + blue) * (1 << _BITS))
    return r, total - r - b, b


_Y: Final = _scaled(_RED, _GREEN, _BLUE, 219)
_U: Final = _scaled(-0.5 * _RED / (1 - _BLUE), -0.5 * _GREEN / (1 - _BLUE), 0.5, 224)
_V: Final = _scaled(0.5, -0.5 * _GREEN / (1 - _RED), -0.5 * _BLUE / (1 - _RED), 224)


@numba.njit(cache=True, nogil=True, boundscheck=False)
def _convert(rgb: NDArray[np.uint8], planes: NDArray[np.uint8]) -> None:
    # All in 32 bits, so that the compiler can work on eight pixels at a time.
    height, width = rgb.shape[:2]
    shift, half = np.int32(_BITS), np.int32((16 << _BITS) + (1 << (_BITS - 1)))
    red, green, blue = np.int32(_Y[0]), np.int32(_Y[1]), np.int32(_Y[2])
    for y in range(height):
        line, luma = rgb[y], planes[y * width : (y + 1) * width]
        for x in range(width):
            r, g, b = np.int32(line[x, 0]), np.int32(line[x, 1]), np.int32(line[x, 2])
            luma[x] = np.uint8((red * r + green * g + blue * b + half) >> shift)
    # Colour lies at the left of each pair of pixels and between two rows (MPEG-2's place).
    columns, first = width // 2, height * width
    count = columns * (height // 2)
    shift, half = np.int32(_BITS + 3), np.int32((128 << (_BITS + 3)) + (1 << (_BITS + 2)))
    u_red, u_green, u_blue = np.int32(_U[0]), np.int32(_U[1]), np.int32(_U[2])
    v_red, v_green, v_blue = np.int32(_V[0]), np.int32(_V[1]), np.int32(_V[2])
    summed = np.empty((3, width), np.int32)
    for j in range(height // 2):
        for x in range(width):
            for c in range(3):
                summed[c, x] = np.int32(rgb[2 * j, x, c]) + np.int32(rgb[2 * j + 1, x, c])
        line_u = planes[first + j * columns : first + (j + 1) * columns]
        line_v = planes[first + count + j * columns : first + count + (j + 1) * columns]
        for i in range(columns):
            x = 2 * i
            before = x - 1 if x > 0 else 0
            r = summed[0, before] + summed[0, x] + summed[0, x] + summed[0, x + 1]
            g = summed[1, before] + summed[1, x] + summed[1, x] + summed[1, x + 1]
            b = summed[2, before] + summed[2, x] + summed[2, x] + summed[2, x + 1]
            line_u[i] = np.uint8((u_red * r + u_green * g + u_blue * b + half) >> shift)
            line_v[i] = np.uint8((v_red * r + v_green * g + v_blue * b + half) >> shift)


def yuv420(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGB `[H, W, 3]`, both even, as Y, U and V planes in one row `[H * W * 3 / 2]`."""
    height, width = rgb.shape[:2]
    planes: NDArray[Any] = np.empty(height * width * 3 // 2, np.uint8)
    _convert(rgb, planes)
    return planes
