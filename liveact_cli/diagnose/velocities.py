"""Comparing what a transformer answers at two precisions, step by step, on the same inputs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from liveact_cli.diagnose.rig import Rig

Forward = Callable[..., Tensor]


@dataclass
class Recording:
    """What a transformer was given and answered at every call."""

    inputs: list[Tensor] = field(default_factory=list)
    answers: list[Tensor] = field(default_factory=list)


@contextmanager
def _forward(rig: Rig, replaced: Callable[[Forward], Forward]) -> Iterator[None]:
    plain = rig.transformer.forward
    rig.transformer.forward = replaced(plain)  # type: ignore[method-assign]
    try:
        yield
    finally:
        rig.transformer.forward = plain  # type: ignore[method-assign]


def record(rig: Rig, chunks: int) -> Recording:
    """Generate chunks and keep every step's input and velocity."""
    kept = Recording()

    def recording(plain: Forward) -> Forward:
        def forward(x: Tensor, *more: Any) -> Tensor:
            answer = plain(x, *more)
            kept.inputs.append(x.cpu())
            kept.answers.append(answer.cpu())
            return answer

        return forward

    with _forward(rig, recording):
        for _ in rig.start(chunks):
            pass
    return kept


def velocity_errors(rig: Rig, kept: Recording, chunks: int) -> list[float]:
    """Give every step what the recorded run was given; return each step's largest error."""
    steps = len(rig.setup.settings.schedule.steps)
    errors = [0.0] * steps
    calls = iter(range(len(kept.inputs)))

    def replaying(plain: Forward) -> Forward:
        def forward(x: Tensor, *more: Any) -> Tensor:
            call = next(calls)
            answer = plain(kept.inputs[call].to(x), *more)
            wanted = kept.answers[call].to(answer)
            error = float((answer - wanted).norm() / wanted.norm())
            errors[call % steps] = max(errors[call % steps], error)
            return answer

        return forward

    with _forward(rig, replaying):
        for _ in rig.start(chunks):
            pass
    return errors
