import cv2
import numpy as np

from liveact_cli.mini.face.fit import fit_face
from liveact_cli.mini.face.glasses import wears_glasses
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.face.topology import LOWER_INNER, UPPER_INNER
from liveact_cli.mini.motion import motion_vector


def without_creases(renderer, motion, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(renderer._creases, "_folds", [])
        return renderer.render(motion).astype(int)


def test_a_furrow_darkens_the_skin_between_the_brows(joconde_renderer, monkeypatch):
    motion = motion_vector(browDown=1.0)
    folded = joconde_renderer.render(motion).astype(int)
    change = (folded - without_creases(joconde_renderer, motion, monkeypatch)).sum(2)
    brows = joconde_renderer.head.landmarks[[107, 336, 55, 285], :2]
    (left, top), (right, bottom) = brows.min(0).astype(int), brows.max(0).astype(int)
    assert change[top - 8 : bottom + 8, left:right].min() < -60
    # Nothing else moves these brows' skin: chin and mouth are as without it.
    chin = int(joconde_renderer.head.landmarks[0, 1])
    assert np.abs(change[chin:]).max() == 0


def test_a_face_at_rest_is_not_folded(joconde_renderer, monkeypatch):
    rest = motion_vector()
    np.testing.assert_array_equal(
        joconde_renderer.render(rest), without_creases(joconde_renderer, rest, monkeypatch)
    )


def test_a_smile_folds_both_sides_alike(hopper_renderer):
    gesture = hopper_renderer._controls.gesture(motion_vector(mouthSmile=1.0))
    light = hopper_renderer._creases.light(gesture.coefficients)
    middle = hopper_renderer.head.landmarks[1, 0] - light.low[0]
    at = round(float(middle / (light.high - light.low)[0] * light.gain.shape[1]))
    right, left = light.gain[:, :at].min(), light.gain[:, at:].min()
    assert -0.5 < right < -0.12
    assert 0.6 < left / right < 1.6


def test_folds_end_at_the_outline_of_a_turned_face(joconde_renderer):
    creases, head = joconde_renderer._creases, joconde_renderer.head
    outline = ((head.source[head.oval] - creases._low) * creases._zoom).astype(np.float32)
    assert creases._folds
    for folds in creases._folds:
        at = np.argwhere(np.abs(folds.light) > 0.03)[:, ::-1] + (folds.left, folds.top)
        inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in at]
        assert min(inside, default=0.0) > -1.0


def test_a_drawing_in_flat_colours_stays_flat(hopper, hopper_fit):
    flat = cv2.pyrMeanShiftFiltering(hopper, 12, 40) // 48 * 48
    assert not FaceRenderer(fit_face(np.ascontiguousarray(flat)), 512, 512)._creases._folds
    assert FaceRenderer(hopper_fit, 512, 512)._creases._folds


def test_glasses_have_two_edges(hopper, hopper_fit, joconde_renderer):
    fit = hopper_fit
    assert fit.glasses
    # A shadow over the upper half of the face has but one.
    height = int(fit.landmarks[168, 1] + 2)
    smooth = cv2.GaussianBlur(hopper, (0, 0), 12)
    smooth[:height] //= 3
    assert not wears_glasses(smooth, fit.shape, fit.scale, fit.rotation, fit.translation)


def test_closed_lips_stay_closed_under_a_sneer(renderer):
    shut = {"mouthClose": 1.0, "jawOpen": 0.1, "noseSneer": 1.6, "mouthFrown": 0.4}
    head = renderer.head
    gesture = renderer._controls.gesture(motion_vector(shut))
    placed = head.place(gesture.coefficients, gesture.pose)
    gap = placed[list(LOWER_INNER), 1] - placed[list(UPPER_INNER), 1]
    assert gap.max() < 0.12 * head.scale


def test_rounded_lips_lose_the_curve_of_a_smile(smiling_renderer):
    head = smiling_renderer.head

    def sag(**motion):
        gesture = smiling_renderer._controls.gesture(motion_vector(motion))
        placed = head.place(gesture.coefficients, gesture.pose)
        middle = (placed[list(UPPER_INNER), :2] + placed[list(LOWER_INNER), :2]) / 2
        line = (middle[0, 1] + middle[-1, 1]) / 2
        return float(middle[5, 1] - line) / head.scale

    assert sag() > 0.3
    assert sag(mouthPucker=0.9, mouthFunnel=0.3) < 0.55 * sag()
