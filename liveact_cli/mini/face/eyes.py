"""The eyeballs under the lids: a completed texture of each eye, shifted for the gaze."""

import cv2
import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.mesh import HeadModel, HeadPose
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.topology import EYES

Float = NDArray[np.float32]

# How far the iris travels at gaze 1, in cm.
_GAZE_CM = (0.40, 0.24)


class Eyeball:
    """One eye of one person (0 right, 1 left); maps the opening between the lids to the picture."""

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

    def map(
        self,
        size: tuple[int, int],
        to_patch: tuple[float, float, float],
        pose: HeadPose,
        gaze: tuple[float, float],
    ) -> tuple[Float, Float]:
        """Return where each pixel of a patch `size` (w, h) lies in the picture, `[h, w]` twice."""
        left, top, k = to_patch
        at = self._head.project(self._frame, pose)
        moved = np.column_stack([at[1] - at[0], at[2] - at[0], at[0]])
        back = np.linalg.solve(moved[:, :2].T, self._still[:, :2].T).T
        shift = self._still[:, 2] - back @ moved[:, 2]
        x = ((np.arange(size[0]) + 0.5) / k - 0.5 + left).astype(np.float32)[None]
        y = ((np.arange(size[1]) + 0.5) / k - 0.5 + top).astype(np.float32)[:, None]
        u = np.float32(back[0, 0]) * x + np.float32(back[0, 1]) * y + np.float32(shift[0])
        v = np.float32(back[1, 0]) * x + np.float32(back[1, 1]) * y + np.float32(shift[1])
        if gaze != (0.0, 0.0):
            dx, dy = (float(d) for d in self._travel @ np.array(gaze))
            # The iris keeps its shape, the white gives way up to the corners.
            distance = np.hypot(u - dx - self.centre[0], v - dy - self.centre[1])
            reach = max(0.75 * self.half_width, 1.6 * self.radius)
            share = 1.0 - smoothstep((distance - 1.1 * self.radius) / reach)
            u = u - np.float32(dx) * share.astype(np.float32)
            v = v - np.float32(dy) * share.astype(np.float32)
        return u, v


def complete_eyes(head: HeadModel, picture: RGB) -> RGB:
    """Return the picture with each eyeball continued under its lids, for wide eyes and gaze."""
    completed = picture.copy()
    for eye in EYES:
        loop = head.landmarks[list(eye.loop), :2]
        iris = head.landmarks[list(eye.iris), :2]
        radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
        _complete_one(completed, loop, iris[0], radius)
    return completed


def _complete_one(picture: RGB, loop: Array, centre: Array, radius: float) -> None:
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
    inner = cv2.erode(opening, np.ones((2 * rim + 1, 1), np.uint8))
    if np.count_nonzero(inner) < 6:
        return
    filled = cv2.inpaint(roi, 255 - inner, 3, cv2.INPAINT_TELEA)
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
