"""What workers and whoever they work for say to each other."""

from dataclasses import dataclass
from typing import Final

from liveact_cli.core.events import Event
from liveact_cli.studio.orders import RenderOrder
from liveact_cli.studio.perform import Failure, Made, Opened


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out an order; what is told about it bears its number."""

    number: int
    order: RenderOrder


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop an order after the chunk that is being made."""

    number: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """An order was stopped, as was asked; it can be gone on with."""


News = Event | Opened | Made | Failure | Stopped
"""What a worker tells; the last three end an order."""
ENDINGS: Final = (Made, Failure, Stopped)
