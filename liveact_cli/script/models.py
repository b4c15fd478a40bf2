"""The language as pydantic models: what a script may say, and the JSON Schema for editors."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from liveact_cli.script.timing import Length, Point

SCHEMA_VERSION: Final = 1
MAX_TEXT: Final = 2_000
"""Characters of a prompt: umT5 reads 512 tokens."""
MAX_WORD: Final = 80
MIN_EVERY_MS: Final = 200
"""Shortest distance of repeated events: faster than any head moves."""


def _text(limit: int) -> BeforeValidator:
    """Return the reader of one-line text of 1 to `limit` characters; line breaks become spaces."""

    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            kind = "a list" if isinstance(value, list) else "keys and values"
            raise PydanticCustomError(
                "text",
                "{message}",
                {
                    "message": f"text belongs here, not {kind}",
                    "hint": "write one line of text; text that has [ or { in it stands in quotes",
                },
            )
        flat = " ".join(value.split())
        if not flat:
            raise PydanticCustomError(
                "text", "{message}", {"message": "this text is empty", "hint": "take the key out"}
            )
        if len(flat) > limit:
            message = f"{len(flat):,} characters of text, at most {limit:,} are read"
            raise PydanticCustomError(
                "text", "{message}", {"message": message, "hint": "shorten it"}
            )
        return flat

    return BeforeValidator(validate)


def _text_schema(limit: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": 1, "maxLength": limit})


Text = Annotated[str, _text(MAX_TEXT), _text_schema(MAX_TEXT)]
WordText = Annotated[str, _text(MAX_WORD), _text_schema(MAX_WORD)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    tuple[WordText, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1, max_length=8),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "maxLength": MAX_WORD},
                {"type": "array", "items": {"type": "string", "maxLength": MAX_WORD}},
            ]
        }
    ),
]


Version = Annotated[Literal[1], BeforeValidator(lambda v: SCHEMA_VERSION if v == "1" else v)]
"""Scalars arrive as strings."""


class Model(BaseModel):
    """What all parts of the language share."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )


class Event(Model):
    """One entry of the timeline: when, and what is to be seen."""

    at: Point | None = None
    """When it begins: 2, 2.5, "2s", "1500ms", "0:02", "1:02:03.250", "25%", "end-3s"."""
    every: Length | None = None
    """Repeat it with this distance."""
    on: Literal["pause"] | None = None
    """Do it whenever the sound is silent for longer than 0.8 s."""
    say: Text | None = None
    """Do it where the transcript has these words."""
    for_: Length | None = Field(default=None, validation_alias="for", serialization_alias="for")
    """How long it lasts."""
    until: Point | None = None
    """When it ends, or when the repetition ends."""
    jitter: Length | None = None
    """With every: move each repetition by up to this much, the same way for the same seed."""
    emotion: WordText | None = None
    """An emotion of the vocabulary, or text for a model that reads text."""
    action: WordText | None = None
    """An action of the vocabulary, or text for a model that reads text."""
    prompt: Text | None = None
    """Free text, for models that read text."""
    intensity: Share | None = None
    """How strong: 0 to 1, 1 when absent."""
    fade: Length | None = None
    """Ease in and out over this time, half of it on either side of the beginning and the end."""


class Definition(Model):
    """A word of the user's own."""

    kind: Literal["emotion", "action"] = "action"
    """Whether it is an emotion or an action."""
    like: Names | None = None
    """What liveact-mini plays: one or more words of the vocabulary."""
    prompt: Text | None = None
    """What liveact-18b reads."""
    intensity: Share | None = None
    """How strong liveact-mini plays it."""
    for_: Length | None = Field(default=None, validation_alias="for", serialization_alias="for")
    """How long the action takes when an event does not say."""
    synonyms: Names | None = None
    """Other names for it, in any language."""


class Script(Model):
    """A performance: what the person looks like doing, when."""

    liveact: Version
    """Version of the language."""
    prompt: Text | None = None
    """What the whole video shows, for models that read text."""
    preset: WordText | None = None
    """A preset that lies underneath: podcast, talkshow, newsreader, singer, facetime, ..."""
    emotion: WordText | None = None
    """The emotion until something else is said."""
    timeline: tuple[Event, ...] = ()
    """Events, in any order."""
    define: dict[WordText, Definition] = Field(default_factory=dict)
    """Emotions and actions of your own."""
    transcript: Text | None = None
    """An SRT or WebVTT file beside the script; its [bracket] cues become events."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a script, for editors that complete and check."""
    schema = Script.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "LiveAct direction script"
    return schema
