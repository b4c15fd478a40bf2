"""What is known of an unfinished render before torch is loaded: its settings, and what differs."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from liveact_cli.core.units import format_time
from liveact_cli.engine.container import DamagedError, read_facts
from liveact_cli.media.workfolder import work_folder_of

STATE_FORMAT: Final = 1
STATE_PATTERN: Final = "state-*.liveact"

_INPUTS: Final = {
    "audio": "the recording is another",
    "reference": "the picture is another",
    "weights": "the weights of the model are others",
    "direction": "what is directed is another",
    "turns": "who speaks when is another",
    "background": "the background is another",
    "font": "the font is another",
}
_FOLLOWING: Final = ("seconds", "frames", "format")
"""Facts that follow from others, or are told otherwise."""


def state_files(folder: Path) -> list[Path]:
    """Return the states in a work folder, the newest first."""
    return sorted(folder.glob(STATE_PATTERN), reverse=True)


def unfinished(target: Path) -> dict[str, Any] | None:
    """Return the facts of the newest state of the render that was to become `target`, if any."""
    for path in state_files(work_folder_of(target)):
        try:
            facts = read_facts(path)
        except (DamagedError, OSError):
            continue
        if facts["format"] == STATE_FORMAT:
            return facts
    return None


def finished_part(facts: Mapping[str, Any]) -> str:
    """Return `0:40 of 1:00:00 are done` for the facts of a state."""
    fps = Fraction(facts["record"]["settings"]["fps"])
    done = sum(segment["frames"] for segment in facts["segments"])
    whole = facts["record"]["frames"]
    return f"{format_time(float(done / fps))} of {format_time(float(whole / fps))} are done"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two records of renders, in words; empty when nothing does."""
    told = list(_told(old, new))
    if not told and old != new:
        names = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        return [f"{name} is another" for name in sorted(names)]
    return told


def _told(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if before == now or name in _FOLLOWING:
            continue
        if name in _INPUTS:
            yield _INPUTS[name]
        elif isinstance(before, Mapping) and isinstance(now, Mapping):
            # The size that is used stands beside the settings, whether it was given or not.
            yield from _told({**before, "size": None}, {**now, "size": None})
        else:
            yield f"{name.replace('_', ' ')} {_word(now)} instead of {_word(before)}"


def _word(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return repr(value) if isinstance(value, str) and " " in value else str(value)
