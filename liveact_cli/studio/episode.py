"""`episode.yaml`: a show in one file, checked as scripts are, with line, column and fix."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from PIL import ImageColor
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from liveact_cli.config.edge import check_size
from liveact_cli.core.units import Size
from liveact_cli.script.document import Mapping, read_document
from liveact_cli.script.models import Model, Text, Version, WordText
from liveact_cli.script.parse import Parsed, validate
from liveact_cli.script.problems import Place, Problem, Severity, did_you_mean, quoted
from liveact_cli.script.source import Source, read_source
from liveact_cli.script.timing import Length
from liveact_cli.studio.cast import (
    CARD_SECONDS,
    DEFAULT_BACKGROUND,
    DEFAULT_SIZE,
    MOST_PEOPLE,
    STEREO,
    Card,
    Cuts,
    Episode,
    Layout,
    Person,
)
from liveact_cli.studio.turns import EpisodeError

LONGEST_CARD: Final = 30.0
SHORTEST_SHOT, LONGEST_SHORTEST = 0.5, 30.0


def _refuse(message: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("episode", "{message}", {"message": message, "hint": hint})


def _layout(value: Any) -> Any:
    """Return the layout of this name; the message of anything else names those there are."""
    names = [str(layout) for layout in Layout]
    if value not in names:
        near = did_you_mean(str(value), names) or f"the layouts are {', '.join(names)}"
        raise _refuse(f"there is no layout {quoted(str(value))}", near)
    return Layout(value)


def _size(value: Any) -> Any:
    try:
        return check_size(value)
    except ValueError as error:
        raise _refuse(str(error), "write size: 1280x720") from None


def _yes_or_no(value: Any) -> Any:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if str(value).lower() not in words:
        raise _refuse(f"{quoted(str(value))} is neither yes nor no", "write yes or no")
    return words[str(value).lower()]


YesNo = Annotated[bool, BeforeValidator(_yes_or_no)]


class PersonEntry(Model):
    """One of the cast."""

    name: WordText
    picture: Text
    track: Text | None = None
    preset: WordText | None = None
    emotion: WordText | None = None
    script: Text | None = None
    face: Annotated[int, Field(ge=1)] | None = None


class CardEntry(Model):
    """A title over the beginning or the end."""

    title: Text
    text: Text | None = None
    for_: Length | None = Field(default=None, validation_alias="for", serialization_alias="for")


class CutsEntry(Model):
    """How the picture changes."""

    shortest: Length | None = None
    reactions: YesNo = True


class EpisodeFile(Model):
    """What an `episode.yaml` may say."""

    liveact: Version
    sound: Text | None = None
    turns: Text | None = None
    layout: Annotated[Layout, BeforeValidator(_layout)] = Layout.SPEAKER
    size: Annotated[Size, BeforeValidator(_size)] | None = None
    background: Text | None = None
    captions: YesNo = True
    font: Text | None = None
    cuts: CutsEntry = CutsEntry()
    intro: CardEntry | None = None
    outro: CardEntry | None = None
    cast: tuple[PersonEntry, ...]


def read_episode(path: Path) -> Episode:
    """Read an episode's file; its paths start at its folder.

    Raises `EpisodeError` with everything that is wrong with it, files that are missing included.
    """
    return parse_episode(read_source(path))


def parse_episode(source: Source) -> Episode:
    """Parse the text of an episode's file; raises `EpisodeError`."""
    document = read_document(source)
    if not isinstance(document.root, Mapping):
        hint = "begin with liveact: 1, and the people below cast:"
        message = "an episode is keys and values"
        first = Problem(Severity.ERROR, message, Place(source.name), hint=hint)
        raise EpisodeError(document.problems or [first])
    value, problems = validate(document, EpisodeFile)
    if value is None:
        raise EpisodeError(problems)
    parsed = Parsed(value, document)
    problems = tuple(_faults(parsed))
    if problems:
        raise EpisodeError(problems)
    return _episode(value, source.folder)


def is_color(text: str) -> bool:
    """Say whether this is a colour: `#1d2129`, `navy`, `rgb(20, 30, 40)`."""
    try:
        ImageColor.getrgb(text)
    except ValueError:
        return False
    return True


