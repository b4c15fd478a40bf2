"""Points and lengths of time as a script writes them, kept exactly: as integers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from liveact_cli.core.units import parse_time

MAX_MS: Final = 100 * 3600 * 1000
"""A hundred hours: nothing in a script is later or longer."""
MAX_CHARACTERS: Final = 40
FORMS: Final = "write 2, 2.5, 2s, 1500ms, 0:02, 1:02:03.250, 25% or end-3s"
LENGTH_FORMS: Final = "write 2, 2.5, 2s, 1500ms or 0:02"

_END = re.compile(r"end(?:\s*-\s*(.+))?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%", re.ASCII)


class Origin(StrEnum):
    """What a point in time is counted from."""

    START = "start"
    END = "end"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class TimePoint:
    """A moment: `value` milliseconds after the start or before the end, or a share in 1/100,000."""

    origin: Origin
    value: int

    def seconds(self, length: float) -> float:
        """Return the moment in seconds in a recording of `length` seconds (may lie outside it)."""
        if self.origin is Origin.START:
            return self.value / 1000
        if self.origin is Origin.END:
            return length - self.value / 1000
        return length * self.value / 100_000

    def __str__(self) -> str:
        """Return the form that `parse_point` reads back as the same moment."""
        if self.origin is Origin.SHARE:
            return f"{_shortest(self.value)}%"
        if self.origin is Origin.END:
            return f"end-{Duration(self.value)}" if self.value else "end"
        return format_clock(self.value)


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time of `ms` milliseconds, 0 or more."""

    ms: int

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.ms / 1000

    def __str__(self) -> str:
        """Return `3s`, `0.4s` or `12.345s`, exactly."""
        return f"{_shortest(self.ms)}s"


def parse_point(text: str) -> TimePoint:
    """Return the moment in `2`, `2.5s`, `1500ms`, `0:02`, `1:02:03.250`, `25%`, `end-3s` or `end`.

    Raises `ValueError` whose message says what is wrong with it.
    """
    stripped = _short(text)
    if match := _END.fullmatch(stripped):
        return TimePoint(Origin.END, parse_length(match[1]).ms if match[1] else 0)
    if match := _PERCENT.fullmatch(stripped):
        share = round(float(match[1]) * 1000)
        if share > 100_000:
            raise ValueError(f"{stripped} is more than the whole recording")
        return TimePoint(Origin.SHARE, share)
    if stripped.startswith("-"):
        raise ValueError(
            f"{stripped} lies before the recording; count back from its end as end{stripped}"
        )
    return TimePoint(Origin.START, _milliseconds(stripped, "time", FORMS))


def parse_length(text: str) -> Duration:
    """Return the length of time in `2`, `2.5`, `2s`, `1500ms` or `0:02`.

    Raises `ValueError` whose message says what is wrong with it.
    """
    stripped = _short(text)
    if stripped.startswith("-"):
        raise ValueError(f"{stripped} is negative; a length is 0 or more")
    return Duration(_milliseconds(stripped, "length", LENGTH_FORMS))


def format_clock(ms: int) -> str:
    """Return a moment as `0:02.5` or `1:02:03.25`, exactly."""
    seconds, rest = divmod(ms, 1000)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    hours, minutes = seconds // 3600, seconds // 60 % 60
    tail = f"{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
    return f"{hours}:{tail}{fraction}" if hours else f"{tail}{fraction}"


def _shortest(thousandths: int) -> str:
    whole, rest = divmod(thousandths, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)


def _short(text: str) -> str:
    stripped = text.strip()
    if len(stripped) > MAX_CHARACTERS:
        raise ValueError(f"{stripped[:20]!r}… is too long for a time; {FORMS}")
    return stripped


def _milliseconds(text: str, what: str, forms: str) -> int:
    try:
        seconds = parse_time(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a {what}; {forms}") from None
    if seconds * 1000 > MAX_MS:
        raise ValueError(f"{text} is more than a hundred hours")
    return round(seconds * 1000)


def _reader(parse: Callable[[str], object], kind: type) -> PlainValidator:
    def read(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        try:
            if isinstance(value, str | int | float):
                return parse(str(value))
            raise ValueError("a time belongs here, not a list or keys")
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            raise PydanticCustomError(
                "time", "{message}", {"message": message, "hint": hint}
            ) from None

    return PlainValidator(read)


def _schema(pattern: str, examples: list[str]) -> WithJsonSchema:
    number = {"type": "number", "minimum": 0}
    text = {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [number, text], "examples": examples})


_LENGTH = r"^\s*(\d+(\.\d*)?|\.\d+)\s*(ms|s|m|min|h)?\s*$|^\s*(\d+:)?\d+:\d{1,2}(\.\d*)?\s*$"
_POINT = _LENGTH + r"|^\s*[eE][nN][dD](\s*-\s*.+)?\s*$|^\s*\d{1,3}(\.\d+)?\s*%\s*$"

Point = Annotated[
    TimePoint,
    _reader(parse_point, TimePoint),
    PlainSerializer(str, return_type=str),
    _schema(_POINT, ["2", "0:02", "1:02:03.250", "1500ms", "25%", "end-3s"]),
]
"""A moment in a model: read by `parse_point`, written by `str`."""

Length = Annotated[
    Duration,
    _reader(parse_length, Duration),
    PlainSerializer(str, return_type=str),
    _schema(_LENGTH, ["3s", "0.4s", "1500ms"]),
]
"""A length in a model: read by `parse_length`, written by `str`."""
