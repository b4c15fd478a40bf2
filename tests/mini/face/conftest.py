"""Portraits, fitted and ready to draw, once for all tests of the face."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from liveact_cli.mini.face.fit import fit_face
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.motion import motion_vector

ROOT = Path(__file__).parents[3]
PORTRAITS = ROOT / "tests" / "data" / "portraits"


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="session")
def hopper():
    """Closed lips, glasses, a cap: `[512, 512, 3]`."""
    return read(ROOT / "examples" / "face.png")


@pytest.fixture(scope="session")
def joconde():
    """A painting, the head turned by 20 degrees: `[640, 412, 3]`."""
    return read(PORTRAITS / "joconde.jpg")


@pytest.fixture(scope="session")
def hopper_fit(hopper):
    return fit_face(hopper)


@pytest.fixture(scope="session")
def hopper_renderer(hopper_fit):
    return FaceRenderer(hopper_fit, 512, 512)


@pytest.fixture(scope="session")
def smiling(hopper_renderer):
    """An open smile, drawn by the renderer itself: `[256, 256, 3]`."""
    smile = motion_vector(mouthSmile=0.9, jawOpen=0.22, mouthUpperUp=0.45, mouthLowerDown=0.3)
    return cv2.resize(hopper_renderer.render(smile), (256, 256), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="session")
def smiling_renderer(smiling):
    return FaceRenderer(fit_face(smiling), 512, 512)


@pytest.fixture(scope="session")
def joconde_renderer(joconde):
    return FaceRenderer(fit_face(joconde), 412, 640)


@pytest.fixture(params=["hopper", "smiling", "joconde"])
def renderer(request):
    return request.getfixturevalue(f"{request.param}_renderer")
