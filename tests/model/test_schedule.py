import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liveact_cli.model.schedule import StepSchedule, shifted_sigmas


def test_released_steps():
    steps = StepSchedule().steps
    assert [step.time for step in steps] == pytest.approx([1000, 937.5, 833.3333333])
    assert [step.audio for step in steps] == [False, True, True]
    assert [step.next_sigma for step in steps] == pytest.approx([0.9375, 0.8333333, 0])
    assert StepSchedule().sigmas == pytest.approx(shifted_sigmas((1.0, 0.75, 0.5), 5.0))


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6, unique=True), st.booleans())
def test_the_true_velocity_leads_to_the_clean_latent(levels, euler):
    sigmas = tuple(sorted(levels, reverse=True))
    sampler = "euler" if euler else "renoise"
    schedule = StepSchedule(sigmas, (True,) * len(sigmas), sampler)
    clean, noise = torch.full((3,), 2.0), torch.full((3,), -1.0)
    x = (1 - sigmas[0]) * clean + sigmas[0] * noise
    for step in schedule.steps:
        velocity = (x - clean) / step.sigma
        x = schedule.advance(x, velocity, step, lambda: noise)
        expected = (1 - step.next_sigma) * clean + step.next_sigma * noise
        torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)


def test_the_last_step_draws_no_noise():
    schedule = StepSchedule()
    schedule.advance(torch.ones(2), torch.ones(2), schedule.steps[-1], lambda: pytest.fail("drew"))


@pytest.mark.parametrize("sigmas", [(), (0.5, 0.7), (1.2,), (0.5, 0.0)])
def test_impossible_levels_are_refused(sigmas):
    with pytest.raises(ValueError, match="noise levels"):
        StepSchedule(sigmas, (True,) * len(sigmas))
    with pytest.raises(ValueError, match="1 noise levels for 2 audio flags"):
        StepSchedule((1.0,), (True, True))
