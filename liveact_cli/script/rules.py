"""What the keys of one event demand of each other."""

from collections.abc import Collection, Iterator
from typing import Final

from liveact_cli.script.document import Mapping, Scalar
from liveact_cli.script.models import MIN_EVERY_MS
from liveact_cli.script.timing import Duration, Origin, TimePoint, parse_length, parse_point

TRIGGERS: Final = ("at", "every", "on", "say")
DIRECTIONS: Final = ("emotion", "action", "prompt")

Fault = tuple[str, str, str]
"""The key it is about, what is wrong, the fix."""


def event_faults(
    event: Mapping, meant: Collection[str], *, has_transcript: bool
) -> Iterator[Fault]:
    """Yield what is wrong between the keys of an event, whatever is wrong with their values.

    `meant` are keys that misspelt ones stand for: these are not missing.
    """
    keys = {key.text for key, _ in event.pairs}
    yield from _trigger_faults(keys, meant, has_transcript)
    if not keys.union(meant).intersection(DIRECTIONS):
        yield "", "this event directs nothing", "add emotion:, action: or prompt:"
    if "intensity" in keys and not keys & {"emotion", "action"} and "prompt" in keys:
        yield "intensity", "intensity: belongs to an emotion or an action", "take it out"
    yield from _length_faults(event, keys)


def _trigger_faults(
    keys: set[str], meant: Collection[str], has_transcript: bool
) -> Iterator[Fault]:
    triggers = [key for key in TRIGGERS if key in keys]
    if not triggers and not set(TRIGGERS).intersection(meant):
        yield "", "this event has no time", "add at: 0:02 (or every:, on: pause, say:)"
    elif len(triggers) > 1 and triggers != ["at", "every"]:
        names = ": and ".join(triggers)
        yield triggers[-1], f"{names}: exclude each other", "write two events"
    if "jitter" in keys and "every" not in keys:
        yield "jitter", "jitter: makes every: irregular, there is no every: here", "add every:"
    if "until" in keys and keys & {"on", "say"}:
        yield "until", "until: needs at: or every:", "say how long with for:"
    if "until" in keys and "for" in keys and "every" not in keys:
        yield "until", "for: and until: both say when it ends", "keep one of them"
    if "say" in keys and not has_transcript:
        yield "say", "say: needs a transcript", "add transcript: show.srt to the script"


def _length_faults(event: Mapping, keys: set[str]) -> Iterator[Fault]:
    length, every, jitter = (_length(event, key) for key in ("for", "every", "jitter"))
    at, until = _point(event, "at"), _point(event, "until")
    if length is not None and length.ms == 0:
        yield "for", "this event lasts no time", "write for: 1s"
    if every is not None and every.ms < MIN_EVERY_MS:
        shortest = Duration(MIN_EVERY_MS)
        yield "every", f"every: {every} is too often", f"write every: {shortest} or more"
    elif every is not None and jitter is not None and jitter.ms * 2 > every.ms:
        half = Duration(every.ms // 2)
        message = f"jitter: {jitter} is more than half of every: {every}"
        yield "jitter", message, f"write jitter: {half} or less"
    if at is not None and until is not None and at.origin is until.origin:
        backwards = at.value < until.value if at.origin is Origin.END else at.value > until.value
        if backwards or at.value == until.value:
            yield "until", f"it ends at {until}, not after its beginning at {at}", "swap the times"


def _scalar(event: Mapping, key: str) -> str:
    node = event.get(key)
    return node.text if isinstance(node, Scalar) else ""


def _length(event: Mapping, key: str) -> Duration | None:
    try:
        return parse_length(_scalar(event, key))
    except ValueError:
        return None


def _point(event: Mapping, key: str) -> TimePoint | None:
    try:
        return parse_point(_scalar(event, key))
    except ValueError:
        return None
