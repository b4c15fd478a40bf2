"""Which layers run in FP8 is decided by measuring: on the first chunk, once for a checkpoint.

The decision is kept beside the weights, and in every saved state of a render: one that goes on
after a crash uses the same plan whatever was measured meanwhile.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.build import FP8Backend, follow_plan
from liveact_cli.runtime.crew import Crew
from liveact_cli.runtime.fp8 import FP8Plan, measured_errors, plan_fp8
from liveact_cli.runtime.fp8_cache import save_plan, stored_plan
from liveact_cli.runtime.loader import original_weight, read_config, transformer_files


def begun_plan(checkpoint: Path) -> FP8Plan:
    """Return the plan by place and shape, before anything is measured."""
    return plan_fp8(read_config(checkpoint))


@dataclass
class AdaptivePlan:
    """The FP8 plan of a checkpoint: as found, as measured before, or still to be measured."""

    checkpoint: Path
    begun: Callable[[Path], FP8Plan] = begun_plan
    backend: FP8Backend = "own"
    plan: FP8Plan = field(init=False)
    decided: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Take what was measured before for these very files, if it was."""
        files = transformer_files(self.checkpoint)
        first = self.begun(self.checkpoint)
        stored = stored_plan(self.checkpoint, files, first.limit, self.backend)
        self.plan, self.decided = stored or first, stored is not None

    def recall(self, found: Mapping[str, Any]) -> bool:
        """Use a plan that `found()` has given; return whether that is another one."""
        plan = FP8Plan(tuple(found["names"]), dict(found["kept"]), found["limit"])
        changed, self.plan, self.decided = plan.names != self.plan.names, plan, True
        return changed

    def found(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        plan = self.plan
        return {"names": list(plan.names), "kept": dict(plan.kept), "limit": plan.limit}

    def decide(self, loaded: LiveActTransformer | Crew, first_chunk: Callable[[], object]) -> None:
        """Measure what `first_chunk` sends through the layers, and take back what errs too much."""
        if self.decided:
            return
        transformer = loaded.transformer if isinstance(loaded, Crew) else loaded
        original: Callable[[str], Tensor] = partial(original_weight, self.checkpoint)
        errors = measured_errors(transformer, first_chunk, original)
        self.plan, self.decided = self.plan.without(errors), True
        if isinstance(loaded, Crew):
            loaded.follow_plan(self.plan, self.checkpoint)
        else:
            follow_plan(transformer, self.plan, self.checkpoint, transformer.device)
        files = transformer_files(self.checkpoint)
        save_plan(self.checkpoint, files, self.plan, self.backend)
