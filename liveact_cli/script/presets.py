"""Presets: what lies underneath a script, and how the picture is framed and encoded."""

from typing import Annotated, Final

from pydantic import Field, WithJsonSchema

from liveact_cli.script.models import Definition, Event, Model, Names, Text, Version, WordText

MAX_GESTURES: Final = 30.0
"""Gestures a minute: one every two seconds."""


class Energy(Model):
    """How lively the person is."""

    gestures: Annotated[float, Field(ge=0.0, le=MAX_GESTURES, allow_inf_nan=False)] = 0.0
    """Small gestures a minute, drawn from idle:."""
    head: Annotated[float, Field(ge=0.0, le=2.0, allow_inf_nan=False)] = 1.0
    """How far the head moves, as a factor."""
    blink: Annotated[float, Field(ge=0.2, le=2.0, allow_inf_nan=False)] = 1.0
    """How often the eyes blink, as a factor."""
    intensity: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = 0.6
    """How strong the idle gestures are."""


Size = Annotated[
    str,
    Field(pattern=r"^[1-9]\d{1,3}[xX×][1-9]\d{1,3}$"),
    WithJsonSchema({"type": "string", "examples": ["1280x720"]}),
]


class Framing(Model):
    """The picture."""

    shot: Text | None = None
    """The shot in words, for models that read text."""
    size: Size | None = None
    """WIDTHxHEIGHT in pixels; the picture's own when absent."""


class Encoder(Model):
    """The file."""

    fps: Annotated[float, Field(ge=10.0, le=60.0, allow_inf_nan=False)] | None = None
    """Frames per second."""
    crf: Annotated[int, Field(ge=0, le=51)] | None = None
    """x264's quality: lower is better and larger."""


class Preset(Model):
    """A manner: base prompt and emotion, energy, framing, encoder settings, idle behaviour."""

    liveact: Version
    """Version of the language."""
    description: Text
    """One line for the list."""
    prompt: Text | None = None
    """What the video shows, for models that read text."""
    emotion: WordText | None = None
    """The emotion until something else is said."""
    energy: Energy = Energy()
    """How lively the person is."""
    idle: Names | None = None
    """Small actions that happen energy.gestures times a minute."""
    framing: Framing = Framing()
    """The picture."""
    encoder: Encoder = Encoder()
    """The file."""
    timeline: tuple[Event, ...] = ()
    """Events underneath those of the script."""
    define: dict[WordText, Definition] = Field(default_factory=dict)
    """Words of its own."""

    def settings(self) -> dict[str, object]:
        """Return what it sets for a render, by the names that the settings have."""
        chosen = {"size": self.framing.size, "fps": self.encoder.fps, "crf": self.encoder.crf}
        return {name: value for name, value in chosen.items() if value is not None}
