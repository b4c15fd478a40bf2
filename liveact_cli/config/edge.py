"""Settings as users give them, checked with pydantic: by flag, by variable, in a file.

What comes first wins: flags, `LIVEACT_*` variables, the project's `liveact.toml`, the user's
`config.toml`, defaults.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from liveact_cli.config.settings import SETTING_NAMES, RenderSettings
from liveact_cli.core.errors import UsageError
from liveact_cli.core.units import Size, parse_size, parse_time
from liveact_cli.weights.registry import FULL, ModelRow

PROJECT_FILE: Final = "liveact.toml"
USER_FILE: Final = "liveact/config.toml"
VARIABLE_PREFIX: Final = "LIVEACT_"
MIN_SIDE, MAX_SIDE = 64, 4096
MIN_TILE = 64
MIN_FPS, MAX_FPS = 10, 60
ENCODER_PRESETS: Final = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow")


def check_size(value: object) -> object:
    """Return the size in `512x512`; raises ValueError with a sentence for one no video can have."""
    if not isinstance(value, str):
        return value
    size = parse_size(value)
    if any(not MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise ValueError(f"width and height must be from {MIN_SIDE} to {MAX_SIDE} pixels")
    if any(side % 2 for side in size):
        even = Size(*(side + side % 2 for side in size))
        raise ValueError(f"width and height must be even numbers, for example {even}")
    return size


def parse_fps(value: object) -> object:
    """Return the frame rate of `25`, `29.97` or `30000/1001`; raises ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        fps = Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError("write frames per second as a number, for example 25") from None
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ValueError(f"frames per second must be from {MIN_FPS} to {MAX_FPS}")
    return fps


def _seconds(value: object) -> object:
    return parse_time(value) if isinstance(value, str) else value


def _preset(value: object) -> object:
    if value not in ENCODER_PRESETS:
        raise ValueError(f"choose one of {', '.join(ENCODER_PRESETS)}")
    return value


def _tiles(value: object) -> object:
    """`auto` is None, `off` is 0."""
    words = {"auto": None, "off": 0, "none": 0}
    return words.get(value.strip().lower(), value) if isinstance(value, str) else value


def _side(value: int | None) -> int | None:
    if value and not MIN_TILE <= value <= MAX_SIDE:
        raise ValueError(f"write auto, off, or a side from {MIN_TILE} to {MAX_SIDE} pixels")
    return value


def _auto(value: object) -> object:
    """`auto` is None: left to be chosen."""
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(allow_inf_nan=False)]
Threads = Annotated[int, Field(ge=1, le=64)]


class _Edge(BaseModel):
    """The types and limits of RenderSettings; the defaults stand there."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: Annotated[str, Field(min_length=1)] | None = None
    prompt: Annotated[str, Field(max_length=20_000)] | None = None
    size: Annotated[Size, BeforeValidator(check_size)] | None = None
    fps: Annotated[Fraction, BeforeValidator(parse_fps)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    start: Annotated[Seconds, Field(ge=0)] | None = None
    duration: Annotated[Seconds, Field(gt=0)] | None = None
    face: Annotated[int, Field(ge=1)] | None = None
    label: bool | None = None
    crf: Annotated[int, Field(ge=0, le=51)] | None = None
    encoder_preset: Annotated[str, BeforeValidator(_preset)] | None = None
    encoder_threads: Threads | None = None
    torch_threads: Threads | None = None
    segment_seconds: Annotated[Seconds, Field(ge=2, le=600)] | None = None
    audio_guidance: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    sampler: Literal["renoise", "euler"] | None = None
    memory: Literal["conv", "mean"] | None = None
    prompt_granularity: Literal["frame", "chunk"] | None = None
    audio_encoder: Annotated[Path, AfterValidator(Path.expanduser)] | None = None
    vae_overlap: bool | None = None
    gpus: Annotated[Annotated[int, Field(ge=1, le=64)] | None, BeforeValidator(_auto)] = None
    device: Literal["cpu", "cuda"] | None = None
    precision: Annotated[Literal["bf16", "fp8"] | None, BeforeValidator(_auto)] = None
    kv_precision: Annotated[Literal["bf16", "fp8"] | None, BeforeValidator(_auto)] = None
    offload: Annotated[Literal["none", "cache", "blocks", "all"] | None, BeforeValidator(_auto)] = (
        None
    )
    kernels: Annotated[Literal["triton", "compile", "eager"] | None, BeforeValidator(_auto)] = None
    attention: Annotated[
        Literal["sdpa", "cudnn", "flash", "fp8", "fp8-emulated"] | None, BeforeValidator(_auto)
    ] = None
    fp8_backend: Literal["own", "te"] | None = None
    decoder: Literal["wan", "taew2_1", "lightvae"] | None = None
    decoder_weights: Annotated[Path, AfterValidator(Path.expanduser)] | None = None
    tiles: Annotated[int | None, BeforeValidator(_tiles), AfterValidator(_side)] = None


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place; `label` turns a setting's name into how the user wrote it there."""

    values: Mapping[str, object]
    label: str

    def describe(self, name: str) -> str:
        """Return how the user wrote this setting, for messages."""
        if name not in self.values:
            return name
        return self.label.format(
            flag=name.replace("_", "-"),
            variable=VARIABLE_PREFIX + name.upper(),
            key=name,
            value=self.values[name],
        )


