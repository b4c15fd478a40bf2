"""What a landmark fit sees in rendered frames, and what must not change in them."""

import cv2
import numpy as np
import pytest

from liveact_cli.mini.face.background import separate
from liveact_cli.mini.face.detector import Region
from liveact_cli.mini.face.fit import face_landmarker, fit_face, head_pose_of
from liveact_cli.mini.face.mesh import HeadPose
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.motion import motion_vector


class Seen:
    """Measures of the face in a frame, in units of the distance between the eyes."""

    def __init__(self, renderer, **motion):
        self.frame = renderer.render(motion_vector(motion))
        rest = renderer.head.landmarks
        low, high = rest[:, :2].min(0), rest[:, :2].max(0)
        (x, y), side = (low + high) / 2, 1.5 * float((high - low).max())
        face = face_landmarker().track(self.frame, Region(x, y, side, 0.0), passes=2)
        self.points = face.points
        self.scores = face_landmarker().blendshapes(face)
        self.confidence = face.confidence
        self.angles = head_pose_of(face_landmarker().canonical, face.points)

    def distance(self, a, b):
        unit = np.linalg.norm(self.points[33, :2] - self.points[263, :2])
        return float(np.linalg.norm(self.points[a, :2] - self.points[b, :2]) / unit)

    @property
    def aperture(self):
        return self.distance(13, 14)

    @property
    def width(self):
        return self.distance(61, 291)

    @property
    def lids(self):
        return (self.distance(159, 145) + self.distance(386, 374)) / 2


BILABIAL = {"mouthPress": 0.5, "mouthClose": 1.0}


def test_lips_close_and_open(renderer):
    closed = Seen(renderer, **BILABIAL).aperture
    half = Seen(renderer, jawOpen=0.35).aperture
    wide = Seen(renderer, jawOpen=0.8).aperture
    assert closed < 0.035
    assert half > closed + 0.02
    assert wide > half + 0.04


def test_mouth_close_takes_back_the_jaws_gap(hopper_renderer):
    shut = Seen(hopper_renderer, jawOpen=0.5, mouthClose=1.0)
    assert shut.aperture < 0.03
    rest = Seen(hopper_renderer)
    assert shut.points[152, 1] > rest.points[152, 1] + 2  # the jaw itself stays down


def test_a_toothy_smile_closes_for_bilabials(smiling_renderer, smiling):
    own = fit_face(smiling)
    unit = np.linalg.norm(own.landmarks[33, :2] - own.landmarks[263, :2])
    before = np.linalg.norm(own.landmarks[13, :2] - own.landmarks[14, :2]) / unit
    assert before > 0.08
    assert Seen(smiling_renderer, **BILABIAL).aperture < 0.25 * before


def test_rounded_lips_are_narrower_than_spread_ones(renderer):
    round_ = Seen(renderer, jawOpen=0.2, mouthPucker=0.8, mouthFunnel=0.3)
    spread = Seen(renderer, jawOpen=0.15, mouthStretch=0.6, mouthUpperUp=0.2, mouthLowerDown=0.3)
    assert round_.width < 0.85 * spread.width


def test_lids_close(renderer):
    open_, half, shut = (Seen(renderer, eyeBlink=b).lids for b in (0.0, 0.5, 1.0))
    assert shut < 0.6 * open_
    assert shut < half < open_


def test_expressions_are_recognised(joconde_renderer):
    rest = Seen(joconde_renderer).scores
    raised = Seen(joconde_renderer, browInnerUp=0.8, browOuterUp=0.9).scores
    blinking = Seen(joconde_renderer, eyeBlink=1.0).scores
    assert raised["browInnerUp"] > rest["browInnerUp"] + 0.05  # a face without brows
    assert blinking["eyeBlinkLeft"] > rest["eyeBlinkLeft"] + 0.2


@pytest.mark.parametrize(
    ("channel", "axis", "degrees"), [("yaw", 0, 8), ("pitch", 1, 6), ("roll", 2, 10)]
)
def test_commanded_angles_are_measured(renderer, channel, axis, degrees):
    plus, minus = (Seen(renderer, **{channel: sign * degrees}) for sign in (1, -1))
    slope = (plus.angles[axis] - minus.angles[axis]) / (2 * degrees)
    assert slope == pytest.approx(1.0, abs=0.2)
    assert min(plus.confidence, minus.confidence) > 0.9


def test_nothing_is_drawn_on_dark_glasses(hopper, hopper_fit):
    dark = hopper.copy()
    reach = round(1.8 * hopper_fit.scale)
    for iris in hopper_fit.landmarks[[468, 473], :2]:
        cv2.circle(dark, tuple(int(v) for v in np.round(iris)), reach, (18, 16, 16), -1)
    worn = FaceRenderer(fit_face(dark), 512, 512)
    still, blinking = (worn.render(motion_vector(eyeBlink=lids, gazeX=0.5)) for lids in (0.0, 1.0))
    np.testing.assert_array_equal(still, blinking)


