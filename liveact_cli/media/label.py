"""A small visible label: "AI-generated", in a corner of every frame."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TEXT: Final = "AI-generated"
_OPACITY: Final = 0.55


class Label:
    """A label drawn once and blended into each frame of `width` x `height` pixels."""

    def __init__(self, width: int, height: int, text: str = TEXT) -> None:
        patch = label_patch(width, height, text)
        margin = label_margin(width, height)
        bottom, right = height - margin, width - margin
        self._where = (
            slice(bottom - patch.shape[0], bottom),
            slice(right - patch.shape[1], right),
        )
        alpha = patch[..., 3:].astype(np.uint16)
        self._keep = 255 - alpha
        self._add = patch[..., :3].astype(np.uint16) * alpha + 127

    def apply(self, frame: NDArray[np.uint8]) -> None:
        """Blend the label into `frame`, `[height, width, 3]`, in place."""
        there = frame[self._where]
        there[...] = (there * self._keep + self._add) // 255


def label_margin(width: int, height: int) -> int:
    """Return the pixels between a label and the lower right corner of the picture."""
    return max(2, round(min(width, height) / 64))


def label_patch(width: int, height: int, text: str = TEXT) -> NDArray[np.uint8]:
    """Return the label of a picture of this size, `[h, w, 4]`."""
    patch = _drawn(text, width, max(10, round(min(width, height) / 32)))
    margin = label_margin(width, height)
    return patch[: height - margin, : width - margin]


def _drawn(text: str, width: int, size: int) -> NDArray[np.uint8]:
    """Return white letters on a dark plate, `[h, w, 4]`; `size` shrinks to what fits."""
    while True:
        font = ImageFont.load_default(size)
        left, top, right, bottom = font.getbbox(text)
        pad = max(2, size // 3)
        extent = (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad)
        if extent[0] <= 0.9 * width or size <= 6:
            break
        size -= 1
    plate = Image.new("RGBA", extent, (0, 0, 0, round(255 * _OPACITY)))
    ImageDraw.Draw(plate).text((pad - left, pad - top), text, font=font, fill=(255, 255, 255, 255))
    return np.asarray(plate)
