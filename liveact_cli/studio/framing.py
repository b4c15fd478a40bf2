"""How much of a portrait is shown, so that heads are alike in size and whole: pure arithmetic."""

from typing import Final, NamedTuple

from liveact_cli.core.units import Size
from liveact_cli.studio.layout import FACE_HEIGHT, NARROWEST, WIDEST

LARGEST_FACE: Final = 0.42
"""Share of a panel's height that a face may fill: above that hair and hats are cut."""
SMALLEST_FACE: Final = 0.38
"""Share that it fills at least, as far as the picture allows."""


class Crop(NamedTuple):
    """A part of a picture in pixels: left, top, width, height."""

    left: int
    top: int
    width: int
    height: int


def widest_shape(picture: Size, face_height: float | None) -> float:
    """Return the shape (width / height) of the widest panel that leaves the head whole."""
    if face_height is None:
        return WIDEST
    return min(max(picture.width * LARGEST_FACE / face_height, NARROWEST), WIDEST)


def crop_for(picture: Size, middle: tuple[float, float], face_height: float, panel: Size) -> Crop:
    """Return the part of a picture that fills a panel of this shape around the face."""
    shape = panel.width / panel.height
    height = min(picture.height, picture.width / shape, face_height / SMALLEST_FACE)
    width = min(picture.width, round(height * shape))
    height = min(picture.height, round(height))
    left = min(max(middle[0] - width / 2, 0), picture.width - width)
    top = min(max(middle[1] - FACE_HEIGHT * height, 0), picture.height - height)
    return Crop(round(left), round(top), int(width), int(height))
