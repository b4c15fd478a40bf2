import numpy as np

from liveact_cli.mini.face.background import separate
from liveact_cli.mini.face.unfold import around, unfolded


def grid(side):
    y, x = np.mgrid[:side, :side]
    points = np.stack([x, y], -1).reshape(-1, 2).astype(float)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    upper = np.stack([corner, corner + 1, corner + side], 1)
    lower = np.stack([corner + 1, corner + side + 1, corner + side], 1)
    return points, np.concatenate([upper, lower]).astype(np.int32)


def areas(points, triangles):
    a, b, c = (points[triangles[:, i]] for i in range(3))
    first, second = b - a, c - a
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def test_triangles_that_lie_upside_down_are_turned():
    points, triangles = grid(9)
    inner = ((points > 0) & (points < 8)).all(1)
    folded = points.copy()
    folded[40] += (3.4, 0.3)  # the middle one, over its neighbours
    folded[41] += (2.2, -0.4)
    assert areas(folded, triangles).min() < 0
    mended = unfolded(folded, triangles, inner)
    assert areas(mended, triangles).min() > 0.1
    np.testing.assert_array_equal(mended[~inner], points[~inner])


def test_a_mesh_that_lies_flat_stays():
    points, triangles = grid(9)
    mended = unfolded(points, triangles, np.ones(len(points), bool))
    np.testing.assert_array_equal(mended, points)


def test_an_outline_goes_around_features():
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    outline = np.stack([np.cos(angle), np.sin(angle)], 1) * 50.0
    eye = np.array([[52.0, 3.0]])
    wider = around(outline, eye, inside=4.0)
    assert wider[:, 0].max() > 55.0
    np.testing.assert_allclose(wider[30], outline[30], atol=1e-6)
    np.testing.assert_array_equal(around(outline, np.zeros((1, 2)), 4.0), outline)


def test_a_passepartout_is_not_what_lies_behind(hopper, hopper_renderer):
    """The picture in a white frame: what the head uncovers is not white, the frame stays."""
    framed = np.full((560, 560, 3), 255, np.uint8)
    framed[24:536, 24:536] = hopper
    head = hopper_renderer.head
    layers = separate(framed, head.source[head.oval] + 24.0, head.scale)
    alone = separate(hopper, head.source[head.oval], head.scale)
    assert not layers.person[:24].any()
    assert (layers.background[:24] == 255).all()
    bottom = layers.background[500:530, 200:360].mean()
    assert abs(bottom - alone.background[476:506, 176:336].mean()) < 25.0
    np.testing.assert_array_equal(
        np.where(layers.person[..., 3:] == 0, framed, 0),
        np.where(layers.person[..., 3:] == 0, layers.background, 0),
    )


def test_a_head_before_one_colour_has_no_passepartout(hopper, hopper_renderer):
    """Where a head nearly reaches the border, its outline is not cut off."""
    white = hopper.copy()
    white[hopper_renderer.matte < 255] = 255
    white[: hopper.shape[0] // 20] = 255
    framed = np.full((540, 540, 3), 255, np.uint8)
    framed[14:526, 14:526] = white
    framed[-30:] = 255
    head = hopper_renderer.head
    layers = separate(framed, head.source[head.oval] + 14.0, head.scale)
    drawn = (framed < 200).any(2)
    assert (layers.person[..., 3] > 0)[drawn].mean() > 0.999