def check_cast(people: tuple[Person, ...]) -> Iterator[tuple[int, str, str, str]]:
    """Yield what is wrong with a cast: whose number, which key, a sentence and the fix."""
    if len(people) > MOST_PEOPLE:
        yield (
            MOST_PEOPLE,
            "name",
            f"{len(people)} people, at most {MOST_PEOPLE} fit",
            "take one out",
        )
    seen: dict[str, int] = {}
    tracked = [person.track is not None for person in people]
    for i, person in enumerate(people):
        first = seen.setdefault(person.name.casefold(), i)
        if first != i:
            message = f"two people are called {quoted(person.name)}"
            yield i, "name", message, "names tell them apart; add a last name"
        if not tracked[i] and any(tracked):
            other = people[tracked.index(True)].name
            message = f"{quoted(person.name)} has no track of their own, {quoted(other)} has"
            yield i, "name", message, "give everybody a track, or nobody (then turns: is needed)"


def _faults(parsed: Parsed[EpisodeFile]) -> Iterator[Problem]:
    value, folder = parsed.script, parsed.folder

    def problem(path: tuple[int | str, ...], message: str, hint: str = "") -> Problem:
        place = parsed.place(path)
        return Problem(Severity.ERROR, message, place, parsed.line(place), hint)

    if not value.cast:
        yield problem(("cast",), "cast: is empty", "list the people: - name: Ada, picture: a.png")
        return
    episode = _episode(value, folder)
    for number, key, message, hint in check_cast(episode.people):
        yield problem(("cast", number, key), message, hint)
    if value.sound is None and not any(entry.track for entry in value.cast):
        hint = "sound: and the recording, or a track: for everybody"
        yield problem((), "there is no recording: sound: is missing", hint)
    for path, file in _files(value):
        if not (folder / Path(file).expanduser()).is_file():
            hint = f"paths start at the folder of {parsed.document.source.name}"
            yield problem(path, f"{path[-1]}: {quoted(file, 80)} does not exist", hint)
    background = value.background
    if not (
        background is None
        or is_color(background)
        or (folder / Path(background).expanduser()).is_file()
    ):
        message = f"background: {quoted(background)} is neither a colour nor a file"
        yield problem(("background",), message, 'write background: "#1d2129" or a picture')
    for key, card in (("intro", value.intro), ("outro", value.outro)):
        if (
            card is not None
            and card.for_ is not None
            and not 0.5 <= card.for_.seconds <= LONGEST_CARD
        ):
            message = f"for: a card of {card.for_} is not possible"
            yield problem((key, "for"), message, f"write 0.5s to {LONGEST_CARD:g}s")
    shortest = value.cuts.shortest
    if shortest is not None and not SHORTEST_SHOT <= shortest.seconds <= LONGEST_SHORTEST:
        message = f"shortest: shots of at least {shortest} are not possible"
        hint = f"write {SHORTEST_SHOT:g}s to {LONGEST_SHORTEST:g}s"
        yield problem(("cuts", "shortest"), message, hint)


def _files(value: EpisodeFile) -> Iterator[tuple[tuple[int | str, ...], str]]:
    for key in ("sound", "turns", "font"):
        file = getattr(value, key)
        if file is not None and not (key == "turns" and file == STEREO):
            yield (key,), file
    for i, entry in enumerate(value.cast):
        for key in ("picture", "track", "script"):
            file = getattr(entry, key)
            if file is not None:
                yield ("cast", i, key), file


def _episode(value: EpisodeFile, folder: Path) -> Episode:
    def path(file: str | None) -> Path | None:
        return None if file is None else folder / Path(file).expanduser()

    def card(entry: CardEntry | None) -> Card | None:
        if entry is None:
            return None
        seconds = CARD_SECONDS if entry.for_ is None else entry.for_.seconds
        return Card(entry.title, entry.text or "", seconds)

    people = tuple(
        Person(
            entry.name,
            folder / Path(entry.picture).expanduser(),
            path(entry.track),
            entry.preset,
            entry.emotion,
            path(entry.script),
            entry.face,
        )
        for entry in value.cast
    )
    background: str | Path = value.background or DEFAULT_BACKGROUND
    if not is_color(str(background)):
        background = folder / Path(background).expanduser()
    shortest = value.cuts.shortest
    return Episode(
        people=people,
        sound=path(value.sound),
        turns=value.turns if value.turns == STEREO else path(value.turns),
        layout=value.layout,
        size=value.size or DEFAULT_SIZE,
        background=background,
        captions=value.captions,
        font=path(value.font),
        intro=card(value.intro),
        outro=card(value.outro),
        cuts=Cuts(Cuts().shortest if shortest is None else shortest.seconds, value.cuts.reactions),
    )
