"""What the tests of the direction script share."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from script_helpers import preset

from liveact_cli.script.direct import Direction, direct
from liveact_cli.script.parse import parse_script
from liveact_cli.script.performance import NO_ORDERS, Orders, assemble
from liveact_cli.script.resolve import Recording
from liveact_cli.script.sound import Sound
from liveact_cli.script.source import Source

Place = Callable[..., Direction]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Place a script, given without its first line, on a recording of `seconds`."""

    def run(
        body: str = "",
        *,
        seconds: float = 20.0,
        fps: float = 25.0,
        sound: Sound | None = None,
        seed: int = 0,
        orders: Orders = NO_ORDERS,
        reads_text: bool = False,
    ) -> Direction:
        text = "liveact: 1\n" + textwrap.dedent(body)
        parsed = parse_script(Source(text, "show.yaml", tmp_path))
        performance = assemble(parsed, preset, orders=orders, reads_text=reads_text)
        return direct(performance, Recording(seconds, fps, sound, seed=seed))

    return run
