import numpy as np
import pytest

from liveact_cli.mini.face.background import separate
from liveact_cli.mini.face.canonical import NUM_MESH
from liveact_cli.mini.face.lashes import lash_strips
from liveact_cli.mini.face.mesh import HeadPose
from liveact_cli.mini.face.subdivide import subdivision
from liveact_cli.mini.face.topology import (
    LOWER_INNER,
    OVAL,
    UPPER_INNER,
    face_triangles,
    smooth_curves,
)
from liveact_cli.mini.motion import motion_vector


def signed_areas(points, triangles):
    a, b, c = (points[triangles[:, i], :2] for i in range(3))
    first, second = b - a, c - a
    return (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2


def test_subdivision_keeps_vertices_and_flat_surfaces(hopper_fit):
    triangles = face_triangles(hopper_fit.canonical.triangles)
    matrix, fine, middle = subdivision(NUM_MESH, triangles, smooth_curves(), OVAL)
    assert len(fine) == 4 * len(triangles)
    np.testing.assert_allclose(matrix.sum(1), 1.0)
    np.testing.assert_array_equal(matrix[:NUM_MESH].toarray(), np.eye(NUM_MESH))
    assert matrix.shape[0] == NUM_MESH + len(middle)
    assert fine.max() == matrix.shape[0] - 1


def test_lash_strips_move_with_the_lid(hopper_fit):
    triangles = face_triangles(hopper_fit.canonical.triangles)
    strips, stripped = lash_strips(triangles, hopper_fit.shape)
    assert len(strips.edge) == 14
    assert len(stripped) == len(triangles) + 2 * (8 * 2 - 2)
    offsets = np.random.default_rng(0).normal(size=(NUM_MESH, 3))
    np.testing.assert_array_equal(strips.rigid(offsets)[NUM_MESH:], offsets[strips.edge])


def test_closed_lips_meet(renderer):
    shape = renderer.head.closed_shape
    gap = shape[list(LOWER_INNER), 1] - shape[list(UPPER_INNER), 1]
    assert np.abs(gap).max() < 1e-6


@pytest.mark.parametrize(
    "pose",
    [
        {"yaw": 8},
        {"yaw": -8},
        {"pitch": 6},
        {"pitch": -6},
        {"roll": 10},
        {"roll": -10},
        {"scale": 0.05, "tx": 1.0, "ty": 0.5},
    ],
    ids=str,
)
def test_turning_never_folds_the_picture(renderer, pose):
    head = renderer.head
    yaw, pitch = renderer.gain.turned(pose.get("yaw", 0.0), pose.get("pitch", 0.0))
    turned = {**pose, "yaw": yaw, "pitch": pitch}
    still = np.zeros(len(head.names))
    before = signed_areas(head.place(still, HeadPose()), head.triangles)
    after = signed_areas(head.place(still, HeadPose(**turned)), head.triangles)
    # The wings of the nose and slivers on the outline may hide behind their neighbours.
    folded = before * after < 0
    assert np.abs(before[folded]).sum() < 0.006 * np.abs(before[: len(head.face_triangles)]).sum()
    assert not folded[len(head.face_triangles) :].any()


def test_the_far_cheek_does_not_lie_upside_down(renderer):
    head = renderer.head
    areas = signed_areas(head.source, head.face_triangles)
    upside_down = np.sign(areas) != np.sign(np.median(areas))
    assert np.abs(areas[upside_down]).sum() < 0.005 * np.abs(areas).sum()


def test_the_shoulders_follow_a_little(hopper_renderer):
    head = hopper_renderer.head
    still = np.zeros(len(head.names))
    moved = head.place(still, HeadPose(tx=1.0)) - head.place(still, HeadPose())
    x, y = head.source.T
    chin, tall = head.source[head.oval, 1].max(), np.ptp(head.source[head.oval, 1])
    across = np.abs(x - head.source[head.oval, 0].mean()) < 0.8 * tall
    shoulders = across & (y > chin + 0.6 * tall) & (y < chin + 1.0 * tall)
    follow = moved[shoulders, 0] / moved[head.oval, 0].mean()
    assert (follow > 0.02).all()
    assert (follow < 0.25).all()


def test_expressions_leave_the_upper_face_to_the_brows(hopper_renderer):
    head = hopper_renderer.head
    speaking = np.zeros(len(head.names))
    speaking[head.names.index("jawOpen")] = 1.0
    moved = head.place(speaking, HeadPose()) - head.place(0 * speaking, HeadPose())
    assert np.abs(moved[[10, 33, 263, 105, 334], :2]).max() < 0.5
    assert moved[152, 1] > 1.0 * head.scale  # the chin drops by more than a centimetre


def test_layers_give_the_picture_again(hopper, hopper_renderer):
    head = hopper_renderer.head
    layers = separate(hopper, head.source[head.oval], head.scale)
    clear = 255 - layers.person[..., 3:].astype(int)
    again = layers.person[..., :3] + (clear * layers.background + 127) // 255
    assert np.abs(again - hopper.astype(int)).max() <= 1
    share = (layers.person[..., 3] > 127).mean()
    assert 0.3 < share < 0.8


def test_motion_names_are_checked():
    with pytest.raises(KeyError):
        motion_vector(jawOpened=1.0)
