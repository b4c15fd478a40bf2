"""What can be set for a render, checked and frozen; the layers below see only this."""

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Final

from liveact_cli.core.units import Size
from liveact_cli.weights.registry import DEFAULT_MODEL


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """The settings of one render; times in seconds, sizes in pixels (width, height).

    Thread counts are settings with fixed defaults because x264's bits and torch's sums depend on
    them: the same command gives the same file however many cores there are.
    """

    model: str = DEFAULT_MODEL
    prompt: str = ""
    size: Size | None = None
    fps: Fraction = Fraction(25)
    seed: int | None = None
    start: float = 0.0
    duration: float | None = None
    face: int | None = None
    label: bool = False
    crf: int = 18
    encoder_preset: str = "veryfast"
    encoder_threads: int = 2
    torch_threads: int = 1
    segment_seconds: float = 20.0


SETTING_NAMES: Final = tuple(field.name for field in fields(RenderSettings))
