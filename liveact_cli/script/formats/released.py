"""The released system's edit files: prompts by chunk number, in JSON.

Either the inner table `{"[0, 4]": "text"}`, both chunks included, or the whole input: a list of
`{"prompt": ..., "edit_prompt": {...}}`. Times follow from the frame rate and the chunk sizes.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.script.models import Event, Script
from liveact_cli.script.problems import Place, Problem, ScriptError, Severity, quoted
from liveact_cli.script.source import Source
from liveact_cli.script.timing import Duration, Origin, TimePoint

RELEASED_POLICY: Final = MemoryPolicy()
MAX_CHUNK: Final = 100_000
_KEY: Final = re.compile(r"\[\s*(\d{1,6})\s*,\s*(\d{1,6})\s*\]")


def read_released(source: Source, fps: float) -> Script:
    """Return the script of a released edit file made for `fps` frames a second.

    Raises `ScriptError` with everything that is wrong.
    """
    problems: list[Problem] = []

    def report(message: str, hint: str, needle: str = "") -> None:
        line = next((i for i, text in enumerate(source.lines, 1) if needle and needle in text), 0)
        place = Place(source.name, line, 1 if line else 0)
        problems.append(Problem(Severity.ERROR, message, place, source.line(line), hint))

    prompt, edits = _table(_load(source), report)
    events = []
    for key, text in edits:
        match = _KEY.fullmatch(key.strip())
        if match is None or not isinstance(text, str) or not text.strip():
            report(f"{quoted(key)} is not an edit", 'write "[0, 4]": "text"', key)
            continue
        first, last = int(match[1]), int(match[2])
        if last < first or last > MAX_CHUNK:
            report(f"{quoted(key)} is not a range of chunks", "write the lower number first", key)
            continue
        events.append(_event(first, last, text, fps))
    if problems:
        raise ScriptError(problems)
    # The released code takes the first edit that fits, a script the later event: turn the order.
    events.reverse()
    return Script(liveact=1, prompt=prompt, timeline=tuple(_untied(events)))


def _load(source: Source) -> Any:
    try:
        return json.loads(source.text)
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
        place = Place(source.name, line, column)
        message = f"not JSON: {getattr(error, 'msg', 'nested too deeply')}"
        problem = Problem(Severity.ERROR, message, place, source.line(line), "check the file")
        raise ScriptError([problem]) from None


def _table(data: Any, report: Any) -> tuple[str | None, list[tuple[str, Any]]]:
    """Return the base prompt and the edits of any of the known forms."""
    prompt: str | None = None
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if isinstance(data, list):
        report(f"{len(data)} jobs in one file", "keep one job; convert one at a time")
        return None, []
    if not isinstance(data, dict):
        report("this is not an edit file", 'write {"[0, 4]": "text"}')
        return None, []
    if "edit_prompt" in data or "prompt" in data:
        given = data.get("prompt")
        prompt = given if isinstance(given, str) and given.strip() else None
        data = data.get("edit_prompt") or {}
    if not isinstance(data, dict):
        report("edit_prompt is not a table", 'write {"[0, 4]": "text"}')
        return prompt, []
    return prompt, list(data.items())


def _event(first: int, last: int, text: str, fps: float) -> Event:
    plan = ChunkPlan(RELEASED_POLICY, 1)
    start = plan.span(first).frame_start / fps
    stop = plan.span(last).frame_stop / fps
    at = TimePoint(Origin.START, round(start * 1000))
    return Event(at=at, for_=Duration(round(stop * 1000) - at.value), prompt=text)


def _untied(events: Sequence[Event]) -> list[Event]:
    """Return events so that the ones that win, the last here, also win by their beginning.

    Of two overlapping events the one that begins later is seen; an edit that wins but begins
    earlier is therefore cut out of the other by beginning anew where that one begins.
    """
    placed: list[tuple[int, int, Event]] = []
    for rank, event in enumerate(events):
        if event.at is not None and event.for_ is not None:
            start, stop = event.at.value, event.at.value + event.for_.ms
            cuts = sorted({s for s, _, _ in placed if start < s < stop})
            for a, b in zip((start, *cuts), (*cuts, stop), strict=True):
                at = TimePoint(Origin.START, a)
                piece = event.model_copy(update={"at": at, "for_": Duration(b - a)})
                placed.append((a, rank, piece))
    return [piece for _, _, piece in sorted(placed, key=lambda item: item[:2])]


def format_released(texts: Sequence[str], base: str) -> str:
    """Return the JSON of one text a chunk: runs of the same text that is not `base`."""
    edits: dict[str, str] = {}
    start = 0
    for chunk in range(1, len(texts) + 1):
        if chunk == len(texts) or texts[chunk] != texts[start]:
            if texts[start] != base:
                edits[f"[{start}, {chunk - 1}]"] = texts[start]
            start = chunk
    return json.dumps(edits, indent=2, ensure_ascii=False) + "\n"
