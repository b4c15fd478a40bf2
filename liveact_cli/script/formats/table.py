"""Events as a table (CSV): one row an event, the columns are the keys of the timeline.

A row without any time sets what holds underneath: prompt, preset, emotion, transcript.
"""

import csv
import io
from collections.abc import Iterator
from typing import Final

from liveact_cli.script.formats.write import quote
from liveact_cli.script.models import Event, Script
from liveact_cli.script.parse import keys_of, parse_script
from liveact_cli.script.problems import (
    Place,
    Problem,
    ScriptError,
    Severity,
    did_you_mean,
    quoted,
)
from liveact_cli.script.rules import TRIGGERS
from liveact_cli.script.source import Source

BASE: Final = ("prompt", "preset", "emotion", "transcript")


def read_table(source: Source) -> Script:
    """Return the script of a CSV file; raises `ScriptError` with everything that is wrong."""
    delimiter = delimiter_of(source.line(1))
    rows = list(csv.reader(source.text.splitlines(), delimiter=delimiter, strict=False))
    known = (*keys_of(Event), "preset", "transcript")
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    unknown = [name for name in header if name and name not in known]
    if unknown or not any(name in known for name in header):
        hint = did_you_mean(unknown[0], known) if unknown else ""
        message = f"unknown column {quoted(unknown[0])}" if unknown else "no header"
        hint = hint or f"the first row names columns: {','.join(known)}"
        place = Place(source.name, 1, 1)
        raise ScriptError([Problem(Severity.ERROR, message, place, source.line(1), hint)])
    return _parse(source, header, rows[1:])


def _parse(source: Source, header: list[str], rows: list[list[str]]) -> Script:
    """Write the rows as YAML and let the one parser judge them; report its places as rows."""
    base: list[str] = ["liveact: 1"]
    events: list[str] = []
    numbers: list[int] = []
    for number, row in enumerate(rows, start=2):
        cells = {k: v.strip() for k, v in zip(header, row, strict=False) if k and v.strip()}
        if not cells:
            continue
        if any(key in cells for key in TRIGGERS):
            pairs = [f"{key}: {quote(value)}" for key, value in cells.items()]
            events.append("  - " + "\n    ".join(pairs))
            numbers += [number] * len(pairs)
        else:
            base += [f"{key}: {quote(value)}" for key, value in cells.items() if key in BASE]
    head = [*base, "timeline:"] if events else base
    text = "\n".join((*head, *events))
    try:
        return parse_script(Source(text, source.name, source.folder)).script
    except ScriptError as error:
        raise ScriptError(_as_rows(source, error, len(head), numbers)) from None


def _as_rows(
    source: Source, error: ScriptError, head: int, numbers: list[int]
) -> Iterator[Problem]:
    for problem in error.problems:
        index = problem.place.line - head - 1
        line = numbers[index] if 0 <= index < len(numbers) else 0
        place = Place(source.name, line, 1 if line else 0)
        yield Problem(problem.severity, problem.message, place, source.line(line), problem.hint)


def delimiter_of(header: str) -> str:
    """Return the sign between the columns: the commonest of comma, semicolon and tab."""
    return max(",;\t", key=header.count)


def format_table(script: Script) -> str:
    """Return a script as CSV; definitions do not fit into a table and are left out."""
    events = [
        {
            key: str(value)
            for key, value in event.model_dump(by_alias=True).items()
            if value is not None
        }
        for event in script.timeline
    ]
    base = {key: value for key in BASE if (value := getattr(script, key)) is not None}
    rows = [base, *events] if base else events
    columns = [*keys_of(Event), "preset", "transcript"]
    used = [name for name in columns if any(name in row for row in rows)] or ["at", "action"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, used, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
