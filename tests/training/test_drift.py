"""Drift is found where it is, and not where it is not."""

import numpy as np
import pytest

from liveact_cli.training.drift import compare

NAMES = ["blinks/min", "sd yaw"]


def windows(last: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.normal((20.0, 2.0), (1.0, 0.2), (8, 12, 2))
    found[:, -1] += last * np.array([20.0, 2.0])
    return found


def test_steady_motion_has_not_drifted() -> None:
    assert all(row.inside for row in compare(windows(0.0), NAMES))


@pytest.mark.parametrize("last", [-0.3, 0.3])
def test_a_last_window_that_differs_has_drifted(last: float) -> None:
    blinks, spread = compare(windows(last), NAMES)
    assert not blinks.inside
    assert not spread.inside


def test_blinks_may_differ_a_little_more_than_chance() -> None:
    blinks, spread = compare(windows(0.12), NAMES)
    assert blinks.inside
    assert not spread.inside
