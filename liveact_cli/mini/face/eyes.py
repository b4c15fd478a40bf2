"""The eyeballs under the lids: a completed texture of each eye, shifted for the gaze."""

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.mesh import HeadModel, HeadPose
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.topology import CHEEK_SKIN, EYES

Float = NDArray[np.float32]

# How far the iris travels at gaze 1, in cm.
_GAZE_CM = (0.40, 0.24)
_AROUND_CM = 0.35
_BEHIND_GLASS = 0.5
"""Brightness, per the cheeks', that nothing in and around an eye reaches behind dark glasses:
.11 there, .68 and more in the eyes of the test portraits, in shadow as well."""


class Eyeball:
    """One eye of one person (0 right, 1 left); paints the opening between the lids."""

    def __init__(self, head: HeadModel, index: int) -> None:
        self._head = head
        eye = EYES[index]
        iris = head.landmarks[list(eye.iris), :2]
        self.centre = iris[0]
        self.radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
        loop = head.landmarks[list(eye.loop), :2]
        self.half_width = float(np.ptp(loop[:, 0])) / 2
        middle = head.closed_shape[list(eye.loop)].mean(0)
        self._frame = middle + np.array([[0.0, 0, 0], [1.0, 0, 0], [0.0, 1.0, 0]])
        still = (head.scale * self._frame @ head.rotation.T + head.translation)[:, :2]
        self._still = np.column_stack([still[1] - still[0], still[2] - still[0], still[0]])
        travel = head.scale * head.rotation[:2, :2] @ np.diag(_GAZE_CM)
        self._travel = travel

    def paint(
        self,
        patch: RGB,
        hole: NDArray[np.bool_],
        to_patch: tuple[float, float, float],
        pose: HeadPose,
        gaze: tuple[float, float],
        texture: RGB,
    ) -> None:
        """Fill `hole` `[h, w]` of RGB `patch` from `texture`, the eye in the picture, finer.

        `to_patch` is (left, top, magnification).
        """
        left, top, k = to_patch
        at = self._head.project(self._frame, pose)
        moved = np.column_stack([at[1] - at[0], at[2] - at[0], at[0]])
        back = np.linalg.solve(moved[:, :2].T, self._still[:, :2].T).T
        shift = self._still[:, 2] - back @ moved[:, 2]
        # From patch pixels: x shows frame place (x + 0.5) / k - 0.5 + left.
        corner = np.array([0.5 / k - 0.5 + left, 0.5 / k - 0.5 + top])
        to_picture = np.column_stack([back / k, back @ corner + shift]).astype(np.float32)
        dx, dy = (float(d) for d in self._travel @ np.array(gaze))
        reach = max(0.75 * self.half_width, 1.6 * self.radius)
        numbers = np.array([*self.centre, self.radius, reach, dx, dy], np.float32)
        paint_eyeball(patch, hole, to_picture, numbers, texture)


@numba.njit(cache=True, nogil=True, fastmath=True, boundscheck=False)
def paint_eyeball(
    canvas: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    to_picture: Float,
    numbers: Float,
    texture: NDArray[np.uint8],
) -> None:
    """Paint the pixels of `canvas` `[h, w, 3]` where `hole` is set with an eye that looks aside.

    `to_picture` (2x3) takes a pixel to its place in the picture, `texture` is twice as fine as
    that; `numbers` are the iris' middle and radius, how far the white gives way, and the shift.
    """
    height, width = hole.shape
    rows, columns = texture.shape[0] - 2, texture.shape[1] - 2
    zoom = np.float32(2.0)
    centre_x, centre_y, radius = numbers[0], numbers[1], numbers[2]
    reach, dx, dy = numbers[3], numbers[4], numbers[5]
    for y in range(height):
        for x in range(width):
            if not hole[y, x]:
                continue
            u = to_picture[0, 0] * x + to_picture[0, 1] * y + to_picture[0, 2]
            v = to_picture[1, 0] * x + to_picture[1, 1] * y + to_picture[1, 2]
            # The iris keeps its shape, the white gives way up to the corners.
            away = np.sqrt((u - dx - centre_x) ** 2 + (v - dy - centre_y) ** 2)
            t = min(max((away - np.float32(1.1) * radius) / reach, np.float32(0)), np.float32(1))
            share = np.float32(1) - t * t * (np.float32(3) - np.float32(2) * t)
            u = min(max((u - dx * share) * zoom, np.float32(0)), np.float32(columns))
            v = min(max((v - dy * share) * zoom, np.float32(0)), np.float32(rows))
            i, j = int(u), int(v)
            fx, fy = u - np.float32(i), v - np.float32(j)
            for c in range(3):
                top = texture[j, i, c] * (1 - fx) + texture[j, i + 1, c] * fx
                low = texture[j + 1, i, c] * (1 - fx) + texture[j + 1, i + 1, c] * fx
                canvas[y, x, c] = np.uint8(top + (low - top) * fy + np.float32(0.5))


