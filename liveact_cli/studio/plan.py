"""An episode planned: everything is checked and decided, nothing is written or rendered."""

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import liveact_cli
from liveact_cli.config.presets import find_preset
from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import LiveActError, MediaError, UsageError
from liveact_cli.core.geometry import frames_of
from liveact_cli.core.units import Size, format_time
from liveact_cli.engine.faces import find_face, nearest_face
from liveact_cli.engine.manifest import fingerprint_of
from liveact_cli.engine.prepare import SEED_BITS
from liveact_cli.media.audio import AudioSource
from liveact_cli.media.image import load_image
from liveact_cli.media.target import check_target, estimate_bytes
from liveact_cli.media.video import frame_rate
from liveact_cli.script.performance import Orders, load_performance, preset_file
from liveact_cli.studio.cast import DEFAULT_PRESET, Episode, Layout, Person
from liveact_cli.studio.framing import Crop, crop_for, widest_shape
from liveact_cli.studio.layout import CENTRE, cells, own_size
from liveact_cli.studio.listening import Reaction, reactions
from liveact_cli.studio.plates import background_picture, check_signs
from liveact_cli.studio.shots import Shot, Span, plan_shots
from liveact_cli.studio.talk import Talk, hear
from liveact_cli.weights.resolve import ResolvedModel, resolve_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT: Final = 1
FINER: Final = 4
"""By how much crf is lower in people's own videos, which are encoded once more."""
SMALLEST_PANEL: Final = 24
_COMPOSING: Final = 0.012
"""Seconds a frame of 1280x720 takes to compose; measured on 2 CPU cores."""


@dataclass(frozen=True, slots=True)
class Role:
    """One of the cast in this episode: direction, size of the own video, part of the picture.

    `shape` is the widest panel that suits the picture, `face` where the face is in it (shares),
    `number` which of its faces that is.
    """

    person: Person
    orders: Orders
    size: Size
    shape: float
    face: tuple[float, float]
    number: int | None
    crop: Crop | None


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """One episode, completely decided. `part` is what is used of the recording, in seconds."""

    episode: Episode
    output: Path
    settings: RenderSettings
    model: ResolvedModel
    seed: int
    talk: Talk
    part: Span
    frames: int
    shots: tuple[Shot, ...]
    roles: tuple[Role, ...]
    folder: Path
    variables: Mapping[str, str]

    @property
    def fps(self) -> Fraction:
        """Frames per second."""
        return self.settings.fps

    @property
    def shares(self) -> list[float]:
        """The seconds for which everybody speaks."""
        return [self.talk.share(person, self.part) for person in range(len(self.roles))]

    @property
    def reactions(self) -> list[Reaction]:
        """What everybody does while listening."""
        talk = self.talk
        return reactions(talk.turns, len(self.roles), talk.seconds, self.seed, talk.laughs)

    @property
    def estimated_seconds(self) -> float:
        """The wall time that rendering everybody and composing promise, one after the other."""
        estimate = self.model.row.estimate
        each = (estimate.seconds(self.frames, s.width * s.height) for s in map(_size, self.roles))
        width, height = self.episode.size
        return sum(each) + self.frames * _COMPOSING * width * height / (1280 * 720)

    def record(self) -> dict[str, Any]:
        """Return what goes into the file: all that makes it again, no paths, no clock time."""
        episode, settings = self.episode, self.settings
        sounds = [episode.sound, *(person.track for person in episode.people)]
        looks = asdict(replace(episode, people=(), sound=None, turns=None, font=None))
        background = episode.background
        if isinstance(background, Path):
            looks["background"] = fingerprint_of(background)
        for key in ("people", "sound", "turns", "font"):
            del looks[key]
        return {
            "format": FORMAT,
            "kind": "episode",
            "liveact": liveact_cli.__version__,
            "model": self.model.row.name,
            "weights": fingerprint_of(self.model.path),
            "seed": self.seed,
            "audio": [fingerprint_of(path) for path in dict.fromkeys(sounds) if path is not None],
            "turns": _digest(self.talk.turns),
            "start": self.part.start,
            "frames": self.frames,
            "fps": str(settings.fps),
            "crf": settings.crf,
            "label": settings.label,
            **{key: _plain(value) for key, value in looks.items() if value is not None},
            "size": list(episode.size),
            **({"font": fingerprint_of(episode.font)} if episode.font else {}),
            "cast": {role.person.name: _of(role) for role in self.roles},
        }


def plan_episode(
    episode: Episode,
    output: Path,
    settings: RenderSettings,
    seed: int | None,
    variables: Mapping[str, str],
    directory: Path,
    *,
    force: bool = False,
) -> EpisodePlan:
    """Check everything that can be known before the work, and decide the rest.

    Without `seed` one is drawn. `directory` is where the project's settings are looked for. Raises
    LiveActError (of the kind that fits).
    """
    check_target(output, force)
    _spare_inputs(output, episode)
    model = resolve_model(settings.model, variables)
    settings = settings.without(settings.unused(model.row))
    settings = replace(settings, fps=frame_rate(settings.fps), size=None, face=None)
    seed = secrets.randbits(SEED_BITS) if seed is None else seed
    pictures = [_picture(person) for person in episode.people]
    orders = [_orders(person, model, variables) for person in episode.people]
    background_picture(episode.background, Size(64, 64))
    cards = [card for card in (episode.intro, episode.outro) if card is not None]
    shown = [*(episode.names if episode.captions else ()), *(card.title for card in cards)]
    check_signs([*shown, *(card.text for card in cards)], episode.font)
    talk = hear(episode)
    part = _part(episode, talk, settings)
    fps, frames = settings.fps, frames_of(part.stop - part.start, float(settings.fps))
    if frames < 1:
        raise MediaError("the part that is used is shorter than a frame", "--duration 1s or more")
    for card in cards:
        if card.seconds > frames / fps:
            raise UsageError(
                f"the card {card.title!r} takes {card.seconds:g} s, the episode has "
                f"{float(frames / fps):.1f} s",
                "make its `for:` shorter",
            )
    shots = tuple(
        plan_shots(talk.turns, len(pictures), part, frames, fps, episode.layout, episode.cuts, seed)
    )
    roles = tuple(_roles(episode, shots, model, pictures, orders))
    plan = EpisodePlan(
        episode,
        output,
        settings,
        model,
        seed,
        talk,
        part,
        frames,
        shots,
        roles,
        directory,
        variables,
    )
    check_target(output, force, bytes_needed(plan))
    return plan


