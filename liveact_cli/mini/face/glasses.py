"""Does the person wear glasses? Then what lies under the frame must not be bent."""

import cv2
import numpy as np

from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.nets import RGB

_PX_PER_CM = 20
_BRIDGE_CM = (0.6, 3.0)  # width and height of the strip down the bridge of the nose
# A bar has two edges; a shaded root of the nose has one. The less steep of the two, in units of the
# cheek's brightness per cm: at most 0.41 on bare noses of the test portraits, 0.73 on frames.
_THRESHOLD = 0.57


def wears_glasses(
    image: RGB, shape: Array, scale: float, rotation: Array, translation: Array
) -> bool:
    """Return whether a bar crosses the bridge of the nose of the face with that head frame."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)

    def flat(centre: Array, width: float, height: float) -> Array:
        x = centre[0] + (np.arange(int(width * _PX_PER_CM)) / _PX_PER_CM - width / 2)
        y = centre[1] + (np.arange(int(height * _PX_PER_CM)) / _PX_PER_CM - height / 2)
        gx, gy = np.meshgrid(x, y)
        points = np.stack([gx, gy, np.full_like(gx, centre[2])], -1)
        at = (scale * points @ rotation.T + translation).astype(np.float32)
        return np.asarray(
            cv2.remap(
                grey, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        )

    strip = cv2.GaussianBlur(flat(shape[168] + (0.0, 0.3, 0.0), *_BRIDGE_CM), (0, 0), 1.5)
    slope = np.gradient(strip.mean(1)) * _PX_PER_CM
    steepest = float(min(slope.max(), -slope.min()))
    cheek = float(np.median(flat(shape[50], 1.0, 1.0)))
    return steepest > _THRESHOLD * max(cheek, 30.0)
