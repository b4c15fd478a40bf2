import cv2
import numpy as np
import pytest

from liveact_cli.mini.face.basis import BasisBuilder
from liveact_cli.mini.face.controls import Controls
from liveact_cli.mini.face.drawings import drawn, on_the_lines
from liveact_cli.mini.face.fit import face_landmarker
from liveact_cli.mini.face.mesh import HeadPose
from liveact_cli.mini.face.mouth import Mouth
from liveact_cli.mini.face.topology import EYES, LOWER_ROWS, MOUTH_CORNERS, OVAL, UPPER_ROWS
from liveact_cli.mini.motion import motion_vector

SCALE = 20.0
SKIN, INK = (250, 205, 180), (0, 0, 0)
TALL, WIDE = 26, 34
"""Half axes of the drawn eyes in pixels: twice as tall as a person's."""


@pytest.fixture(scope="module")
def mesh():
    return face_landmarker().canonical


@pytest.fixture(scope="module")
def landmarks(mesh):
    """A face from the front, 20 pixels per cm, with irises."""
    points = np.concatenate([mesh.vertices * SCALE, np.zeros((10, 3))])
    points += np.array([250.0, 260.0, 0.0])
    for eye in EYES:
        middle = points[list(eye.loop)].mean(0)
        ring = [(0, 0, 0), (11, 0, 0), (0, -11, 0), (-11, 0, 0), (0, 11, 0)]
        points[list(eye.iris)] = middle + np.array(ring, float)
    return points


@pytest.fixture(scope="module")
def cartoon(landmarks):
    """A drawing with large eyes, and a mouth below that of the landmarks: `[520, 500, 3]`."""
    picture = np.full((520, 500, 3), SKIN, np.uint8)
    for eye in EYES:
        middle = tuple(int(v) for v in np.round(landmarks[list(eye.loop), :2].mean(0)))
        cv2.ellipse(picture, middle, (WIDE, TALL), 0, 0, 360, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, middle, 15, INK, -1, cv2.LINE_AA)
        cv2.ellipse(picture, middle, (WIDE, TALL), 0, 0, 360, INK, 5, cv2.LINE_AA)
    x, y = mouth_middle(landmarks)
    cv2.ellipse(picture, (x, y), (60, 16), 0, 0, 360, (220, 30, 30), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (x, y), (60, 16), 0, 0, 360, INK, 3, cv2.LINE_AA)
    cv2.line(picture, (x - 58, y), (x + 58, y), INK, 3, cv2.LINE_AA)
    return picture


def mouth_middle(landmarks):
    x, y = np.round(landmarks[[13, 14], :2].mean(0)).astype(int)
    return int(x), int(y) + 14


def test_lids_lie_on_the_line_around_an_eye(cartoon, landmarks, mesh):
    lined = on_the_lines(cartoon, landmarks, SCALE, mesh)
    assert lined.eyes
    for eye in EYES:
        middle = landmarks[list(eye.loop), :2].mean(0)
        around = (lined.landmarks[list(eye.loop), :2] - middle) / (WIDE - 2.5, TALL - 2.5)
        np.testing.assert_allclose(np.linalg.norm(around, axis=1), 1.0, atol=0.12)
        iris = lined.landmarks[list(eye.iris), :2]
        np.testing.assert_allclose(iris[0], middle, atol=1.5)
        assert 13 < np.linalg.norm(iris[1] - iris[0]) < 16


def test_lips_meet_on_the_drawn_line(cartoon, landmarks, mesh):
    lined = on_the_lines(cartoon, landmarks, SCALE, mesh)
    assert lined.lips
    x, y = mouth_middle(landmarks)
    right, left = lined.landmarks[list(MOUTH_CORNERS[:2]), 0]
    assert abs(right - (x - 61)) < 3
    assert abs(left - (x + 61)) < 3
    for rows in (UPPER_ROWS, LOWER_ROWS):
        np.testing.assert_allclose(lined.landmarks[list(rows[0]), 1], y, atol=2.5)
    assert abs(lined.landmarks[0, 1] - (y - 17)) < 3
    assert abs(lined.landmarks[17, 1] - (y + 17)) < 3


def test_what_is_on_no_line_stays(cartoon, landmarks, mesh):
    lined = on_the_lines(cartoon, landmarks, SCALE, mesh)
    still = [10, 152, 234, 454, 1, 4]
    np.testing.assert_allclose(lined.landmarks[still], landmarks[still], atol=1e-6)


