"""How liveact-18b would run: on the GPUs of this machine, or on those that somebody asks about."""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from liveact_cli.config.edge import check_size, resolve_settings
from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.core.placement import GIB, KNOWN_CARDS, Choice, Machine, Wishes, choose
from liveact_cli.core.units import Size, format_bytes
from liveact_cli.engine.prepare import check_size as check_sides
from liveact_cli.weights.registry import FULL

MOST_GIB = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A video's size, and the GPUs in question: GiB each; none means those of this machine."""

    size: Size
    cards: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """What was chosen for some GPUs, or why nothing fits."""

    gpus: str
    choice: Choice | None
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        if self.choice is None:
            return {"gpus": self.gpus, "fits": False, "problem": self.problem}
        needs = self.choice.needs
        return {
            "gpus": self.gpus,
            "fits": True,
            **asdict(self.choice.layout),
            "device_bytes": needs.device.total,
            "host_bytes": needs.host.total,
            "reason": self.choice.reason,
        }


def ask(size: str, cards: str | None) -> Asked:
    """Read `720x416` and `24` or `24,24`; raises UsageError for what is none."""
    try:
        picture = check_size(size)
        assert isinstance(picture, Size)
    except ValueError as error:
        raise UsageError(f"--size {size}: {error}", "--size 720x416") from error
    check_sides(picture, FULL)
    try:
        each = tuple(float(part) for part in cards.split(",")) if cards else ()
        if not all(0 < card < MOST_GIB for card in each):
            raise ValueError
    except ValueError as error:
        raise UsageError(
            f"--gpu-memory {cards}: write the GB of each GPU, as in 24 or 48,48", "--gpu-memory 24"
        ) from error
    return Asked(picture, each)


def placements(asked: Asked, variables: Mapping[str, str], directory: Path) -> Iterator[Row]:
    """Yield a row for every set of GPUs in question."""
    if importlib.util.find_spec("torch") is None:
        return
    from liveact_cli.engine.placement import released_needs
    from liveact_cli.runtime.devices import examine_machine

    try:
        settings = resolve_settings({}, variables, directory)
    except LiveActError:  # whoever renders is told what is wrong with them
        settings = RenderSettings()
    sizes, codecs = released_needs(asked.size, settings)
    wishes = Wishes(settings.precision, settings.kv_precision, settings.offload)
    here = examine_machine()
    for name, machine in _machines(asked, here):
        try:
            yield Row(name, choose(sizes, codecs, machine, wishes))
        except LiveActError as error:
            yield Row(name, None, error.message)


def table(asked: Asked, rows: list[Row]) -> str:
    """Return the rows for people."""
    lines = [f"{FULL.name} at {asked.size}: what --precision auto and --offload auto choose"]
    for row in rows:
        lines.append(f"  {row.gpus:12}  {_sentence(row)}")
    return "\n".join(lines)


def _sentence(row: Row) -> str:
    if row.choice is None:
        return row.problem
    needs, card = row.choice.needs, format_bytes(row.choice.card)
    device, host = format_bytes(needs.device.total), format_bytes(needs.host.total)
    return f"{row.choice.layout}: {device} of {card}, and {host} on the host"


def _machines(asked: Asked, here: Machine) -> Iterator[tuple[str, Machine]]:
    """Yield what to call some GPUs, and the machine that they make; its host may be any."""
    if asked.cards:
        cards = tuple(round(card * GIB) for card in asked.cards)
        yield _name(asked.cards), Machine(cards, None)
        return
    for count in range(1, len(here.cards) + 1):
        cards = here.cards[:count]
        yield _name([card / GIB for card in cards]), Machine(cards, here.host, here.fp8)
    if not here.cards:
        for card in KNOWN_CARDS:
            for count in (1, 2):
                yield _name([card] * count), Machine((card * GIB,) * count, None)


def _name(cards: list[float] | tuple[float, ...]) -> str:
    if len(set(cards)) == 1:
        return f"{len(cards)} x {cards[0]:.0f} GB"
    return " + ".join(f"{card:.0f}" for card in cards) + " GB"
