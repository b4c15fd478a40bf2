"""Stage 2 of liveact-mini's transformer: three steps that look like many.

    python -m liveact_cli.training.distil --corpus DIR --targets DIR --rows NAME --out RUN
        [--steps 4000] [--seed 0] [--split train natural] [--init OTHER/distilled.pt]

The student starts from RUN/stage1.pt and learns, at each of its three noise levels, the straight
line to where the teacher's ODE reaches the next level from the same state, except for the mouth,
which regresses to the data: lips are a conditional mean, life is a sample. Short pieces of the ODE
are nearly straight, so little is averaged away. Some of the states are noised data, the others come
from the student's own roll-out through the folded memory, so it also learns to mend what its
earlier steps left, first of all the seams between chunks. The mouth's states are always its own:
noised data would teach it to believe a state that, in a roll-out, knows no more than the sound
does. RUN/distilled.pt is saved every five minutes.
"""

import argparse
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.mini.codec import STRIDE, MotionCodec, latent_mask, video_frames
from liveact_cli.mini.motion import MOTION_GROUPS, group_slices
from liveact_cli.model.schedule import Step
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.training.targets import ChainMix, Chains
from liveact_cli.training.train_motion import (
    MINI_CONFIG,
    MINI_SCHEDULE,
    Run,
    drop_conditions,
    loss_weights,
    new_transformer,
    noise_like,
    trained,
    velocity_of,
)

LEVEL_CHANCES = (0.20, 0.25, 0.55)
"""How often each of the three noise levels is trained."""
ODE_STEPS = (3, 3, 3)
"""Heun steps of the teacher from each noise level to the next."""
CHAIN, BATCH = 30, 12
SMOOTH_REGIONS = ("brows", "head")
SEAM_WEIGHT = 0.05
MOUTH = [i for i, name in enumerate(MOTION_GROUPS) if name.startswith("mouth")]


@torch.no_grad()
def follow_ode(
    net: LiveActTransformer, state: Tensor, step: Step, count: int, chains: Chains
) -> Tensor:
    """Follow the teacher's ODE through one step of the schedule in `count` Heun steps."""
    grid = torch.linspace(step.sigma, step.next_sigma, count + 1).tolist()

    def slope(at: Tensor, level: float) -> Tensor:
        return velocity_of(net, at, torch.full((len(at),), level), chains) * latent_mask()

    for here, there in pairwise(grid):
        first = slope(state, here)
        guess = state - first * (here - there)
        # At level 0 nothing is left to be told apart, so the last step stays Euler's.
        second = slope(guess, there) if there > 0 else first
        state = state - 0.5 * (first + second) * (here - there)
    return state


@torch.no_grad()
def own_state(
    net: LiveActTransformer, level: int, chains: Chains, generator: torch.Generator
) -> Tensor:
    """Return the state in which the net's own roll-out reaches noise level number `level`."""
    state = noise_like(chains.latent, generator)
    for step in MINI_SCHEDULE.steps[:level]:
        velocity = velocity_of(net, state, torch.full((len(state),), step.sigma), chains)
        fresh = partial(noise_like, chains.latent, generator)
        state = MINI_SCHEDULE.advance(state, velocity * latent_mask(), step, fresh)
    return state


class SeamLoss:
    """How much rougher the smooth regions are across chunk boundaries than the data ever is."""

    def __init__(self, codec: MotionCodec, data: list[Tensor], policy: MemoryPolicy) -> None:
        """Measure the usual second differences on latents `data` (`[C, F, 1, regions]` each)."""
        self.codec = codec
        names = [group for group in group_slices() if group.name in SMOOTH_REGIONS]
        self.columns = torch.cat([torch.arange(group.start, group.stop) for group in names])
        rough = torch.cat([self._second(latent) for latent in data])
        self.usual = rough.square().mean(0).sqrt().clamp_min(1e-3)
        self.first, self.chunk = policy.first_chunk, policy.chunk

    def _second(self, latent: Tensor) -> Tensor:
        motion = self.codec.decode(latent, first=True)[:, self.columns]
        return motion[2:] - 2 * motion[1:-1] + motion[:-2]

    def __call__(self, latents: Tensor) -> Tensor:
        """Return the loss of clean estimates `[B, C, F, 1, regions]`."""
        rough = torch.stack([self._second(latent) for latent in latents]) / self.usual
        seams = torch.arange(video_frames(self.first), rough.shape[1], STRIDE * self.chunk)
        # Second difference i spans frames i .. i + 2; the seam lies between frames s - 1 and s.
        near = torch.cat([seams - 2, seams - 1])
        return torch.nn.functional.huber_loss(
            rough[:, near], torch.zeros_like(rough[:, near]), delta=2.0
        )


def distil_loss(
    run: Run, teacher: LiveActTransformer, data: ChainMix, weights: Tensor, seams: SeamLoss
) -> dict[str, Tensor]:
    """Draw a batch, a noise level and a kind of state; return the student's loss."""
    chains = drop_conditions(data.sample(BATCH, CHAIN, run.rng), run.generator)
    level = int(run.rng.choice(len(LEVEL_CHANCES), p=LEVEL_CHANCES))
    step = MINI_SCHEDULE.steps[level]
    sigma = step.sigma
    own = level > 0 and run.rng.random() < 0.6
    state = own_state(run.net, level, chains, run.generator)
    if not own:
        noise = noise_like(chains.latent, run.generator)
        seen = (1 - sigma) * chains.latent + sigma * noise
        seen[..., MOUTH] = state[..., MOUTH]
        state = seen
    reached = follow_ode(teacher, state, step, ODE_STEPS[level], chains)
    target = (state - reached) / (sigma - step.next_sigma)
    velocity = velocity_of(run.net, state, torch.full((BATCH,), sigma), chains) * latent_mask()
    clean = state - sigma * velocity
    # The student's own state says no more about the lips than the sound does: what is left of
    # their error is chance, and must not outweigh the rest, so it is that of the clean estimate.
    error = (velocity - target).square()
    error[..., MOUTH] = (clean - chains.latent)[..., MOUTH].square()
    error = error * weights
    loss = error.mean() * weights.numel() / latent_mask().sum()
    values = {"loss": loss, f"level{level}{'own' if own else ''}": loss}
    if level == len(LEVEL_CHANCES) - 1:
        seam = seams(clean)
        values["loss"] = loss + SEAM_WEIGHT * seam
        values["seam" if own else "seam-data"] = seam
    return values


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Stage 2: distillation to three steps.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--targets", type=Path, nargs="+", required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", nargs="+", default=["train"])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path, help="start the student from these weights")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = ChainMix(given.corpus, given.targets, given.rows, given.split)
    teacher = new_transformer(MINI_CONFIG, given.seed).eval().requires_grad_(False)
    saved = torch.load(given.out / "stage1.pt", weights_only=True)
    teacher.load_state_dict(saved["ema"])
    net = new_transformer(MINI_CONFIG, given.seed)
    net.load_state_dict(trained(given.init) if given.init else saved["ema"])
    run = Run.open(given.out / "distilled.pt", net, given.rate, 0.98, given.seed + 1)
    weights = loss_weights()
    seen = list(data.sample(64, CHAIN, run.rng).latent)
    seams = SeamLoss(data.codec, seen, MemoryPolicy())
    run.train(
        given.steps,
        given.rate,
        given.seed + 1,
        lambda _: distil_loss(run, teacher, data, weights, seams),
    )


if __name__ == "__main__":
    main()
