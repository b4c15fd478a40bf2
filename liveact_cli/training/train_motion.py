"""Stage 1 of liveact-mini's transformer: Neighbor Forcing with a velocity loss on whole chains.

    python -m liveact_cli.training.train_motion --corpus DIR --targets DIR --rows NAME --out RUN
        [--steps 5000] [--seed 0] [--split train natural] [--init RUN/stage1.pt]

One noise level holds for a whole chain; the chunks attend to each other through the same folded
memory as at inference (`forward_chain`), so no roll-out is needed. RUN/stage1.pt is saved every
five minutes and resumed from when it exists. `--init` starts from another run's averaged weights,
for example one on the rows of an audio net that was not ready yet, or from a shipped weights file.
Several splits need a folder of targets each.
"""

import argparse
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liveact_cli.mini.codec import LATENT_CHANNELS, latent_mask
from liveact_cli.mini.motion import GROUP_WIDTH, MOTION_GROUPS, NUM_GROUPS
from liveact_cli.mini.vocabulary import CONTEXT_ROWS, VOCABULARY
from liveact_cli.mini.weights import read_mini
from liveact_cli.model.attention import sdpa
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.schedule import TIME_SCALE, StepSchedule
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.training.precision import half_precision
from liveact_cli.training.targets import ChainMix, Chains

MINI_CONFIG = TransformerConfig(
    dim=192,
    ffn_dim=576,
    heads=6,
    layers=5,
    in_dim=LATENT_CHANNELS,
    out_dim=LATENT_CHANNELS,
    patch=(1, 1, NUM_GROUPS),
    text_dim=len(VOCABULARY),
    text_len=CONTEXT_ROWS,
    freq_dim=128,
    audio_layers=1,
    audio_channels=128,
    audio_hidden=192,
    audio_dim=64,
    audio_tokens=8,
)
"""One token is a whole latent frame: its five regions enter through weights of their own."""

MINI_SCHEDULE = StepSchedule(sigmas=(1.0, 0.7, 0.3), audio=(True, True, True), sampler="euler")
"""Lower last noise levels than the released ones: the last step sees its neighbour clearly. Euler
steps keep the noise that a sample began with; clean estimates of few steps with fresh noise shrink
towards the mean and blink a third as often."""

REGION_WEIGHTS = {
    "mouth_shape": 2.5,
    "mouth_corners": 1.0,
    "eyes": 0.9,
    "brows": 0.7,
    "head": 1.0,
}
CHANNEL_WEIGHTS = {"jawOpen": 12.0, "mouthClose": 2.0}
COEFFICIENT_WEIGHTS = (1.0, 0.8, 0.55, 0.4)
"""Loss weights by region, of channels more important than the rest of theirs (a linear reading of
the same rows knew the jaw better than a transformer to which it was one of many), and by how fast a
coefficient moves."""

DROP = 0.1
"""Share of chains without context, and of chains without sound."""
LENGTHS = ((30, 16), (30, 16), (30, 16), (46, 10))
"""Latent frames of a chain and chains in a batch, in turns."""
SAVE_EVERY = 300.0
LOG_EVERY = 100


def loss_weights() -> Tensor:
    """Return weights `[C, 1, 1, regions]` of mean 1 over the numbers that mean something."""
    regions = torch.tensor([REGION_WEIGHTS[name] for name in MOTION_GROUPS])
    channels = torch.ones(GROUP_WIDTH, len(MOTION_GROUPS))
    for token, names in enumerate(MOTION_GROUPS.values()):
        for row, name in enumerate(names):
            channels[row, token] = CHANNEL_WEIGHTS.get(name, 1.0)
    speeds = torch.tensor(COEFFICIENT_WEIGHTS)[:, None, None] * channels
    weights = latent_mask() * speeds.reshape(LATENT_CHANNELS, 1, 1, -1) * regions
    return weights * latent_mask().sum() / weights.sum()


def new_transformer(config: TransformerConfig, seed: int) -> LiveActTransformer:
    """Return a fresh transformer for training that ignores the latent's padding."""
    torch.manual_seed(seed)
    net = LiveActTransformer(config)
    with torch.no_grad():
        net.patch_embedding.weight *= latent_mask().flatten()
    net.set_kernel(one_query)
    return net


def one_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with a `Kernel` that is quick where each group asks one question (text, sound)."""
    if q.shape[1] > 1:
        return sdpa(q, k, v)
    weights = ((q * k).sum(-1, keepdim=True) * q.shape[-1] ** -0.5).softmax(1)
    return (weights * v).sum(1, keepdim=True)


def velocity_of(net: LiveActTransformer, state: Tensor, sigma: Tensor, chains: Chains) -> Tensor:
    """Return the velocity of `state [B, C, F, 1, regions]` at noise levels `[B]`."""
    with half_precision():
        return net.forward_chain(state, TIME_SCALE * sigma, chains.context, chains.rows)


def noise_like(latent: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise where the latent means something."""
    return torch.randn(latent.shape, generator=generator) * latent_mask()


