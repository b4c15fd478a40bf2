"""A sheet of frames, each with its time and what the script wants there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

from liveact_cli.script.picture import FILLS, INK, PAPER
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.script.timing import format_clock
from liveact_cli.script.words import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS: Final = 4
CELL: Final = 240
"""Pixels of a frame's width on the sheet."""
CAPTION: Final = 38
GAP: Final = 8
SEEN: Final = 0.25
"""Share of an event from which on it is named."""


def draw_sheet(
    frames: "Sequence[tuple[float, NDArray[np.uint8]]]",
    script: ResolvedScript | None,
    begin: float,
) -> Image.Image:
    """Return frames `(seconds, [H, W, 3])` in rows; `script` counts from `begin` seconds on."""
    height, width = frames[0][1].shape[:2]
    cell = round(CELL * height / width)
    rows = -(-len(frames) // COLUMNS)
    columns = min(COLUMNS, len(frames))
    size = (GAP + columns * (CELL + GAP), GAP + rows * (cell + CAPTION + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for i, (seconds, frame) in enumerate(frames):
        x = GAP + i % COLUMNS * (CELL + GAP)
        y = GAP + i // COLUMNS * (cell + CAPTION + GAP)
        picture = Image.fromarray(frame).resize((CELL, cell), Image.Resampling.LANCZOS)
        sheet.paste(picture, (x, y))
        draw.text((x, y + cell + 3), format_clock(round(seconds * 1000)), INK, font)
        for kind, line in ((Kind.EMOTION, 3), (Kind.ACTION, 20)):
            names = _seen(script, kind, seconds - begin)
            offset = 66 if kind is Kind.EMOTION else 0
            draw.text((x + offset, y + cell + line), names, FILLS[kind][1], font)
    return sheet


def _seen(script: ResolvedScript | None, kind: Kind, seconds: float) -> str:
    if script is None:
        return ""
    frame = min(script.frames - 1, round(seconds * script.fps))
    shares = script.weights(kind, frame, frame + 1)
    return " + ".join(span.name for span, share in shares if share[0] >= SEEN)
