"""The models that exist, as rows of one table: everything that differs between them is data."""

import difflib
from dataclasses import dataclass
from typing import Final, Literal

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import MemoryPolicy

Family = Literal["mini", "wan"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a render is expected to take; measured on the machine that `measured_on` names.

    `fixed_seconds` is the start-up, `seconds_per_frame` the cost of one video frame of 512x512
    pixels (it grows with the picture's area), `memory_bytes` the peak of the process.
    """

    measured_on: str
    fixed_seconds: float
    seconds_per_frame: float
    memory_bytes: int

    def seconds(self, frames: int, pixels: int) -> float:
        """Return the expected wall time of `frames` frames of `pixels` pixels each."""
        return self.fixed_seconds + frames * self.seconds_per_frame * pixels / (512 * 512)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model: how it is named and described.

    `native_fps` is the rate at which it thinks whatever the video's is; None: it thinks in the
    video's frames. Sides of a video are multiples of `size_step` pixels.
    """

    name: str
    family: Family
    summary: str
    parameters: str
    device: Literal["cpu", "cuda"]
    weights_bytes: int
    native_fps: float | None
    size_step: int
    default_long_side: int
    policy: MemoryPolicy
    needs: str
    estimate: Estimate

    @property
    def reads_text(self) -> bool:
        """Whether prompts are text to it; liveact-mini knows the words of its vocabulary only."""
        return self.family != "mini"


MINI: Final = ModelRow(
    name="liveact-mini",
    family="mini",
    summary="embedded; any portrait speaks, on a laptop, faster than real time, offline",
    parameters="a few million",
    device="cpu",
    weights_bytes=20_000_000,
    native_fps=25.0,
    size_step=2,
    default_long_side=1024,
    policy=MemoryPolicy(),
    needs="nothing but this package",
    estimate=Estimate("2 CPU cores", 2.7, 0.0048, 650_000_000),
)

FULL: Final = ModelRow(
    name="liveact-18b",
    family="wan",
    summary="the released weights; whole scenes with hands and background, on GPUs",
    parameters="18 billion",
    device="cuda",
    weights_bytes=55_000_000_000,
    native_fps=None,
    size_step=16,  # 8 for the VAE, times 2 for the transformer's patches
    default_long_side=720,
    policy=MemoryPolicy(),
    needs="55 GB of weights on the disk, and a GPU: 80 GB, or from 24 GB on with offloading",
    estimate=Estimate("one GPU with 80 GB", 120.0, 0.25, 60_000_000_000),
)

MODELS: Final[dict[str, ModelRow]] = {row.name: row for row in (MINI, FULL)}
DEFAULT_MODEL: Final = MINI.name


def find_model(name: str) -> ModelRow:
    """Return the row called `name`; raises UsageError with the nearest name for an unknown one."""
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name.lower(), MODELS, 1, 0.4)
    known = ", ".join(MODELS)
    raise UsageError(
        f"there is no model {name!r}; there are {known}",
        f"did you mean --model {near[0]}?"
        if near
        else "--model takes one of these names, or the folder of a checkpoint",
    )
