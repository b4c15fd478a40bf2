import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveact_cli.core.errors import MediaError
from liveact_cli.mini.face.fit import default_size, fit_face, frame_crop

SIDE = st.integers(2, 4000)


def test_a_fit_describes_the_face(hopper_fit):
    assert hopper_fit.count == 1
    assert hopper_fit.index == 0
    assert hopper_fit.glasses
    assert not hopper_fit.mouth_open
    assert hopper_fit.warnings == ()
    assert abs(hopper_fit.angles[0]) < 5
    assert 11 < np.ptp(hopper_fit.shape[:, 0]) < 18  # cm


def test_an_open_smile_is_seen(smiling):
    fit = fit_face(smiling)
    assert fit.mouth_open
    assert fit.glasses
    assert fit.mouth_gap > 0.5


def test_face_picks_by_size(hopper, smiling):
    canvas = np.zeros((512, 800, 3), np.uint8)
    canvas[:, :512] = hopper
    canvas[:256, 530:786] = smiling
    assert fit_face(canvas).count == 2
    assert fit_face(canvas).box[0] < 512
    second = fit_face(canvas, 2)
    assert second.index == 1
    assert second.box[0] > 512
    with pytest.raises(MediaError, match=r"face 3 .*2 faces"):
        fit_face(canvas, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (7, 7), (300, 200)])
def test_no_face_is_an_error(size):
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    with pytest.raises(MediaError, match="no face") as caught:
        fit_face(picture)
    assert f"{size[1]}x{size[0]}" in caught.value.message
    assert caught.value.hint


def test_a_face_too_small_is_an_error(hopper):
    canvas = np.full((200, 200, 3), 120, np.uint8)
    canvas[60:124, 60:124] = cv2.resize(hopper, (64, 64), interpolation=cv2.INTER_AREA)
    with pytest.raises(MediaError, match="pixels wide, less than 28"):
        fit_face(canvas)


def test_a_small_face_is_a_warning(hopper):
    small = cv2.resize(hopper, (128, 128), interpolation=cv2.INTER_AREA)
    assert any("pixels wide" in note for note in fit_face(small).warnings)


@settings(deadline=None)
@given(SIDE, SIDE, st.integers(1, 600), st.integers(1, 600), st.data())
def test_a_crop_lies_in_the_picture_and_has_the_targets_shape(width, height, w, h, data):
    x = data.draw(st.floats(0, width))
    y = data.draw(st.floats(0, height))
    left, top, crop_width, crop_height = frame_crop((width, height), (x, y, 20.0, 30.0), (w, h))
    assert left >= -1e-6
    assert top >= -1e-6
    assert left + crop_width <= width + 1e-6
    assert top + crop_height <= height + 1e-6
    assert crop_width * h == pytest.approx(crop_height * w)
    assert crop_width == pytest.approx(width) or crop_height == pytest.approx(height)


def test_a_crop_follows_the_face():
    crop = frame_crop((1000, 500), (700, 100, 100, 120), (256, 256))
    assert crop == (500, 0, 500, 500)


@settings(deadline=None)
@given(SIDE, SIDE)
def test_the_default_size_is_even_and_at_most_1024(width, height):
    w, h = default_size((width, height))
    assert w % 2 == h % 2 == 0
    assert min(w, h) >= 2
    assert max(w, h) <= 1024


def test_the_default_size_is_the_pictures_own():
    assert default_size((512, 512)) == (512, 512)
    assert default_size((743, 1155)) == (658, 1024)
