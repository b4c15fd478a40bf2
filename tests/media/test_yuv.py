import numpy as np
import pytest

from liveact_cli.media.yuv import yuv420


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((128, 128, 128), (126, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_flat_colours_are_those_of_bt709(colour, expected):
    planes = yuv420(np.full((4, 6, 3), colour, np.uint8))
    y, u, v = planes[:24], planes[24:30], planes[30:]
    for plane, value in zip((y, u, v), expected, strict=True):
        assert (plane == value).all()


def test_colour_lies_at_the_left_of_a_pair_of_pixels():
    picture = np.zeros((2, 8, 3), np.uint8)
    picture[:, 4] = (255, 0, 0)
    _, u, _ = np.split(yuv420(picture), [16, 20])
    assert u.tolist() == [128, 128, 115, 128]  # half of pixel 4, nothing of 3 and 5 that is red
    picture[:, 4], picture[:, 3] = 0, (255, 0, 0)
    _, u, _ = np.split(yuv420(picture), [16, 20])
    assert u[1] == u[2] == 122  # a quarter to each neighbour
