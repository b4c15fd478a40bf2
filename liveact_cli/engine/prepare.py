"""From what a user asks for to a render that can start: all is checked, nothing is loaded."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import UsageError
from liveact_cli.core.units import Size
from liveact_cli.engine.manifest import RenderPlan, plan_render
from liveact_cli.media.audio import AudioSource
from liveact_cli.media.image import load_image
from liveact_cli.media.target import check_target, estimate_bytes
from liveact_cli.media.video import frame_rate
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.weights.registry import ModelRow
from liveact_cli.weights.resolve import resolve_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED_BITS: Final = 32
"""Drawn seeds stay short enough to type."""


@dataclass(frozen=True, slots=True)
class Job:
    """A render that can start: its plan, the opened inputs, and the script if there is one."""

    plan: RenderPlan
    sound: AudioSource
    picture: "NDArray[np.uint8]"
    script: ResolvedScript | None = None


def prepare(
    audio: Path,
    reference: Path,
    output: Path,
    settings: RenderSettings,
    variables: Mapping[str, str],
    *,
    force: bool = False,
) -> Job:
    """Open the inputs and plan the render; without a seed in `settings` one is drawn.

    Raises LiveActError (of the kind that fits) for everything that would stop the render later and
    can be known now. Neither torch nor a model is loaded.
    """
    check_target(output, force)
    _spare_inputs(output, audio, reference)
    model = resolve_model(settings.model, variables)
    settings = replace(settings, fps=frame_rate(settings.fps))
    picture = load_image(reference)
    sound = AudioSource(audio, settings.start, settings.duration)
    size = settings.size or default_size(picture.shape[1], picture.shape[0], model.row)
    seed = secrets.randbits(SEED_BITS) if settings.seed is None else settings.seed
    estimate = estimate_bytes(*size, settings.fps, sound.seconds, settings.crf)
    check_target(output, force, estimate)
    plan = plan_render(model, audio, reference, output, settings, seed, sound.seconds, size)
    return Job(plan, sound, picture)


def _spare_inputs(output: Path, *inputs: Path) -> None:
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise UsageError(
                f"the video would replace {path.name}, which it is made from",
                "-o chooses another name",
            )


def default_size(width: int, height: int, row: ModelRow) -> Size:
    """Return the size nearest to a picture's own that the model can draw."""
    zoom, step = min(1.0, row.default_long_side / max(width, height)), row.size_step
    return Size(*(max(step, step * round(side * zoom / step)) for side in (width, height)))
