"""Where faces are in a picture, found before the work: a picture without one costs no hours."""

from typing import TYPE_CHECKING, NamedTuple

from liveact_cli.weights.registry import ModelRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FaceBox(NamedTuple):
    """A face in a picture: left, top, width, height in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of the face."""
        return self.x + self.width / 2, self.y + self.height / 2


def find_face(row: ModelRow, picture: "NDArray[np.uint8]", face: int | None) -> FaceBox | None:
    """Return the face that would speak (`face` picks one by size, 1 is the largest).

    None for models that look for no face. Raises MediaError where there is none that can be used.
    """
    if row.family != "mini":
        return None
    from liveact_cli.mini.face.fit import fit_face

    return FaceBox(*map(float, fit_face(picture, face).box))


def nearest_face(picture: "NDArray[np.uint8]", middle: tuple[float, float]) -> int:
    """Return the number of the face that lies nearest to a point; 1 is the largest."""
    from liveact_cli.mini.face.fit import face_landmarker

    boxes = [FaceBox(*map(float, found.box)) for found in face_landmarker().detect(picture)]
    away = [(box.middle[0] - middle[0]) ** 2 + (box.middle[1] - middle[1]) ** 2 for box in boxes]
    return away.index(min(away)) + 1 if away else 1
