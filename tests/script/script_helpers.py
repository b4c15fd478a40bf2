"""Functions that the tests of the direction script share."""

from pathlib import Path

import numpy as np

from liveact_cli.config.presets import find_preset
from liveact_cli.script.parse import parse_script
from liveact_cli.script.performance import assemble
from liveact_cli.script.problems import ScriptError
from liveact_cli.script.source import Source


def preset(name: str) -> Path:
    """Return the file of a built-in preset."""
    return find_preset(name, {})


def errors_of(text: str) -> list[str]:
    """Return the messages for a script, or nothing when it is right."""
    try:
        assemble(parse_script(Source(text)), preset)
    except ScriptError as error:
        return [problem.message for problem in error.problems]
    return []


def speech(*parts: tuple[float, float]) -> np.ndarray:
    """Return 16 kHz noise in pieces of (seconds, loudness)."""
    rng = np.random.default_rng(0)
    pieces = [rng.standard_normal(round(s * 16_000)) * loudness for s, loudness in parts]
    return np.concatenate(pieces).astype(np.float32)