def draw_sigmas(count: int, schedule: StepSchedule, generator: torch.Generator) -> Tensor:
    """Draw noise levels: 35 % from the schedule, the rest shifted by 3 towards noise."""
    u = torch.rand(count, generator=generator)
    spread = (3 * u / (1 + 2 * u)).clamp(0.02, 1.0)
    picked = torch.tensor(schedule.sigmas)[
        torch.randint(len(schedule.sigmas), (count,), generator=generator)
    ]
    return torch.where(torch.rand(count, generator=generator) < 0.35, picked, spread)


def drop_conditions(chains: Chains, generator: torch.Generator) -> Chains:
    """Silence the context of some chains and the sound of others."""
    count = len(chains.latent)
    keep = (torch.rand(2, count, generator=generator) >= DROP).float()
    return Chains(
        chains.latent,
        chains.context * keep[0].reshape(-1, 1, 1, 1),
        chains.rows * keep[1].reshape(-1, 1, 1, 1),
    )


@dataclass
class Run:
    """A training run: what is saved and resumed."""

    path: Path
    net: LiveActTransformer
    ema: LiveActTransformer
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    rng: np.random.Generator
    decay: float
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def open(
        cls, path: Path, net: LiveActTransformer, rate: float, decay: float, seed: int
    ) -> "Run":
        """Start a run with this net, or resume the one at `path`."""
        optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-2, betas=(0.9, 0.98))
        generator = torch.Generator().manual_seed(seed)
        ema = deepcopy(net).requires_grad_(False)
        run = cls(path, net, ema, optimiser, generator, np.random.default_rng(seed), decay)
        if path.exists():
            run.load(torch.load(path, weights_only=True))
        return run

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.net.load_state_dict(saved["net"])
        self.ema.load_state_dict(saved["ema"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.generator.set_state(saved["generator"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        # numpy's generator state does not survive weights_only: restart it at this step.
        self.rng = np.random.default_rng([saved["seed"], self.step])

    def save(self, seed: int) -> None:
        """Write everything to a temporary name, then rename."""
        state = {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "seed": seed,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.path)

    def train(
        self, steps: int, rate: float, seed: int, loss_of: Callable[[int], dict[str, Tensor]]
    ) -> None:
        """Take steps up to `steps`; `loss_of(step)` returns "loss" and whatever is to be logged."""
        logs: dict[str, list[float]] = {}
        saved = began = time.monotonic()
        before = self.seconds
        while self.step < steps:
            for group in self.optimiser.param_groups:
                group["lr"] = rate * rate_factor(self.step, steps)
            values = loss_of(self.step)
            self.optimiser.zero_grad()
            values["loss"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimiser.step()
            self.step += 1
            weight = 1.0 - min(self.decay, (self.step + 1) / (self.step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.ema.parameters()), list(self.net.parameters()), weight
                )
            self.seconds = before + time.monotonic() - began
            for name, value in values.items():
                logs.setdefault(name, []).append(float(value.detach()))
            if self.step % LOG_EVERY == 0:
                means = " ".join(f"{name} {np.mean(list_):.4f}" for name, list_ in logs.items())
                print(f"step {self.step} of {steps}, {self.seconds:.0f} s: {means}", flush=True)
                logs = {}
            if time.monotonic() - saved > SAVE_EVERY:
                self.save(seed)
                saved = time.monotonic()
        self.save(seed)


def rate_factor(step: int, steps: int, warm_up: int = 60) -> float:
    """Return the learning rate's factor: a short warm-up, then a cosine down to 4 %."""
    return min(1.0, (step + 1) / warm_up) * max(0.04, math.cos(0.5 * math.pi * step / steps))


def velocity_loss(run: Run, data: ChainMix, weights: Tensor, step: int) -> dict[str, Tensor]:
    """Draw a batch and return its velocity loss, whole and by region at the last noise levels."""
    latents, batch = LENGTHS[step % len(LENGTHS)]
    chains = drop_conditions(data.sample(batch, latents, run.rng), run.generator)
    sigma = draw_sigmas(batch, MINI_SCHEDULE, run.generator)
    noise = noise_like(chains.latent, run.generator)
    s = sigma.reshape(-1, 1, 1, 1, 1)
    noisy = (1 - s) * chains.latent + s * noise
    velocity = velocity_of(run.net, noisy, sigma, chains)
    error = (velocity - (noise - chains.latent)).square() * weights
    mouth = error[..., 0].detach().mean((1, 2, 3))
    start = sigma > 0.99
    values = {"loss": error.mean() * weights.numel() / latent_mask().sum()}
    if start.any():
        values["mouth@1"] = mouth[start].mean()
    return values


def trained(path: Path) -> dict[str, Tensor]:
    """Return the averaged weights of a run, or the transformer of a weights file."""
    if path.suffix == ".safetensors":
        return {name: value.float() for name, value in read_mini(path).transformer.items()}
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["ema"]
    return state


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Stage 1: Neighbor Forcing, velocity loss.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--targets", type=Path, nargs="+", required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", nargs="+", default=["train"])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = ChainMix(given.corpus, given.targets, given.rows, given.split)
    net = new_transformer(MINI_CONFIG, given.seed)
    if given.init:
        net.load_state_dict(trained(given.init))
    run = Run.open(given.out / "stage1.pt", net, given.rate, 0.995, given.seed)
    print(f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M parameters")
    weights = loss_weights()
    run.train(
        given.steps, given.rate, given.seed, lambda step: velocity_loss(run, data, weights, step)
    )


if __name__ == "__main__":
    main()