def bytes_needed(plan: EpisodePlan) -> int:
    """Return a cautious size of the episode and everybody's own videos together."""
    seconds, crf = float(plan.frames / plan.fps), plan.settings.crf
    own = max(0, crf - FINER)
    people = (estimate_bytes(*role.size, plan.fps, seconds, own) for role in plan.roles)
    return estimate_bytes(*plan.episode.size, plan.fps, seconds, crf) + sum(people) // 2


def _roles(
    episode: Episode,
    shots: Sequence[Shot],
    model: ResolvedModel,
    pictures: Sequence["NDArray[np.uint8]"],
    orders: Sequence[Orders],
) -> "list[Role]":
    boxes = []
    for person, picture in zip(episode.people, pictures, strict=True):
        with _naming(person):
            boxes.append(find_face(model.row, picture, person.face))
    shapes = tuple(
        widest_shape(_size_of(picture), box and box.height)
        for picture, box in zip(pictures, boxes, strict=True)
    )
    views = dict.fromkeys(shot.view for shot in shots)
    panels = [cell for view in views for cell in cells(view, episode.size, episode.layout, shapes)]
    if min(min(cell.width, cell.height) for cell in panels) < SMALLEST_PANEL:
        raise UsageError(
            f"{len(episode.people)} people do not fit into {episode.size}", "--size 1280x720"
        )
    roles = []
    for i, (person, picture, box) in enumerate(zip(episode.people, pictures, boxes, strict=True)):
        size = own_size((cell for cell in panels if cell.person == i), model.row.size_step)
        face, number, crop = CENTRE, person.face, None
        if box is not None:
            crop = crop_for(_size_of(picture), box.middle, box.height, size)
            part = picture[crop.top :, crop.left :][: crop.height, : crop.width]
            x, y = box.middle[0] - crop.left, box.middle[1] - crop.top
            face = (x / crop.width, y / crop.height)
            number = nearest_face(np.ascontiguousarray(part), (x, y))
        roles.append(Role(person, orders[i], size, shapes[i], face, number, crop))
    return roles


def _size_of(picture: "NDArray[np.uint8]") -> Size:
    return Size(picture.shape[1], picture.shape[0])


@contextmanager
def _naming(person: Person) -> Iterator[None]:
    """Put the person's name before what is wrong with the picture or the script."""
    try:
        yield
    except LiveActError as error:
        error.message = f"{person.name} ({person.picture.name}): {error.message}"
        raise


def _picture(person: Person) -> "NDArray[np.uint8]":
    with _naming(person):
        return load_image(person.picture)


def _orders(person: Person, model: ResolvedModel, variables: Mapping[str, str]) -> Orders:
    """Return what is asked of a person beside the script; raises what is wrong with either."""
    finder = partial(find_preset, variables=variables)
    preset = person.preset
    if preset is None and person.script is None:
        preset = DEFAULT_PRESET
    if preset is not None:
        preset = str(preset_file(preset, person.picture.parent, finder))
    orders = Orders(preset, None, person.emotion)
    with _naming(person):
        load_performance(person.script, finder, orders=orders, reads_text=model.row.reads_text)
    return orders


def _part(episode: Episode, talk: Talk, settings: RenderSettings) -> Span:
    """Return the part of the recording that is used."""
    if episode.sound is not None:
        used = AudioSource(episode.sound, settings.start, settings.duration)
        return Span(settings.start, settings.start + used.seconds)
    stop = talk.seconds
    if settings.start >= stop:
        raise MediaError(
            f"--start {settings.start:g} s is after the end of the recordings "
            f"({format_time(stop)})",
            f"choose a start before {stop:.2f} s",
        )
    if settings.duration is not None:
        stop = min(stop, settings.start + settings.duration)
    return Span(settings.start, stop)


def _spare_inputs(output: Path, episode: Episode) -> None:
    people = episode.people
    files = [episode.sound, *(p.picture for p in people), *(p.track for p in people)]
    for path in files:
        if path is not None and output.exists() and path.exists() and output.samefile(path):
            raise UsageError(
                f"the video would replace {path.name}, which it is made from",
                "-o chooses another name",
            )


def _of(role: Role) -> dict[str, Any]:
    person = role.person
    return {
        "reference": fingerprint_of(person.picture),
        "size": list(role.size),
        **({"script": fingerprint_of(person.script)} if person.script else {}),
        **({"preset": person.preset} if person.preset else {}),
        **({"emotion": person.emotion} if person.emotion else {}),
        **({"face": person.face} if person.face else {}),
    }


def _size(role: Role) -> Size:
    return role.size


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Layout) else value
