"""What an episode is: its people, its sound, how it looks; checked and frozen."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from liveact_cli.core.units import Size

MOST_PEOPLE: Final = 6
STEREO: Final = "stereo"
"""What `turns` says when the sides of the recording are the people."""
DEFAULT_SIZE: Final = Size(1280, 720)
DEFAULT_BACKGROUND: Final = "#1d2129"
CARD_SECONDS: Final = 3.0
DEFAULT_PRESET: Final = "podcast"
"""The manner of people for whom nothing is said."""


class Layout(StrEnum):
    """How the people are arranged."""

    SIDE_BY_SIDE = "side-by-side"
    GRID = "grid"
    SPEAKER = "speaker"
    PICTURE_IN_PICTURE = "picture-in-picture"


@dataclass(frozen=True, slots=True)
class Person:
    """One of the cast: name, picture, perhaps a track of his own, and how he performs."""

    name: str
    picture: Path
    track: Path | None = None
    preset: str | None = None
    emotion: str | None = None
    script: Path | None = None
    face: int | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A title over the beginning or the end of the video, for `seconds`."""

    title: str
    text: str = ""
    seconds: float = CARD_SECONDS


@dataclass(frozen=True, slots=True)
class Cuts:
    """How the picture changes: no shot is shorter than `shortest` seconds."""

    shortest: float = 2.5
    reactions: bool = True


@dataclass(frozen=True, slots=True)
class Episode:
    """A whole episode; `sound` is what is heard (None: the tracks together).

    `turns` says who speaks when: a file, `STEREO`, or None for what the tracks or sides tell.
    """

    people: tuple[Person, ...]
    sound: Path | None = None
    turns: Path | str | None = None
    layout: Layout = Layout.SPEAKER
    size: Size = DEFAULT_SIZE
    background: str | Path = DEFAULT_BACKGROUND
    captions: bool = True
    font: Path | None = None
    intro: Card | None = None
    outro: Card | None = None
    cuts: Cuts = field(default_factory=Cuts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the cast."""
        return tuple(person.name for person in self.people)