def resolve_settings(
    flags: Mapping[str, object],
    variables: Mapping[str, str],
    directory: Path,
    preset: Mapping[str, object] | None = None,
) -> RenderSettings:
    """Return the settings that hold here; `flags` are those given, None meaning not given.

    A script's `preset` is weaker than everything that the user says himself. Raises UsageError
    naming the place, the value and what would be right.
    """
    underneath = Layer(preset or {}, "preset: {key}: {value}")
    return merge([flag_layer(flags), *ambient_layers(variables, directory), underneath])


def refuse_unused(flags: Mapping[str, object], row: ModelRow) -> None:
    """Raise UsageError for an option that has no effect on the model that was chosen."""
    layer = flag_layer(flags)
    names = merge([layer]).unused(row)
    if names:
        raise UsageError(
            f"{layer.describe(names[0])} has no effect on {row.name}",
            f"leave it out, or choose a model like {FULL.name} with --model",
        )


def flag_layer(flags: Mapping[str, object]) -> Layer:
    """Return the settings given as options of the command."""
    given = {name: value for name, value in flags.items() if value is not None}
    return Layer(given, "--{flag} {value}")


def ambient_layers(variables: Mapping[str, str], directory: Path) -> Iterator[Layer]:
    """Yield the settings of variables, project file and user file, strongest first."""
    values = {
        name: variables[VARIABLE_PREFIX + name.upper()]
        for name in SETTING_NAMES
        if variables.get(VARIABLE_PREFIX + name.upper())
    }
    yield Layer(values, "{variable}={value}")
    for path in _files(variables, directory):
        yield Layer(_read(path), f"{path.name}: {{key}} = {{value}}")


def merge(layers: list[Layer]) -> RenderSettings:
    """Check every layer (also what a stronger one hides) and merge them, the first winning."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in check_layer(layer).items():
            merged.setdefault(name, value)
    return RenderSettings(**merged)


def check_layer(layer: Layer) -> dict[str, Any]:
    """Return the settings of a layer, read; raises UsageError with the first that is wrong."""
    try:
        edge = _Edge.model_validate(dict(layer.values))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        raise _sentence(layer, name, problem) from error
    return {name: getattr(edge, name) for name in edge.model_fields_set}


# What pydantic finds, in our words.
_SENTENCES: Final = {
    "int_parsing": "write a whole number",
    "float_parsing": "write a number",
    "int_from_float": "write a whole number",
    "bool_parsing": "write true or false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}


def _sentence(layer: Layer, name: str, problem: Any) -> UsageError:
    place, kind = layer.describe(name), problem["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, SETTING_NAMES, 1)
        hint = (
            f"did you mean {near[0]}?" if near else f"the settings are {', '.join(SETTING_NAMES)}"
        )
        return UsageError(f"{place}: there is no such setting", hint)
    if kind in _SENTENCES:
        text = _SENTENCES[kind].format(**problem.get("ctx", {}))
    else:
        text = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return UsageError(f"{place}: {text[:1].lower()}{text[1:]}", "liveact render --help")


def _files(variables: Mapping[str, str], directory: Path) -> Iterator[Path]:
    for folder in (directory, *directory.resolve().parents):
        if (folder / PROJECT_FILE).is_file():
            yield folder / PROJECT_FILE
            break
    home = variables.get("XDG_CONFIG_HOME") or "~/.config"
    user_file = Path(home).expanduser() / USER_FILE
    if user_file.is_file():
        yield user_file


def _read(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path.name} is not valid TOML: {error}", "https://toml.io shows the form"
        ) from error
    table = document.get("render", {})
    if not isinstance(table, dict):
        raise UsageError(
            f"{path.name}: render is not a table", "start the settings with a line [render]"
        )
    return {key.replace("-", "_"): value for key, value in table.items()}
