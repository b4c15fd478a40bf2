import cv2
import numpy as np
import pytest

from liveact_cli.mini.face.fit import face_landmarker
from liveact_cli.mini.face.geometry import head_angles, head_rotation, similarity
from liveact_cli.mini.face.landmarker import BLENDSHAPES


def test_canonical_mesh_has_mediapipes_sizes():
    mesh = face_landmarker().canonical
    assert mesh.vertices.shape == (468, 3)
    assert mesh.triangles.shape == (898, 3)
    assert mesh.vertices[4, 2] < mesh.vertices[234, 2]  # the nose is nearer than the ear
    assert mesh.vertices[152, 1] > mesh.vertices[10, 1]  # the chin is below the forehead


def test_reads_landmarks_and_blendshapes(hopper, smiling):
    landmarker = face_landmarker()
    (face,) = landmarker.detect(hopper)
    assert face.points.shape == (478, 3)
    assert face.confidence > 0.95
    (other,) = landmarker.detect(smiling)
    scores, smile = landmarker.blendshapes(face), landmarker.blendshapes(other)
    assert set(scores) == set(BLENDSHAPES)
    assert all(0 <= value <= 1 for value in smile.values())
    assert smile["mouthSmileLeft"] > scores["mouthSmileLeft"] + 0.4


def test_finds_every_face_largest_first(hopper, smiling):
    canvas = np.full((700, 1100, 3), 120, np.uint8)
    canvas[50:306, 40:296] = smiling
    canvas[120:632, 500:1012] = hopper
    faces = face_landmarker().detect(canvas)
    assert len(faces) == 2
    assert faces[0].box[0] > 500 > faces[1].box[0]


def test_finds_a_small_face_in_a_large_picture(hopper):
    canvas = np.random.default_rng(0).integers(90, 130, (1500, 2000, 3)).astype(np.uint8)
    small = cv2.resize(hopper, (140, 140), interpolation=cv2.INTER_AREA)
    canvas[1000:1140, 1500:1640] = small
    (face,) = face_landmarker().detect(canvas)
    x, y, width, _ = face.box
    assert 1500 < x < 1640
    assert 1000 < y < 1140
    assert 40 < width < 70


@pytest.mark.parametrize("angle", [-25.0, 25.0])
def test_finds_a_tilted_head(hopper, angle):
    turn = cv2.getRotationMatrix2D((256, 256), angle, 1.0)
    tilted = cv2.warpAffine(hopper, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    landmarker = face_landmarker()
    (face,) = landmarker.detect(tilted)
    (upright,) = landmarker.detect(hopper)
    change = head_angles(landmarker.head_pose(face)[1])[2]
    change -= head_angles(landmarker.head_pose(upright)[1])[2]
    assert change == pytest.approx(-angle, abs=4)  # OpenCV counts counter-clockwise


def test_angles_are_the_inverse_of_the_rotation():
    angles = (12.0, -7.0, 20.0)
    assert head_angles(head_rotation(*angles)) == pytest.approx(angles)
    # The face turns to image right, nods down, tilts clockwise.
    assert (head_rotation(10, 0, 0) @ [0, 0, -1])[0] > 0
    assert (head_rotation(0, 10, 0) @ [0, 0, -1])[1] > 0
    assert (head_rotation(0, 0, 10) @ [0, -1, 0])[0] > 0


def test_similarity_is_recovered():
    source = np.random.default_rng(1).normal(size=(40, 3))
    rotation = head_rotation(20, 10, -30)
    target = 3.5 * source @ rotation.T + (5, -2, 1)
    scale, found, shift = similarity(source, target, np.ones(40))
    assert scale == pytest.approx(3.5)
    np.testing.assert_allclose(found, rotation, atol=1e-9)
    np.testing.assert_allclose(shift, (5, -2, 1), atol=1e-9)
