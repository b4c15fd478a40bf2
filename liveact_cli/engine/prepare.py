"""From what a user asks for to a render that can start: all is checked, nothing is loaded."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import UsageError
from liveact_cli.core.sharing import check_heads
from liveact_cli.core.units import Size
from liveact_cli.engine.manifest import RenderPlan, plan_render
from liveact_cli.engine.unfinished import unfinished
from liveact_cli.media.audio import AudioSource
from liveact_cli.media.image import load_image
from liveact_cli.media.target import check_target, estimate_bytes
from liveact_cli.media.video import frame_rate
from liveact_cli.media.workfolder import sweep
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.weights.registry import ModelRow
from liveact_cli.weights.resolve import cache_folder, resolve_model
from liveact_cli.weights.store import DECODERS, find_decoder, heads_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED_BITS: Final = 32
"""Drawn seeds stay short enough to type."""


@dataclass(frozen=True, slots=True)
class Job:
    """A render that can start: its plan, the opened inputs, and the script if there is one.

    `notes` tell what was decided in the user's place.
    """

    plan: RenderPlan
    sound: AudioSource
    picture: "NDArray[np.uint8]"
    script: ResolvedScript | None = None
    notes: tuple[str, ...] = ()


def prepare(
    audio: Path,
    reference: Path,
    output: Path,
    settings: RenderSettings,
    variables: Mapping[str, str],
    *,
    force: bool = False,
) -> Job:
    """Open the inputs and plan the render; without a seed in `settings` one is drawn, or the one of
    the unfinished render of `output` is taken.

    Raises LiveActError (of the kind that fits) for everything that would stop the render later and
    can be known now, too little memory for its model included. No model is loaded, and torch only
    where GPUs have to be asked.
    """
    sweep(output)
    check_target(output, force)
    _spare_inputs(output, audio, reference)
    model = resolve_model(settings.model, variables)
    notes = _no_effect(settings, model.row)
    settings = settings.without(settings.unused(model.row))
    if settings.gpus is not None and settings.gpus > 1:
        check_heads(heads_of(model.path), settings.gpus)
    check_decoder(settings, model.path)
    settings = replace(settings, fps=frame_rate(settings.fps))
    picture = load_image(reference)
    sound = AudioSource(audio, settings.start, settings.duration)
    size = settings.size or default_size(picture.shape[1], picture.shape[0], model.row)
    check_size(size, model.row)
    facts = unfinished(output)
    seed = _seed_for(facts) if settings.seed is None else settings.seed
    estimate = estimate_bytes(*size, settings.fps, sound.seconds, settings.crf)
    check_target(output, force, estimate)
    plan = plan_render(model, audio, reference, output, settings, seed, sound.seconds, size)
    plan = replace(plan, cache=cache_folder(variables))
    if model.row.family == "wan":
        from liveact_cli.engine.placement import place

        placement = place(model, settings, size, None if facts is None else facts["record"])
        plan = replace(plan, placement=placement)
        notes = notes if placement.note is None else (*notes, placement.note)
    return Job(plan, sound, picture, notes=notes)


def _no_effect(settings: RenderSettings, row: ModelRow) -> tuple[str, ...]:
    """Say which settings of a file or a variable do nothing here; they may suit another model."""
    names = ", ".join(name.replace("_", "-") for name in settings.unused(row))
    return (f"{row.name} does not use the setting {names}",) if names else ()


def check_size(size: Size, row: ModelRow) -> None:
    """Raise UsageError for sides that the model cannot draw, with the nearest that it can."""
    step = row.size_step
    if any(side % step for side in size):
        near = Size(*(max(step, step * round(side / step)) for side in size))
        raise UsageError(
            f"{row.name} draws sides that are multiples of {step} pixels, not {size}",
            f"--size {near} is the nearest",
        )


def check_decoder(settings: RenderSettings, folder: Path) -> None:
    """Raise an error for a decoder whose file is missing or that cannot do what is asked of it."""
    name = settings.decoder or "wan"
    if name == "wan":
        if settings.decoder_weights is not None:
            raise UsageError(
                f"--decoder-weights {settings.decoder_weights.name}: the decoder wan comes with the"
                " model",
                f"say which decoder it is: --decoder {' or '.join(DECODERS)}",
            )
        return
    if name == "taew2_1" and (settings.vae_overlap or settings.tiles):
        asked = "--vae-overlap" if settings.vae_overlap else f"--tiles {settings.tiles}"
        raise UsageError(
            f"{asked} has no effect on --decoder taew2_1", "leave it out: this decoder is small"
        )
    find_decoder(folder, name, settings.decoder_weights)


def _seed_for(facts: Mapping[str, Any] | None) -> int:
    return secrets.randbits(SEED_BITS) if facts is None else int(facts["record"]["seed"])


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