def eyes_hidden(head: HeadModel, picture: RGB) -> bool:
    """Return whether both eyes are behind dark glasses, on which no lid must be drawn."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    at = np.round(head.landmarks[list(CHEEK_SKIN), :2]).astype(int)
    x, y = np.clip(at[:, 0], 0, head.width - 1), np.clip(at[:, 1], 0, head.height - 1)
    cheek = max(float(np.median(grey[y, x])), 1.0)
    side = 2 * max(1, round(_AROUND_CM * head.scale)) + 1
    for eye in EYES:
        around = np.zeros_like(grey)
        cv2.fillPoly(around, [np.round(head.landmarks[list(eye.loop), :2]).astype(np.int32)], 1)
        seen = grey[cv2.dilate(around, np.ones((side, side), np.uint8)) > 0]
        if not len(seen) or np.percentile(seen, 95) > _BEHIND_GLASS * cheek:
            return False
    return True


def complete_eyes(head: HeadModel, picture: RGB, lined: bool = False) -> RGB:
    """Return the picture with each eyeball continued under its lids, for wide eyes and gaze.

    The iris of a drawn eye, which a line surrounds (`lined`), is all there.
    """
    completed = picture.copy()
    for eye in EYES:
        loop = head.landmarks[list(eye.loop), :2]
        iris = head.landmarks[list(eye.iris), :2]
        radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
        _complete_one(completed, loop, iris[0], radius, lined)
    return completed


def _complete_one(picture: RGB, loop: Array, centre: Array, radius: float, lined: bool) -> None:
    pad = max(4.0, 0.9 * radius)
    low = np.maximum(np.floor(loop.min(0) - pad), 0).astype(int)
    high = np.minimum(np.ceil(loop.max(0) + pad) + 1, [picture.shape[1], picture.shape[0]]).astype(
        int
    )
    if (high - low).min() < 5:
        return
    roi = picture[low[1] : high[1], low[0] : high[0]]
    opening = np.zeros(roi.shape[:2], np.uint8)
    cv2.fillPoly(opening, [np.round((loop - low) * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    # Lids throw their shadow and lashes onto the rim: leave it out.
    rim = max(1, round(0.12 * radius))
    inner = cv2.erode(opening, np.ones((2 * rim + 1, 2 * rim + 1 if lined else 1), np.uint8))
    if np.count_nonzero(inner) < 6:
        return
    filled = cv2.inpaint(roi, 255 - inner, 3, cv2.INPAINT_TELEA)
    if lined:
        roi[:] = filled
        return
    # The iris is round: what a lid hides above looks like what is seen at its sides and below.
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    mirrored = cv2.remap(
        filled,
        x - np.float32(low[0]),
        np.float32(2 * centre[1] - low[1]) - y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    seen = cv2.remap(
        inner,
        x - np.float32(low[0]),
        np.float32(2 * centre[1] - low[1]) - y,
        cv2.INTER_LINEAR,
        borderValue=0,
    ) / np.float32(255)
    disc = smoothstep((1.08 * radius - np.hypot(dx, dy)) / (0.2 * radius) + 0.5)
    share = (disc * seen * (inner == 0))[..., None]
    blended = filled * (1 - share) + mirrored * share
    hidden = (opening == 0).astype(np.float32)[..., None]
    roi[:] = np.clip(roi * (1 - hidden) + blended * hidden + 0.5, 0, 255).astype(np.uint8)
