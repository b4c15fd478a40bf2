from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy, frames_of

policies = st.builds(
    MemoryPolicy,
    sink=st.integers(0, 6),
    folded=st.integers(1, 5),
    recent=st.integers(0, 20),
    ratio=st.integers(2, 9),
)


def test_released_policy_has_the_released_sizes():
    policy = MemoryPolicy()
    assert (policy.first_chunk, policy.chunk, policy.window) == (6, 8, 14)
    assert policy.fold_source == slice(2, 12)
    assert policy.recent_source == slice(12, 14)
    assert policy.current(0) == slice(0, 6)
    assert policy.current(7) == slice(6, 14)


@given(policies)
def test_slots_tile_the_window_and_a_fold_frees_exactly_a_chunk(policy):
    slots = [policy.anchor_slots, policy.folded_slots, policy.recent_slots, policy.current(1)]
    assert [i for s in slots for i in range(s.start, s.stop)] == list(range(policy.window))
    fold, recent = policy.fold_source, policy.recent_source
    assert fold.stop == recent.start
    assert fold.stop - fold.start == policy.ratio * policy.folded
    assert policy.current(0).stop == policy.current(1).start == policy.first_chunk


@given(st.integers(-2, 3), st.integers(-2, 3), st.integers(-2, 3), st.integers(-2, 3))
def test_impossible_policies_are_refused(sink, folded, recent, ratio):
    if sink >= 0 and recent >= 0 and folded >= 1 and ratio >= 2:
        assert MemoryPolicy(sink, folded, recent, ratio).chunk >= 1
    else:
        with pytest.raises(UsageError, match=f"sink={sink}"):
            MemoryPolicy(sink, folded, recent, ratio)


@given(st.integers(1, 200_000))
def test_released_plan_makes_21_then_32_and_is_cut_to_exactly_the_frames(frames):
    plan = ChunkPlan(MemoryPolicy(), frames)
    made = 21 + 32 * (plan.chunks - 1)
    assert made >= frames
    assert plan.chunks == 1 or made - 32 < frames
    assert plan.span(plan.chunks - 1).frame_stop == made
    # The middle chunks are all alike: the ends show the sum without a loop over thousands.
    ends = {0, 1, plan.chunks - 2, plan.chunks - 1} & set(range(plan.chunks))
    for chunk in ends:
        span = plan.span(chunk)
        assert span.frames == (21 if chunk == 0 else 32)
        assert plan.wanted(span) == (
            span.frames if chunk < plan.chunks - 1 else frames - span.frame_start
        )


@given(policies, st.integers(1, 600), st.integers(1, 8))
def test_every_frame_and_latent_is_covered_once(policy, frames, stride):
    plan = ChunkPlan(policy, frames, stride)
    spans = list(plan.spans())
    assert [s.index for s in spans] == list(range(plan.chunks))
    assert sum(plan.wanted(span) for span in spans) == frames
    assert spans[0].latent_start == spans[0].frame_start == 0
    assert spans[-1].latent_stop == plan.latents
    for before, after in pairwise(spans):
        assert before.latent_stop == after.latent_start
        assert before.frame_stop == after.frame_start
    for frame in range(frames):
        latent, span = plan.latent_of(frame), plan.span(plan.chunk_of(frame))
        assert plan.first_frame_of(latent) <= frame < plan.first_frame_of(latent + 1)
        assert span.latent_start <= latent < span.latent_stop


def test_no_frames_is_refused():
    with pytest.raises(UsageError, match="0 frames"):
        ChunkPlan(MemoryPolicy(), 0)


def test_frames_are_rounded():
    assert frames_of(10.0, 25) == 250
    assert frames_of(0.1, 24) == 2
    assert frames_of(1.019, 25) == 25