def test_a_photograph_is_left_alone(hopper, hopper_fit, mesh):
    assert drawn(hopper, hopper_fit.landmarks) == 0.0
    lined = on_the_lines(hopper, hopper_fit.landmarks, hopper_fit.scale, mesh)
    assert not lined.eyes
    assert not lined.lips
    assert not hopper_fit.lined_eyes
    assert lined.landmarks is hopper_fit.landmarks


def test_a_line_around_an_eye_moves_with_its_lid(mesh):
    basis = BasisBuilder(mesh, mesh.vertices, lined_eyes=True).build()
    eye = EYES[0]
    for name, edge, line in (
        ("eyeBlinkRight", eye.upper, eye.crease),
        ("eyeBlinkRight", eye.lower, eye.under),
        ("eyeWide", eye.upper, eye.crease),
        ("cheekSquintRight", eye.lower, eye.under),
    ):
        offsets = basis.offsets[basis.names.index(name)]
        np.testing.assert_allclose(offsets[list(line)], offsets[list(edge)], atol=1e-9)
    raised = basis.offsets[basis.names.index("browInnerUp")]
    assert np.abs(raised[list(eye.crease)]).max() == 0.0


def test_one_sided_expressions_come_on_the_side_that_is_seen(mesh):
    names = BasisBuilder(mesh, mesh.vertices).build().names
    blendshapes = dict.fromkeys(("mouthSmileLeft", "mouthSmileRight"), 0.0)
    smirk = motion_vector(mouthSmileLeft=0.8, gazeX=0.3, yaw=4.0)
    for yaw, near, far in (
        (0.0, "Left", "Right"),
        (-25.0, "Left", "Right"),
        (25.0, "Right", "Left"),
    ):
        gesture = Controls(names, blendshapes, yaw).gesture(smirk)
        assert gesture.coefficients[names.index(f"mouthSmile{near}")] == pytest.approx(0.8)
        assert gesture.coefficients[names.index(f"mouthSmile{far}")] == 0.0
        assert gesture.gaze[0] == pytest.approx(0.3)
        assert gesture.pose.yaw == pytest.approx(4.0)


def test_a_drawing_exaggerates_what_is_no_speech(mesh):
    names = BasisBuilder(mesh, mesh.vertices).build().names
    blendshapes = dict.fromkeys(("mouthSmileLeft", "mouthSmileRight"), 0.0)
    sad = motion_vector(browInnerUp=1.0, mouthFrown=1.0, jawOpen=0.4, eyeWide=0.5)
    told = {
        flat: dict(
            zip(
                names,
                Controls(names, blendshapes, 0.0, flat).gesture(sad).coefficients,
                strict=True,
            )
        )
        for flat in (0.0, 1.0)
    }
    for name in ("browInnerUp", "mouthFrownLeft"):
        assert told[1.0][name] == pytest.approx(1.4 * told[0.0][name])
    for name in ("jawOpen", "eyeWide", "mouthClose"):
        assert told[1.0][name] == told[0.0][name]


def test_the_hairline_stays_where_brows_move(mesh):
    basis = BasisBuilder(mesh, mesh.vertices).build()
    hairline = [v for v in OVAL if mesh.vertices[v, 1] < -4.0]
    assert len(hairline) > 8
    for name in ("browInnerUp", "browOuterUpLeft", "browDownLeft"):
        offsets = basis.offsets[basis.names.index(name)]
        assert np.abs(offsets[hairline]).max() == 0.0
        assert np.abs(offsets).max() > 0.3


def test_a_drawn_mouth_has_no_shade(hopper_renderer):
    head, (x, y) = hopper_renderer.head, hopper_renderer.head.landmarks[13, :2].astype(int)
    shares = []
    for flat in (0.0, 1.0):
        mouth = Mouth(head, hopper_renderer._still, False, flat)
        mouth._grain = 0.0
        patch = np.zeros((24, 40, 3), np.uint8)
        hole = np.ones(patch.shape[:2], np.uint8)
        place = (float(x - 20), float(y - 4), 1.0)
        mouth.paint(patch, hole, place, HeadPose(), jaw=0.5, rounding=0.0, tongue=0.0)
        _, counts = np.unique(patch.reshape(-1, 3), axis=0, return_counts=True)
        shares.append(np.sort(counts)[-3:].sum() / counts.sum())
    shaded, drawn_flat = shares
    assert shaded < 0.3
    assert drawn_flat > 0.6
