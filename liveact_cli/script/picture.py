"""The timeline as a picture: waveform, events in lanes, chunk grid."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liveact_cli.core.geometry import ChunkPlan
from liveact_cli.script.direct import grid
from liveact_cli.script.lanes import arrange, tick_seconds
from liveact_cli.script.resolved import ResolvedScript, Span
from liveact_cli.script.sound import Sound
from liveact_cli.script.timing import format_clock
from liveact_cli.script.words import Kind

if TYPE_CHECKING:
    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

WIDTH: Final = 1200
MARGIN, LABEL, RULER, WAVE, LANE, GAP = 14, 76, 24, 84, 26, 5
PAPER, INK, FAINT, WAVE_INK, CHUNK_INK = "#ffffff", "#202428", "#9aa3ab", "#5b6b7a", "#dfe4e8"
FILLS: Final = {
    Kind.EMOTION: ("#ffd166", "#8a6100"),
    Kind.ACTION: ("#7fd8e0", "#0b5c66"),
    Kind.PROMPT: ("#d9d3f5", "#4b3f8f"),
}
RANGE_DB: Final = 48.0
FONT_SIZE: Final = 13


@dataclass(frozen=True)
class _Axis:
    """Frames to pixels."""

    frames: int
    left: int
    right: int

    def x(self, frame: float) -> float:
        return self.left + (self.right - self.left) * frame / self.frames


def draw_picture(script: ResolvedScript, plan: ChunkPlan, sound: Sound | None) -> Image.Image:
    """Return the timeline of a whole script as an RGB picture `WIDTH` pixels wide."""
    lanes = arrange(script, 0, script.frames)
    wave = WAVE if sound is not None else 0
    height = 2 * MARGIN + RULER + wave + GAP + len(lanes) * (LANE + GAP) + RULER
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(FONT_SIZE)
    axis = _Axis(script.frames, MARGIN + LABEL, WIDTH - MARGIN)
    bottom = height - MARGIN - RULER
    _draw_chunks(draw, axis, plan, MARGIN + RULER, bottom)
    _draw_ruler(draw, axis, script, font)
    y = MARGIN + RULER
    if sound is not None:
        _draw_wave(draw, axis, sound, script.frames / script.fps, y)
        draw.text((MARGIN, y + WAVE // 2 - 8), "sound", INK, font)
        y += WAVE
    y += GAP
    last = None
    for lane in lanes:
        if lane.kind is not last:
            draw.text((MARGIN, y + 5), str(lane.kind), INK, font)
            last = lane.kind
        for span, after in pairwise((*lane.spans, None)):
            if span is not None:
                room = axis.right if after is None else axis.x(after.reach[0])
                _draw_span(draw, axis, span, script.frames, y, room, font)
        y += LANE + GAP
    draw.text((MARGIN, bottom + 5), "chunks", FAINT, font)
    return picture


def _draw_chunks(
    draw: ImageDraw.ImageDraw, axis: _Axis, plan: ChunkPlan, top: int, bottom: int
) -> None:
    bounds = grid(plan, "chunk")
    width = (axis.right - axis.left) / max(1, len(bounds) - 1)
    font = ImageFont.load_default(10)
    for i, frame in enumerate(bounds):
        x = axis.x(frame)
        draw.line((x, top, x, bottom + 4), CHUNK_INK if width > 4 else PAPER)
        if width > 22 and i < len(bounds) - 1:
            draw.text((x + 3, bottom + 7), str(i), FAINT, font)


def _draw_ruler(
    draw: ImageDraw.ImageDraw, axis: _Axis, script: ResolvedScript, font: "Font"
) -> None:
    seconds = script.frames / script.fps
    step = tick_seconds(seconds, 12)
    for i in range(int(seconds / step) + 1):
        x = axis.x(i * step * script.fps)
        draw.line((x, MARGIN + RULER - 6, x, MARGIN + RULER), INK)
        label = format_clock(round(i * step * 1000))
        if x + 40 < WIDTH:
            draw.text((x + 3, MARGIN), label, INK, font)


def _draw_wave(
    draw: ImageDraw.ImageDraw, axis: _Axis, sound: Sound, seconds: float, top: int
) -> None:
    """Draw loudness up and down from the middle, one line a pixel."""
    middle = top + WAVE / 2
    columns = axis.right - axis.left
    loudest = float(sound.decibels.max()) if len(sound.decibels) else 0.0
    edges = np.linspace(0.0, seconds, columns + 1) / sound.hop
    for i in range(columns):
        part = sound.decibels[int(edges[i]) : max(int(edges[i]) + 1, int(edges[i + 1]))]
        level = 1.0 - (loudest - float(part.max())) / RANGE_DB if len(part) else 0.0
        half = max(0.0, level) ** 1.5 * (WAVE / 2 - 4)
        x = axis.left + i
        draw.line((x, middle - half, x, middle + half), WAVE_INK)
    for start, stop in sound.pauses:
        left, right = (axis.left + columns * t / seconds for t in (start, stop))
        draw.line((left, middle, right, middle), FILLS[Kind.ACTION][1], 2)


def _draw_span(
    draw: ImageDraw.ImageDraw,
    axis: _Axis,
    span: Span,
    frames: int,
    top: int,
    room: float,
    font: "Font",
) -> None:
    """Draw a span as tall as it is strong, with its fades as slopes; its name ends at `room`."""
    fill, ink = FILLS[span.kind]
    first, last = span.reach
    last = min(last, frames)
    shape = span.envelope(first, last) * (0.35 + 0.65 * span.intensity)
    bottom = top + LANE
    points = [(axis.x(first), float(bottom))]
    step = max(1, (last - first) // 400)
    for i in range(0, last - first, step):
        points.append((axis.x(first + i + 0.5), bottom - float(shape[i]) * LANE))
    points.append((axis.x(last), float(bottom)))
    draw.polygon(points, fill)
    left = axis.x(span.start) + 4
    text = span.name if span.intensity == 1.0 else f"{span.name} {span.intensity:g}"
    while text and draw.textlength(text, font) > room - left - 4:
        text = text[:-1]
    draw.text((left, top + 6), text, ink, font)
