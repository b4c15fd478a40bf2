"""The timeline as text: loudness, events in lanes, chunks, with colours where they are welcome."""

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from liveact_cli.core.geometry import ChunkPlan
from liveact_cli.script.direct import grid
from liveact_cli.script.lanes import arrange, tick_seconds
from liveact_cli.script.resolved import ResolvedScript, Span
from liveact_cli.script.sound import Sound
from liveact_cli.script.timing import format_clock
from liveact_cli.script.words import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

LABEL: Final = 9
BARS: Final = " ▁▂▃▄▅▆▇█"
STYLES: Final = {
    Kind.EMOTION: "black on yellow",
    Kind.ACTION: "black on cyan",
    Kind.PROMPT: "black on white",
}
RANGE_DB: Final = 45.0
_MIN_WIDTH: Final = 40


def draw_timeline(
    script: ResolvedScript, plan: ChunkPlan, sound: Sound | None, width: int
) -> "Iterator[Text]":
    """Yield the lines of the timeline, `width` cells wide."""
    cells = max(_MIN_WIDTH, width) - LABEL - 1
    yield _ruler(script, cells)
    if sound is not None:
        yield _labelled("sound", Text(_loudness(sound, script.frames / script.fps, cells)))
    last = None
    for lane in arrange(script, 0, script.frames):
        label = str(lane.kind) if lane.kind is not last else ""
        last = lane.kind
        yield _labelled(label, _lane(lane.spans, script.frames, cells, STYLES[lane.kind]))
    yield _labelled("chunks", Text(_chunks(plan, cells), style="dim"))


def event_lines(script: ResolvedScript) -> "Iterator[str]":
    """Yield one line an event: when, what, how strong."""
    for span in sorted(script.spans, key=lambda s: (s.start, s.layer, s.order)):
        start, stop = (format_clock(round(1000 * t)) for t in span.seconds)
        strength = "" if span.intensity == 1.0 else f" at {span.intensity:g}"
        origin = f"  ({span.place})" if str(span.place) else ""
        yield f"{start:>10} - {stop:<10} {span.kind:8} {span.name}{strength}{origin}"


def _labelled(label: str, line: Text) -> Text:
    return Text(f"{label:<{LABEL}} ") + line


def _ruler(script: ResolvedScript, cells: int) -> Text:
    seconds = script.frames / script.fps
    step = tick_seconds(seconds, max(2, cells // 12))
    line = " " * cells
    for i in range(int(seconds / step) + 1):
        column = round(i * step / seconds * cells)
        label = "|" + format_clock(round(i * step * 1000))
        if column + len(label) <= cells:
            line = line[:column] + label + line[column + len(label) :]
    return _labelled("", Text(line))


def _loudness(sound: Sound, seconds: float, cells: int) -> str:
    edges = np.linspace(0.0, seconds, cells + 1) / sound.hop
    top = float(np.percentile(sound.decibels, 99)) if len(sound.decibels) else 0.0
    bars = []
    for left, right in pairwise(edges):
        part = sound.decibels[int(left) : max(int(left) + 1, int(right))]
        level = 1.0 - (top - float(part.max())) / RANGE_DB if len(part) else 0.0
        bars.append(BARS[round(min(1.0, max(0.0, level)) * (len(BARS) - 1))])
    return "".join(bars)


def _lane(spans: tuple[Span, ...], frames: int, cells: int, style: str) -> Text:
    """Return blocks with their names; a name may run on until the next block."""
    line, used = Text(), 0
    for span, after in pairwise((*spans, None)):
        if span is None:
            break
        start = max(used, min(cells - 1, span.start * cells // frames))
        stop = min(cells, max(start + 1, round(span.stop * cells / frames)))
        if start >= cells:
            break
        room = cells if after is None else max(stop, after.start * cells // frames - 1)
        text = set_cell_size(span.name, min(room - start, max(stop - start, cell_len(span.name))))
        line.append(" " * (start - used))
        inside = stop - start
        while cell_len(text[:inside]) > stop - start:
            inside -= 1
        line.append(text[:inside], style=style)
        line.append(text[inside:])
        used = start + cell_len(text)
    return line


def _chunks(plan: ChunkPlan, cells: int) -> str:
    line = ["·"] * cells
    for frame in grid(plan, "chunk"):
        line[min(cells - 1, frame * cells // plan.frames)] = "|"
    return "".join(line)