def test_a_rounded_mouth_is_dark(hopper_renderer):
    head = hopper_renderer.head
    x, y = np.round(head.landmarks[13, :2]).astype(int)
    light = {}
    for rounding in (0.0, 0.6):
        patch = np.zeros((12, 24, 3), np.uint8)
        hole = np.ones(patch.shape[:2], np.uint8)
        place = (float(x - 12), float(y - 2), 1.0)
        hopper_renderer._mouth.paint(patch, hole, place, HeadPose(), 0.3, rounding, 0.0)
        light[rounding] = patch.mean()
    assert light[0.6] < 0.65 * light[0.0]


def test_gaze_moves_the_iris(smiling_renderer):
    right, left = Seen(smiling_renderer, gazeX=0.8), Seen(smiling_renderer, gazeX=-0.8)
    corner = right.points[33, 0] - left.points[33, 0]
    assert right.points[468, 0] - left.points[468, 0] - corner > 2.0


@pytest.mark.parametrize(
    "motion",
    [{}, {"jawOpen": 0.8}, {"yaw": 6.0, "pitch": 3.0}, {"roll": 5.0, "tx": 0.5}],
    ids=str,
)
def test_the_background_is_untouched(hopper_renderer, hopper, motion):
    frame = hopper_renderer.render(motion_vector(motion))
    for part in (np.s_[:300, :100], np.s_[:220, 420:]):
        np.testing.assert_array_equal(frame[part], hopper[part])


def test_a_person_before_one_colour_is_cut_out_exactly(hopper, hopper_renderer):
    green = hopper.copy()
    green[hopper_renderer.matte < 128] = (20, 180, 60)
    head = hopper_renderer.head
    layers = separate(green, head.source[head.oval], head.scale)
    assert np.abs(layers.background.astype(int) - (20, 180, 60)).max() < 12
    assert layers.person[hopper_renderer.matte > 250, 3].min() > 250
    # Nothing of the colour far from the outline belongs to the person.
    far = cv2.dilate(hopper_renderer.matte, np.ones((9, 9), np.uint8)) < 128
    assert layers.person[far, 3].max() == 0


def test_a_person_cut_off_by_the_border_goes_on_beyond_it(hopper_fit):
    close = FaceRenderer(hopper_fit, 160, 160, crop=(180.0, 130.0, 160.0, 160.0))
    moved = close.render(motion_vector(ty=-0.8, tx=0.5))
    # Cheek and jaw fill the lower and the left border: no background shows there.
    skin = close.render(motion_vector())[150:, 40:120].astype(float).mean((0, 1))
    assert np.abs(moved[150:, 40:120].astype(float).mean((0, 1)) - skin).max() < 40


def test_sources_tell_where_pixels_come_from(hopper_renderer):
    rest = hopper_renderer.sources(motion_vector())
    y, x = np.mgrid[:512, :512]
    assert np.nanmax(np.abs(rest - np.stack([x, y], -1))) < 0.02
    open_mouth = hopper_renderer.sources(motion_vector(jawOpen=0.8))
    mouth = hopper_renderer.head.landmarks[[13, 14], :2].mean(0)
    near = np.hypot(x - mouth[0], y - mouth[1]) < 4 * hopper_renderer.head.scale
    below_the_eyes = y > hopper_renderer.head.landmarks[1, 1]
    nowhere = np.isnan(open_mouth[..., 0])
    assert nowhere[near].sum() > 100
    assert not nowhere[~near & below_the_eyes].any()


def test_rest_is_the_picture(hopper_renderer, hopper):
    frame = hopper_renderer.render(motion_vector())
    difference = np.abs(frame.astype(int) - hopper).max(2)
    assert (difference > 0).mean() < 0.02  # the finely drawn mouth and eyes
    assert difference.mean() < 0.1


def test_frames_are_the_same_bytes(hopper_fit, hopper_renderer):
    motion = motion_vector(jawOpen=0.4, yaw=3.0, eyeBlink=0.4, gazeX=0.3, mouthSmile=0.4)
    first = hopper_renderer.render(motion)
    hopper_renderer.render(motion_vector(jawOpen=0.9, roll=8.0))
    np.testing.assert_array_equal(hopper_renderer.render(motion), first)
    np.testing.assert_array_equal(FaceRenderer(hopper_fit, 512, 512).render(motion), first)


def test_small_motion_changes_little(hopper_renderer):
    def frame(k):
        return hopper_renderer.render(motion_vector(yaw=0.05 * k, jawOpen=0.2)).astype(int)

    for k in range(4):
        assert np.abs(frame(k + 1) - frame(k)).mean() < 0.5


@pytest.mark.parametrize("size", [(256, 256), (320, 180), (180, 320), (640, 640)])
def test_sizes(hopper_fit, size):
    renderer = FaceRenderer(hopper_fit, *size)
    frame = renderer.render(motion_vector(jawOpen=0.5, eyeBlink=0.6))
    assert frame.shape == (size[1], size[0], 3)
    assert frame.dtype == np.uint8
    oval = renderer.head.source[renderer.head.oval].mean(0)
    assert 0.25 * size[0] < oval[0] < 0.75 * size[0]
    assert 0 < oval[1] < size[1]


def test_any_motion_gives_a_frame(renderer):
    random = np.random.default_rng(0)
    for _ in range(20):
        motion = random.normal(scale=1.5, size=motion_vector().shape).astype(np.float32)
        motion[-6:-3] *= 8
        assert renderer.render(motion).dtype == np.uint8
