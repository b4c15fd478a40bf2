import numpy as np

from liveact_cli.mini.face.extend import extended


def known_but_a_disc(side, radius):
    y, x = np.mgrid[:side, :side]
    return np.hypot(y - side / 2, x - side / 2) > radius


def test_a_line_goes_on_in_its_direction():
    side = 120
    y, x = np.mgrid[:side, :side]
    line = np.abs(x - y) < 4
    picture = np.where(line[..., None], (230, 180, 40), (30, 40, 120)).astype(np.uint8)
    known = known_but_a_disc(side, 30)
    hidden = picture.copy()
    hidden[~known] = 0
    filled = extended(hidden, known, 8.0, 20.0)
    band = ~known & (np.hypot(y - side / 2, x - side / 2) > 23)
    wrong = np.abs(filled.astype(int) - picture).max(2) > 20
    assert wrong[band].mean() < 0.03
    np.testing.assert_array_equal(filled[known], picture[known])
    assert (filled[60, 60] == 0).all()  # deeper than asked


def test_a_thin_line_is_not_grown_over_by_the_ground():
    y, x = np.mgrid[:120, :120]
    known = np.hypot(x - 75, y - 80) >= 28
    band = ~known & (np.hypot(x - 75, y - 80) > 15)
    line, beside = band & (x >= 58) & (x < 62), band & ((x < 57) | (x >= 63))
    kept, strayed = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        picture = rng.normal(60, 6, (120, 120, 3)).clip(0, 255).astype(np.uint8)
        picture[:, 58:62] = rng.normal(220, 6, (120, 4, 3)).clip(0, 255)
        picture[~known] = 90
        bright = extended(picture, known, 13.0, 30.0)[..., 0] > 150
        kept.append(bright[line].mean())
        strayed.append(bright[beside].mean())
    assert np.mean(kept) > 0.65
    assert np.mean(strayed) < 0.008


def test_what_has_no_source_stays_as_it_was():
    picture = np.full((40, 40, 3), 90, np.uint8)
    known = np.zeros((40, 40), bool)
    known[:, :3] = True  # too narrow to compare with
    np.testing.assert_array_equal(extended(picture, known, 6.0, 12.0), picture)


def test_the_same_picture_is_filled_the_same():
    picture = np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)
    known = known_but_a_disc(80, 20)
    np.testing.assert_array_equal(
        extended(picture, known, 9.0, 15.0), extended(picture, known, 9.0, 15.0)
    )
